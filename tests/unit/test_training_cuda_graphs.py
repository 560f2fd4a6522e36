"""CUDA graphs in the trainer: equal to eager training, with gradients of several micro-batches, and for a second seed.

Where there is no CUDA only what does not need it is tested: which runs take the paths for graphs.
"""

from __future__ import annotations

import pytest
import torch

from bench.data.open import open_data
from bench.run.build import build_method
from bench.spec import BackboneSpec, DataSpec, Labels, MethodSpec, ProtocolSpec, Spec
from bench.train.reuse import StepCache
from bench.train.settings import library_settings
from bench.train.training import Training

DATA = DataSpec(source="digits", resolution=32, channels=1, mean=(0.3,), std=(0.38,), train_per_class=3, digest=None)
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="CUDA graphs need CUDA")


def spec_of(seed: int = 0, **protocol) -> Spec:
    given = {"epochs": 2, "batch_size": 10, "learning_rate": 0.01, "optimizer": "sgd", **protocol}
    return Spec(
        data=DATA,
        backbone=BackboneSpec(name="test_resnet"),
        protocol=ProtocolSpec(**given),
        method=MethodSpec(implementation="manifold_mixup"),
        seed=seed,
        labels=Labels(data="d", backbone="b", protocol="p", method="manifold_mixup"),
    )


def train(spec: Spec, device: str, steps: StepCache | None = None) -> tuple[list[float], torch.Tensor]:
    with library_settings(spec.effective_protocol):
        training = Training(spec, build_method(spec.method), open_data(DATA, device), torch.device(device), steps)
        losses = [training.run_epoch().loss for _ in range(2)]
    return losses, torch.cat([weight.detach().flatten().cpu() for weight in training.backbone.parameters()])


@pytest.mark.parametrize("accumulation", [1, 2, 5])
def test_copies_of_gradients_change_no_digit(monkeypatch, accumulation):
    """The path that a run with CUDA graphs takes, followed on the CPU with the steps left eager."""
    expected = train(spec_of(accumulation=accumulation), "cpu")
    copies = []
    keep, begin = Training._keep_gradients, []
    monkeypatch.setattr(Training, "_keep_gradients", lambda self: (copies.append(1), keep(self))[1])
    monkeypatch.setattr(torch.compiler, "cudagraph_mark_step_begin", lambda: begin.append(1))
    before = Training.__init__

    def with_graphs(self, *arguments, **options):
        before(self, *arguments, **options)
        self.graphs = True

    monkeypatch.setattr(Training, "__init__", with_graphs)
    losses, weights = train(spec_of(accumulation=accumulation), "cpu")
    assert losses == expected[0]
    assert torch.equal(weights, expected[1])
    assert (len(copies), len(begin)) == (0 if accumulation == 1 else 6, 6 * accumulation)


@needs_cuda
@pytest.mark.parametrize("accumulation", [1, 2])
@pytest.mark.parametrize("mode", ["default", "reduce-overhead", "max-autotune"])
def test_training_through_graphs_equals_eager_training(mode, accumulation):
    expected, weights = train(spec_of(accumulation=accumulation), "cuda")
    losses, compiled = train(spec_of(accumulation=accumulation, compile=mode), "cuda", StepCache())
    assert losses == pytest.approx(expected, rel=1e-2)
    torch.testing.assert_close(compiled, weights, rtol=1e-2, atol=1e-2)


@needs_cuda
def test_a_second_seed_through_the_same_graphs_is_that_of_a_fresh_start():
    steps = StepCache()
    train(spec_of(1, compile="reduce-overhead"), "cuda", steps)
    losses, weights = train(spec_of(2, compile="reduce-overhead"), "cuda", steps)
    expected, fresh = train(spec_of(2, compile="reduce-overhead"), "cuda", StepCache())
    assert losses == pytest.approx(expected, rel=1e-4)
    torch.testing.assert_close(weights, fresh, rtol=1e-4, atol=1e-5)
