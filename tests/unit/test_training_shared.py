"""Two gloo processes share runs of every method; one process takes the ranks in turn; ERM and Mixup are done by hand."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.nn import functional

import bench
from bench.backbones.build import build_backbone
from bench.config.catalogue import method_names
from bench.data.open import open_data
from bench.spec import BackboneSpec
from bench.train import training as training_module
from bench.train.rank_key import RankKey
from bench.train.ranks import Ranks
from methods.api import FeatureMap
from methods.ops.keys import Key
from tests.unit import shared_training
from tests.unit.shared_training import CPU, DATA, Case, evaluated, make, outcome

WAIT_SECONDS = 800
"""Twenty on a quiet machine; two processes that wait for each other in turns suffer most from a busy one."""
pytestmark = pytest.mark.timeout(WAIT_SECONDS + 60)
ROOT = Path(bench.__file__).parent.parent
ON_ANOTHER_NET = {"mixpro": "test_vit", "tokenmix_own_attention": "test_vit", "transmix": "test_vit"}
LAYER_NORM = {"epochs": 2, "optimizer": "adamw", "schedule": "constant", "learning_rate": 0.003}
CURVES = ("erm", "mixup", "manifold_mixup")
OTHERS: list[Case] = [
    ("accumulated", "mixup", {}, "test_resnet", {"batch_size": 10, "accumulation": 2}),
    ("averaged", "mixup", {}, "test_vit", {"ema_decay": 0.5, "clip_grad_norm": 0.1, "precision": "bf16"}),
    ("unsynchronised", "automix", {}, "test_resnet", {}),
]


def cases() -> list[Case]:
    every: list[Case] = [(name, name, {}, ON_ANOTHER_NET.get(name, "test_resnet"), {}) for name in method_names()]
    return [*every, *((f"{name} curve", name, {}, "test_convnext2", LAYER_NORM) for name in CURVES), *OTHERS]


@pytest.fixture(scope="module")
def splits():
    return open_data(DATA, CPU)


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> list[dict]:
    """What each of two processes found in all cases."""
    return in_two_processes(cases(), tmp_path_factory.mktemp("shared"), "cpu")


def in_two_processes(cases: list[Case], folder: Path, device: str) -> list[dict]:
    (folder / "cases.json").write_text(json.dumps(cases))
    environment = {
        "GLOO_SOCKET_IFNAME": "lo", **os.environ, "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
    }  # fmt: skip
    command = [sys.executable, shared_training.__file__, str(folder / "cases.json")]
    processes = [
        subprocess.Popen([*command, str(rank), str(folder / "store"), str(folder / "out"), device], env=environment,
                         stderr=subprocess.PIPE, text=True)
        for rank in range(2)
    ]  # fmt: skip
    try:
        errors = [process.communicate(timeout=WAIT_SECONDS)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    assert [process.returncode for process in processes] == [0, 0], errors
    return [torch.load(folder / f"out.{rank}", weights_only=True, map_location="cpu") for rank in range(2)]


def differing(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor], tolerance: float) -> list[str]:
    assert one.keys() == other.keys()
    return [name for name in one if not torch.allclose(one[name], other[name], rtol=tolerance, atol=tolerance)]


@pytest.mark.parametrize("case", [case for case in cases() if case[0] != "unsynchronised"], ids=lambda case: case[0])
def test_two_processes_and_the_ranks_in_turn_give_the_same(found, splits, case):
    """Finite losses, the same weights and statistics in both processes bit for bit, and those of one process."""
    first, second = (each[case[0]] for each in found)
    assert all(map(torch.isfinite, map(torch.tensor, first["losses"])))
    assert first["losses"] == second["losses"]
    assert first["parts"] == second["parts"]
    assert differing(first["weights"], second["weights"], 0) == []
    assert any(name.startswith("backbone") for name in first["weights"])
    training = make(case, splits)
    begun = {name: tensor.clone() for name, tensor in training.step_module.named_parameters() if tensor.requires_grad}
    alone = outcome(training)
    moved = [not torch.equal(tensor, alone["weights"][name]) for name, tensor in begun.items()]
    assert sum(moved) > len(moved) / 2
    assert first["losses"] == pytest.approx(alone["losses"], rel=1e-5)
    for one, other in zip(first["parts"], alone["parts"], strict=True):
        assert one == pytest.approx(other, rel=1e-4, abs=1e-6)
    assert differing(first["weights"], alone["weights"], 1e-5) == []
    for rank, process in enumerate((first, second)):
        assert differing(process["own"][rank], alone["own"][rank], 1e-5) == []


def test_a_history_is_the_own_of_each_rank(found):
    """RecursiveMix keeps the images of the last step: two in one rank, three in the other."""
    assert [len(each["recursivemix"]["own"][rank]["past_images"]) for rank, each in enumerate(found)] == [2, 3]


def test_gradients_that_are_not_exchanged_are_seen(found):
    """The planted fault: AutoMix's block learns from its own process's images alone."""
    names = differing(found[0]["unsynchronised"]["weights"], found[1]["unsynchronised"]["weights"], 0)
    assert names
    assert all(name.startswith("method.block") for name in names), names


def test_shared_evaluation_is_that_of_one_process_bit_for_bit(found, splits):
    alone = evaluated(make(("fresh", "erm", {}, "test_resnet", {}), splits), splits, Ranks())
    for each in found:
        assert each["evaluated"]["accuracy"] == alone["accuracy"]
        assert torch.equal(each["evaluated"]["logits"], alone["logits"])
        assert torch.equal(each["evaluated"]["labels"], alone["labels"])
    assert alone["accuracy"]["n"] == len(alone["labels"]) == 1100
    assert alone["accuracy"]["top1"] == pytest.approx(
        float((alone["logits"].argmax(1) == alone["labels"]).float().mean())
    )


def by_hand(implementation: str, splits) -> tuple[list[float], dict[str, torch.Tensor]]:
    """Mean losses by epoch and the weights: the whole batch of five in one pass, the first two images and the last
    three mixed among themselves, with one lam and one depth."""
    net = build_backbone(BackboneSpec(name="test_convnext2"), 10, 1, DATA.resolution, 3)
    optimizer = torch.optim.AdamW(net.parameters(), lr=LAYER_NORM["learning_rate"], weight_decay=0.0)
    losses: list[float] = []
    for epoch in range(2):
        each = []
        for step, (images, labels) in enumerate(splits.train.epoch(3, epoch, 5)):
            key = Key(3, "method", epoch, step, 0)
            views = (images.float() / 255 - DATA.mean[0]) / DATA.std[0]
            lam, depth, permutation = torch.ones(()), 0, torch.arange(5)
            if implementation != "erm":
                alpha = 2.0 if implementation == "manifold_mixup" else 1.0
                lam = torch.tensor(key.fold("lam").generator().beta(alpha, alpha), dtype=torch.float32)
                parts = [key.fold("permutation", "rank", rank).generator().permutation(2 + rank) for rank in (0, 1)]
                permutation = torch.cat([torch.from_numpy(parts[0]), 2 + torch.from_numpy(parts[1])])
            if implementation == "manifold_mixup":
                depth = int(key.fold("depth").generator().integers(3))

            def mixed(x: torch.Tensor, lam=lam, permutation=permutation) -> torch.Tensor:
                return lam * x + (1 - lam) * x[permutation]

            if depth:
                logits = net(
                    views, edit={depth - 1: lambda maps, mixed=mixed: FeatureMap(mixed(maps.spatial), maps.prefix)}
                )
            else:
                logits = net(mixed(views))
            own, partner = (functional.cross_entropy(logits, target) for target in (labels, labels[permutation]))
            loss = lam * own + (1 - lam) * partner
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            each.append(loss.item())
        losses.append(sum(each) / len(each))
    return losses, {f"backbone.{name}": tensor for name, tensor in net.state_dict().items()}


def curve_case(implementation: str) -> Case:
    return next(case for case in cases() if case[0] == f"{implementation} curve")


@pytest.mark.parametrize("implementation", CURVES)
def test_two_processes_give_the_curve_of_the_whole_batch(found, splits, implementation):
    losses, weights = by_hand(implementation, splits)
    for each in found:
        assert each[f"{implementation} curve"]["losses"] == pytest.approx(losses, rel=1e-5)
        assert differing(each[f"{implementation} curve"]["weights"], weights, 2e-4) == []


def _same_partners(monkeypatch) -> None:
    monkeypatch.setattr(RankKey, "generator", lambda key: Key(*key.path).generator())


def _unweighted(monkeypatch) -> None:
    true = training_module.parts_of
    monkeypatch.setattr(
        training_module, "parts_of", lambda *given: [part._replace(divisor=2.0, weight=1.0) for part in true(*given)]
    )


def _lam_of_its_own(monkeypatch) -> None:
    monkeypatch.setattr(RankKey, "generator", lambda key: Key(*key.path, "rank", key.rank).generator())


@pytest.mark.parametrize("fault", [_same_partners, _unweighted, _lam_of_its_own])
def test_faults_of_draws_and_weights_are_seen_in_the_curve(monkeypatch, splits, fault):
    fault(monkeypatch)
    losses, weights = by_hand("mixup", splits)
    found = outcome(make(curve_case("mixup"), splits))
    assert found["losses"] != pytest.approx(losses, rel=1e-5)
    assert differing(found["weights"], weights, 2e-4)


def test_a_checkpoint_of_two_ranks_goes_on_with_the_same_bits(splits):
    """A history, running means and statistics that stand in the middle of an epoch."""
    case = ("c", "recursivemix", {}, "test_resnet", {"epochs": 2})
    whole = make(case, splits)
    kept: list[dict] = []
    expected = [whole.run_epoch(lambda: kept.append(torch_copy(whole.state_dict()))) for _ in range(2)]
    resumed = make(case, splits)
    resumed.load_state_dict(kept[2])
    assert (resumed.epoch, resumed.step) == (1, 1)
    assert resumed.run_epoch() == expected[1]
    for name, tensor in whole.step_module.state_dict().items():
        assert torch.equal(tensor, resumed.step_module.state_dict()[name]), name


def torch_copy(state: dict) -> dict:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


def test_dropout_has_a_stream_for_each_rank_and_step(splits, monkeypatch):
    seeds: list[int] = []
    true = training_module.seed_generators
    monkeypatch.setattr(
        training_module, "seed_generators", lambda seed, device: (seeds.append(seed), true(seed, device))
    )
    make(("c", "erm", {}, "test_resnet", {}), splits).run_epoch()
    assert len(seeds) == len(set(seeds)) == 2 * 2


def test_running_statistics_are_the_mean_over_the_ranks(splits):
    """One step of a net in turn, against each rank's part alone through a network of its own."""
    training = make(("c", "erm", {}, "test_resnet", {}), splits)
    micro_batches = next(training.batches(0))
    norms = {}
    for part in range(2):
        alone = make(("c", "erm", {}, "test_resnet", {}), splits)
        alone.step_module.train()
        with torch.no_grad():
            alone.backbone(alone.normalise(micro_batches[part][0]))
        norms[part] = {name: tensor for name, tensor in alone.backbone.named_buffers() if "running" in name}
    training.step_module.train()
    for _ in training.forward_backward(0, 0, micro_batches):
        pass
    for name, tensor in training.backbone.named_buffers():
        if "running" in name:
            assert torch.allclose(tensor, (norms[0][name] + norms[1][name]) / 2, rtol=1e-5, atol=1e-7), name
        elif "num_batches" in name:
            assert int(tensor) == 1


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch has synchronised BatchNorm on GPUs only")
def test_synchronised_batchnorm_gives_the_curve_of_the_whole_batch(tmp_path, monkeypatch):
    """ERM without dropout, two images on one rank and three on the other, both on one GPU; apart they differ."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    device = torch.device("cuda")
    kept = {"epochs": 2}
    shared: list[Case] = [
        ("together", "erm", {}, "test_efficientnet", {**kept, "sync_batchnorm": True}),
        ("apart", "erm", {}, "test_efficientnet", kept),
    ]
    found = in_two_processes(shared, tmp_path, "cuda")
    whole = outcome(
        make(
            ("whole", "erm", {}, "test_efficientnet", {**kept, "world_size": 1}), open_data(DATA, device), None, device
        )
    )
    expected = {name: tensor.cpu() for name, tensor in whole["weights"].items()}
    for each in found:
        assert each["together"]["losses"] == pytest.approx(whole["losses"], rel=1e-3)
        assert differing(each["together"]["weights"], expected, 1e-3) == []
        assert each["apart"]["losses"] != pytest.approx(whole["losses"], rel=1e-3)
        assert any("running" in name for name in differing(each["apart"]["weights"], expected, 1e-3))
