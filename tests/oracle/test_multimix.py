"""MultiMix against mixed embeddings in timm's own classifier, soft labels, and the Dirichlet distribution's moments."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor, nn
from torch.nn import functional

from bench.backbones.adapter import TimmBackbone
from bench.spec import ProtocolSpec
from bench.train.criterion import build_criterion
from methods import multimix
from methods.api import Batch, BatchShape, Draws, Task, mixed_loss
from methods.mixup import Mixup
from methods.multimix import MultiMix
from methods.ops import soft_labels
from methods.ops.keys import Key
from methods.ops.soft_labels import soft_label_loss
from tests.oracle.mixing_checks import CLASSES, check_label_follows_image, cross_entropy, normalise, photographs

MODELS = {"test_resnet": {}, "test_convnext": {}, "test_vit": {"depth": 2}}
CASES = settings(max_examples=40, deadline=None, database=None, derandomize=True)


def backbone(name: str, size: int = 64) -> TimmBackbone:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        options = {**MODELS[name], **({"img_size": size} if "vit" in name else {})}
        return TimmBackbone(timm.create_model(name, num_classes=CLASSES, **options).eval(), CLASSES, 3, size)


def ready(net: nn.Module, **options: float) -> MultiMix:
    method = MultiMix(**options)  # type: ignore[arg-type]
    method.setup(net, Task(CLASSES, cross_entropy, (3, 64, 64)))  # type: ignore[arg-type]
    return method


def check_equals_mixed_embeddings(name: str) -> None:
    net = backbone(name)
    images, labels = normalise(photographs(4, 3, 64, 64)), torch.tensor([0, 3, 3, 1])
    weights = torch.from_numpy(np.random.default_rng(0).dirichlet([0.7] * 4, 9)).float()
    method = ready(net, tuples=9)
    method.loss(net, Batch((images,), labels), Draws("embedding", {"weights": weights})).total.backward()  # type: ignore[arg-type]
    ours = {key: value.grad.clone() for key, value in net.named_parameters() if value.grad is not None}
    net.zero_grad()
    model = net.model
    embedding = model.forward_head(model.forward_features(images), pre_logits=True)
    rows, targets = [], []
    for row in weights.tolist():
        rows.append(sum(weight * embedding[i] for i, weight in enumerate(row)))
        targets.append([sum(w for w, y in zip(row, labels.tolist(), strict=True) if y == c) for c in range(CLASSES)])
    logits = model.get_classifier()(torch.stack(rows))
    expected = functional.cross_entropy(logits, torch.tensor(targets))
    actual = method.loss(net, Batch((images,), labels), Draws("embedding", {"weights": weights})).total  # type: ignore[arg-type]
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5)
    expected.backward()
    for key, value in net.named_parameters():
        if value.grad is not None:
            torch.testing.assert_close(
                ours[key], value.grad, rtol=1e-3, atol=1e-4 * float(value.grad.abs().max()) + 1e-7
            )


@pytest.mark.parametrize("name", MODELS)
def test_equals_mixed_embeddings(name: str) -> None:
    check_equals_mixed_embeddings(name)


def check_soft_label_loss(loss: str, classes: int) -> None:
    protocol = ProtocolSpec(epochs=1, batch_size=4, learning_rate=0.1, loss=loss, label_smoothing=0.1)  # type: ignore[arg-type]
    criterion = build_criterion(protocol, classes)
    generator = torch.Generator().manual_seed(classes)
    logits = torch.randn(5, classes, generator=generator)
    labels = torch.randint(classes, (6,), generator=generator)
    weights = torch.rand(5, 6, generator=generator)
    actual = soft_labels.soft_label_loss(criterion, logits, labels, weights)
    for row in range(5):
        expected = sum(
            weights[row, i].item() * criterion(logits[row : row + 1], labels[i : i + 1]).item() for i in range(6)
        )
        assert actual[row].item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("loss", ["cross_entropy", "binary_cross_entropy"])
@pytest.mark.parametrize("classes", [3, 6, 17])
def test_soft_label_loss_equals_a_loop_over_images(loss: str, classes: int) -> None:
    check_soft_label_loss(loss, classes)


def test_one_hot_weights_are_plain_training_and_pairs_are_mixup() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, CLASSES))
    images, labels = torch.randn(4, 3, 2, 2, generator=torch.Generator().manual_seed(2)), torch.arange(4)
    method = ready(net)
    plain = method.loss(net, Batch((images,), labels), Draws("embedding", {"weights": torch.eye(4)})).total  # type: ignore[arg-type]
    torch.testing.assert_close(plain, cross_entropy(net(images), labels).mean())
    permutation, lam = torch.tensor([2, 0, 3, 1]), torch.tensor(0.3)
    weights = 0.3 * torch.eye(4) + 0.7 * torch.eye(4)[permutation]
    paired = method.loss(net, Batch((images,), labels), Draws("embedding", {"weights": weights})).total  # type: ignore[arg-type]
    logits = net(0.3 * images + 0.7 * images[permutation])
    torch.testing.assert_close(paired, mixed_loss(cross_entropy, logits, labels, permutation, lam))


@CASES
@given(st.integers(1, 9), st.integers(1, 30), st.floats(0.05, 3), st.integers(0, 10**6))
def test_weights_are_convex(size: int, tuples: int, alpha: float, seed: int) -> None:
    method = MultiMix(tuples=tuples, alpha_low=alpha, alpha_high=2 * alpha, input_share=0.0)
    draws = method.draw(Key("convex", seed), BatchShape(size, 1, 5, 9))
    weights = draws["weights"]
    assert draws.branch == "embedding"
    assert weights.shape == (tuples, size)
    assert weights.min() >= 0
    torch.testing.assert_close(weights.sum(1), torch.ones(tuples))


def check_dirichlet(alpha: float) -> None:
    method = MultiMix(tuples=6000, alpha_low=alpha, alpha_high=alpha, input_share=0.0)
    weights = method.draw(Key("moments"), BatchShape(5, 3, 8, 8))["weights"].numpy()
    marginal = stats.beta(alpha, 4 * alpha)
    assert stats.kstest(weights[:, 0], marginal.cdf).pvalue > 1e-3
    assert stats.kstest(weights[:, 3], marginal.cdf).pvalue > 1e-3
    expected = stats.dirichlet([alpha] * 5).cov()[0, 1]
    assert np.cov(weights.T)[0, 1] == pytest.approx(expected, abs=0.15 * abs(expected))


@pytest.mark.parametrize("alpha", [0.5, 2.0])
def test_weights_are_dirichlet(alpha: float) -> None:
    check_dirichlet(alpha)


def test_each_mix_has_an_alpha_of_its_own_uniform_between_the_bounds() -> None:
    """E |weights|^2 = E (alpha + 1) / (B alpha + 1) over alpha uniform in [0.5, 2], by quadrature."""
    weights = MultiMix(input_share=0.0, tuples=10000).draw(Key("own alpha"), BatchShape(8, 3, 8, 8))["weights"]
    squares = weights.double().square().sum(1)
    alphas = np.linspace(0.5, 2.0, 20001)
    expected = np.mean((alphas + 1) / (8 * alphas + 1))
    assert abs(squares.mean().item() - expected) < 4 * squares.std().item() / 100
    shared = np.mean([((a + 1) / (8 * a + 1)) for a in (1.25,)])
    assert abs(shared - expected) > 8 * squares.std().item() / 100


def test_branches_and_mean_share() -> None:
    method, shape = MultiMix(tuples=2), BatchShape(4, 3, 8, 8)
    many = [method.draw(Key("share", number), shape) for number in range(2000)]
    mixed = [draws["lam"].item() for draws in many if draws.branch == "input"]
    assert abs(len(mixed) - 1000) < 4 * 500**0.5
    assert abs(np.mean(mixed) - 0.5) < 4 * np.std(mixed) / len(mixed) ** 0.5
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, CLASSES))
    batch = Batch((torch.zeros(4, 3, 2, 2),), torch.arange(4))
    chosen = next(draws for draws in many if draws.branch == "embedding")
    assert ready(net).loss(net, batch, chosen).parts["share_kept"].item() == pytest.approx(1 / 4)  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", [(1, 3, 4, 4), (7, 1, 5, 12)])
def test_input_branch_is_mixup(shape: tuple[int, int, int, int]) -> None:
    check_label_follows_image(MultiMix(input_share=1.0), shape, [Key("multimix", number) for number in range(8)])
    ours, theirs = (method.draw(Key(3), BatchShape(*shape)) for method in (MultiMix(input_share=1.0), Mixup()))
    assert all(torch.equal(ours[name], theirs[name]) for name in ("lam", "permutation"))


def test_bounds_in_the_wrong_order_are_refused() -> None:
    with pytest.raises(ValueError, match="alpha_low"):
        MultiMix(alpha_low=2.0, alpha_high=1.0)


def transposed(criterion: object, logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    return soft_label_loss(criterion, logits, labels, weights.flip(1))  # type: ignore[arg-type]


def one_label(criterion: object, logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    return criterion(logits, labels[weights.argmax(1)])  # type: ignore[operator]


def caught(check: Callable[[], object]) -> None:
    with pytest.raises(AssertionError):
        check()


@pytest.mark.parametrize("fault", [transposed, one_label])
def test_wrong_labels_are_caught(fault: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multimix, "soft_label_loss", fault)
    caught(lambda: check_equals_mixed_embeddings("test_resnet"))


def test_weights_of_the_class_forgotten_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def faulty(criterion: object, logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
        return soft_label_loss(criterion, logits, labels, weights / weights.sum(1, keepdim=True))  # type: ignore[arg-type]

    monkeypatch.setattr(soft_labels, "soft_label_loss", faulty)
    caught(lambda: check_soft_label_loss("cross_entropy", 3))


def test_uniform_weights_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def uniform(self: MultiMix, key: Key, shape: BatchShape) -> Draws:
        rows = torch.rand(self.tuples, shape.size, generator=torch.Generator().manual_seed(0))
        return Draws("embedding", {"weights": rows / rows.sum(1, keepdim=True)})

    monkeypatch.setattr(MultiMix, "draw", uniform)
    caught(lambda: check_dirichlet(2.0))
