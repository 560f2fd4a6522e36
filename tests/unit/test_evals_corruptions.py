from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from data_folders import spec_of, write_folder
from torch import Tensor, nn

from bench.data.open import open_data
from bench.data.resident import ResidentEval
from bench.errors import BadInput
from bench.evals.api import Context, Transform
from bench.evals.corruption_ops import summary
from bench.evals.corruption_ops.library import corrupt
from bench.evals.corruption_ops.severities import EXTRA, FAMILIES, STANDARD, TABLES, strength
from bench.evals.corruptions import Corruptions
from bench.evals.published import PublishedCorruptions
from bench.evals.registry import read_arm
from bench.evals.subset import first_per_class, subset

SOURCE = {"source": "regenerated, seed 0"}


class Counting(ResidentEval):
    """Counts the images it has served."""

    seen = 0

    def batches(self, batch_size: int, transform: Transform | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        for images, labels in super().batches(batch_size, transform):
            self.seen += len(images)
            yield images, labels


def feed_of(size: int = 12, side: int = 32, channels: int = 3, classes: int = 4) -> Counting:
    generator = np.random.default_rng(2)
    images = torch.from_numpy(generator.integers(0, 256, (size, channels, side, side), dtype=np.uint8))
    return Counting(images, torch.from_numpy(generator.integers(0, classes, size)), side)


def context_of(feed: ResidentEval, classes: int = 4) -> Context:
    class Net(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            low = nn.functional.adaptive_avg_pool2d(images, (5, 67)).flatten(1)
            return (low * 50).sin()[:, :classes]

    return Context(Net(), lambda images: images.float() / 255, {"test": feed}, classes, torch.device("cpu"), seed=0)


def test_tables_name_the_same_nineteen() -> None:
    assert len(STANDARD) == 15
    assert len(EXTRA) == 4
    assert [*itertools.chain(*FAMILIES.values())] == [*STANDARD]
    for table in TABLES.values():
        assert set(table) == {*STANDARD, *EXTRA}
        assert all(len(entries) == 5 for entries in table.values())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("fog", 1, 96), "no published severity table for 96 px images, only for 32, 64, 224 px"),
        (("fgo", 1, 32), "unknown corruption 'fgo'; did you mean 'fog'"),
        (("fog", 6, 32), "severity 6 of fog is not one of 1 to 5"),
    ],
)
def test_unknown_strengths_are_bad_input(arguments: tuple[str, int, int], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        strength(*arguments)


@pytest.mark.parametrize(
    ("shape", "shown"), [((1, 32, 32), "1 channels"), ((3, 32, 64), "32x64 px"), ((3, 48, 48), "48 px")]
)
def test_other_images_are_bad_input(shape: tuple[int, int, int], shown: str) -> None:
    with pytest.raises(BadInput, match=shown):
        corrupt(torch.zeros(2, *shape, dtype=torch.uint8), torch.arange(2), "fog", 1, 0)
    feed = ResidentEval(torch.zeros(2, *shape, dtype=torch.uint8), torch.zeros(2, dtype=torch.int64), 32)
    with pytest.raises(BadInput, match=shown):
        list(Corruptions().evaluate(context_of(feed), {}))


def test_values_are_those_of_the_corrupted_images() -> None:
    feed = feed_of(size=40)
    context = context_of(feed)
    metrics = list(Corruptions(corruptions=("contrast", "gaussian_noise"), severities=(2, 5)).evaluate(context, {}))
    assert [metric.key for metric in metrics] == Corruptions(
        corruptions=("contrast", "gaussian_noise"), severities=(2, 5)
    ).plan(context)
    for metric in metrics:
        images = corrupt(feed.images, torch.arange(40), metric.detail["corruption"], metric.detail["severity"], 0)
        right = context.backbone(context.normalise(images)).argmax(dim=1) == feed.labels
        assert metric.value == right.double().mean().item()
        assert metric.detail["source"] == "regenerated, seed 0"
    assert len({metric.value for metric in metrics}) > 1


def test_whole_set_resumes_and_is_summed_up() -> None:
    feed = feed_of()
    context = context_of(feed)
    evaluator = Corruptions(batch_size=5)
    metrics = list(evaluator.evaluate(context, {}))
    assert [metric.key for metric in metrics] == evaluator.plan(context)
    assert len(metrics) == 19 * 5 + 2
    standard = [metric.value for metric in metrics if metric.name == "corruption_top1"]
    assert len(standard) == 75
    assert metrics[-2][:2] == ("corruption_top1_mean", pytest.approx(np.mean(standard)))
    assert metrics[-1][:2] == ("corruption_error_unnormalised", pytest.approx(1 - np.mean(standard)))
    extra = {metric.detail["corruption"] for metric in metrics if metric.name == "extra_corruption_top1"}
    assert extra == set(EXTRA)
    feed.seen = 0
    done = {metric.key: metric.value for metric in metrics[:94]}
    assert list(evaluator.evaluate(context, done)) == metrics[94:]
    assert feed.seen == 12
    assert list(evaluator.evaluate(context, {metric.key: metric.value for metric in metrics})) == []
    assert feed.seen == 12


def test_images_are_corrupted_at_their_own_size_before_they_are_enlarged() -> None:
    small = feed_of()
    feed = ResidentEval(small.images, small.labels, 64)
    (metric,) = Corruptions(corruptions=("pixelate",), severities=(5,)).evaluate(context_of(feed), {})
    context = context_of(feed)
    images = next(feed.batches(12, lambda images, index: corrupt(images, index, "pixelate", 5, 0)))[0]
    assert images.shape[-1] == 64
    right = context.backbone(context.normalise(images)).argmax(dim=1) == feed.labels
    assert metric.value == right.double().mean().item()


def test_imagenet_gets_mce() -> None:
    context = context_of(feed_of(size=1, side=224, classes=1000), 1000)
    plan = Corruptions().plan(context)
    relative = [metric for metric in plan if metric.startswith("corruption_error_relative_to_alexnet ")]
    assert relative == plan[-18:-3]
    assert plan[-3:] == [f'{name} {{"source":"regenerated, seed 0"}}' for name in ("clean_top1", "mce", "relative_mce")]
    known = {
        (corruption, severity): 1 - summary.ALEXNET_ERROR[corruption]
        for corruption in STANDARD
        for severity in range(1, 6)
    }
    done = dict.fromkeys(plan[: 19 * 5], 0.5)
    found = {metric.name: metric.value for metric in Corruptions().evaluate(context, done)}
    assert found["mce"] == pytest.approx(np.mean([0.5 / error for error in summary.ALEXNET_ERROR.values()]))
    assert summary.mean_corruption_error(known) == pytest.approx(1)
    assert summary.relative_mean_corruption_error(known, summary.ALEXNET_CLEAN_ERROR) == pytest.approx(1)
    drop = 0.5 - (1 - found["clean_top1"])
    assert found["relative_mce"] == pytest.approx(
        np.mean([drop / (error - 0.43478) for error in summary.ALEXNET_ERROR.values()])
    )


def test_first_images_of_each_class_are_corrupted_as_among_all() -> None:
    feed = feed_of(size=40)
    context = context_of(feed)
    settings = {"corruptions": ("gaussian_noise", "glass_blur"), "severities": (5,)}
    chosen = [place for place in range(40) if (feed.labels[:place] == feed.labels[place]).sum() < 3]
    assert len(chosen) == 12
    for batch_size in (7, 512):
        metrics = list(Corruptions(**settings, per_class=3, batch_size=batch_size).evaluate(context, {}))
        for metric in metrics:
            images = corrupt(feed.images, torch.arange(40), metric.detail["corruption"], 5, 0)[chosen]
            right = context.backbone(context.normalise(images)).argmax(dim=1) == feed.labels[chosen]
            assert metric.value == right.double().mean().item()
    everything = list(Corruptions(**settings).evaluate(context, {}))
    assert list(Corruptions(**settings, per_class=99).evaluate(context, {})) == everything != metrics


def test_subset_gives_its_images_and_positions_alone() -> None:
    feed = feed_of(size=30)
    positions = torch.tensor([0, 4, 5, 17, 29])
    few = subset(feed, positions)
    assert (few.size, few.native, few.labels.tolist()) == (5, (3, 32, 32), feed.labels[positions].tolist())
    met: list[int] = []

    def change(images: Tensor, index: Tensor) -> Tensor:
        met.extend(index.tolist())
        return images.float() + index[:, None, None, None] / 64

    batches = list(few.batches(6, change))
    assert met == positions.tolist()
    assert torch.equal(torch.cat([labels for _, labels in batches]), few.labels)
    offsets = positions[:, None, None, None] / 64
    assert torch.equal(torch.cat([images for images, _ in batches]), feed.images[positions].float() + offsets)
    assert torch.equal(torch.cat([images for images, _ in few.batches(6)]), feed.images[positions])


def test_subset_of_streamed_images_decodes_no_others(tmp_path: Path) -> None:
    root = write_folder(tmp_path, train=1, test=5)
    feed = open_data(spec_of("streaming", root=root, workers=0)).evaluation["test"]
    whole = torch.cat([images for images, _ in feed.batches(4)])
    shift = lambda images, index: images // 2 + index[:, None, None, None].to(torch.uint8)  # noqa: E731
    positions = first_per_class(feed.labels, 2)
    assert positions.tolist() == [0, 1, 5, 6]
    for name in ("2", "3", "4"):
        (root / "test" / "bee" / f"{name}.png").write_bytes(b"never read")
    batches = list(subset(feed, positions).batches(3, shift))
    assert torch.equal(torch.cat([images for images, _ in batches]), shift(whole[positions], positions))
    assert torch.equal(torch.cat([labels for _, labels in batches]), feed.labels[positions])


@pytest.mark.parametrize("count", [1, 3, 1000])
def test_first_per_class_by_a_loop(count: int) -> None:
    labels = np.random.default_rng(8).integers(-1, 5, 60)
    kept = [place for place in range(60) if np.count_nonzero(labels[:place] == labels[place]) < count]
    assert first_per_class(torch.from_numpy(labels), count).tolist() == kept


def test_all_images_leave_the_digest_as_it_was_before_there_was_a_choice(tmp_path: Path) -> None:
    def digest(text: str) -> str:
        (tmp_path / "mine.yaml").write_text(f"evaluator: corruptions\n{text}")
        return read_arm(tmp_path / "mine.yaml").digest

    assert digest("") == digest("per_class: 0") == "c6894a8bb40521e4"
    assert digest("per_class: 100") != digest("")


def published(folder: Path, feed: ResidentEval, corruption: str = "fog") -> np.ndarray:
    """Write made-up files in the published layout; returns the images (5, N, 32, 32, 3)."""
    images = np.random.default_rng(4).integers(0, 256, (5, feed.size, 32, 32, 3), dtype=np.uint8)
    np.save(folder / f"{corruption}.npy", images.reshape(-1, 32, 32, 3))
    np.save(folder / "labels.npy", np.tile(feed.labels.numpy(), 5).astype(np.uint8))
    return images


def test_published_files_are_read_block_by_block(tmp_path: Path) -> None:
    feed = feed_of()
    images = published(tmp_path, feed)
    evaluator = Corruptions(corruptions=("fog",), files=str(tmp_path))
    context = context_of(feed)
    metrics = list(evaluator.evaluate(context, {}))
    assert [metric.detail for metric in metrics] == [
        {"corruption": "fog", "severity": severity, "source": "files"} for severity in range(1, 6)
    ]
    for metric, block in zip(metrics, images, strict=True):
        pixels = torch.from_numpy(block).permute(0, 3, 1, 2)
        right = context.backbone(context.normalise(pixels)).argmax(dim=1) == feed.labels
        assert metric.value == right.double().mean().item()


def test_published_files_fit_the_networks_resolution(tmp_path: Path) -> None:
    feed = feed_of()
    published(tmp_path, feed)
    served = PublishedCorruptions(tmp_path, feed.labels, torch.device("cpu")).feed("fog", 2, 64)
    assert next(served.batches(4))[0].shape == (4, 3, 64, 64)


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        (
            "fog",
            np.zeros((59, 32, 32, 3), np.uint8),
            r"fog.npy: has the shape 59x32x32x3, not 60x32x32x3 \(5 severities of the 12",
        ),
        ("fog", np.zeros((60, 3, 32, 32), np.uint8), "fog.npy: has the shape 60x3x32x32, not 60x32x32x3"),
        ("fog", np.zeros((60, 32, 32, 3), np.float32), "fog.npy: holds float32 values, not uint8"),
        ("fog", np.zeros((60, 24, 32, 3), np.uint8), "fog.npy: has the shape 60x24x32x3, not 60x32x32x3"),
        ("labels", np.zeros(59, np.uint8), "labels.npy: has the shape 59 and type uint8, not 60 whole numbers"),
        ("labels", np.zeros(60, np.float32), "labels.npy: has the shape 60 and type float32"),
        (
            "labels",
            np.full(60, 9, np.uint8),
            r"labels.npy: row 0 has the label 9, the run's test split has \d; .*60 rows differ",
        ),
    ],
)
def test_wrong_published_files_are_bad_input(tmp_path: Path, name: str, array: np.ndarray, message: str) -> None:
    feed = feed_of()
    published(tmp_path, feed)
    np.save(tmp_path / f"{name}.npy", array)
    with pytest.raises(BadInput, match=message) as caught:
        list(Corruptions(corruptions=("fog",), files=str(tmp_path)).evaluate(context_of(feed), {}))
    assert "\n" not in str(caught.value)


def test_missing_and_broken_published_files_are_bad_input(tmp_path: Path) -> None:
    feed = feed_of()
    published(tmp_path, feed)
    run = lambda folder, name: list(Corruptions(corruptions=(name,), files=str(folder)).evaluate(context_of(feed), {}))  # noqa: E731
    with pytest.raises(BadInput, match="no such folder"):
        run(tmp_path / "none", "fog")
    with pytest.raises(BadInput, match=r"frost.npy: no such file"):
        run(tmp_path, "frost")
    (tmp_path / "snow.npy").write_bytes(b"not an array")
    with pytest.raises(BadInput, match=r"snow.npy: is not a NumPy array file"):
        run(tmp_path, "snow")
    (tmp_path / "labels.npy").unlink()
    with pytest.raises(BadInput, match=r"labels.npy: no such file"):
        run(tmp_path, "fog")


def test_a_missing_file_is_found_before_anything_is_measured(tmp_path: Path) -> None:
    feed = feed_of()
    published(tmp_path, feed)
    metrics = Corruptions(corruptions=("fog", "frost"), files=str(tmp_path)).evaluate(context_of(feed), {})
    with pytest.raises(BadInput, match=r"frost.npy: no such file"):
        next(metrics)


def test_nineteen_files_are_never_averaged_as_fifteen(tmp_path: Path) -> None:
    feed = feed_of()
    for name in (*STANDARD, *EXTRA):
        published(tmp_path, feed, name)
    for place, name in enumerate(EXTRA):
        np.save(tmp_path / f"{name}.npy", np.full((60, 32, 32, 3), 60 * place, np.uint8))
    found = list(Corruptions(files=str(tmp_path)).evaluate(context_of(feed), {}))
    standard = [metric.value for metric in found if metric.detail.get("corruption") in STANDARD]
    extra = [metric.value for metric in found if metric.detail.get("corruption") in EXTRA]
    assert (len(standard), len(extra)) == (75, 20)
    assert found[-2][:2] == ("corruption_top1_mean", pytest.approx(np.mean(standard)))
    assert np.mean(standard) != pytest.approx(np.mean(standard + extra))
    few = Corruptions(corruptions=tuple(EXTRA), files=str(tmp_path))
    assert {metric.name for metric in few.evaluate(context_of(feed), {})} == {"extra_corruption_top1"}
