from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from data_folders import write_image
from PIL import Image
from torch import Tensor, nn

from bench.data.resident import ResidentEval
from bench.errors import BadInput
from bench.evals.api import Context
from bench.evals.corruption_ops.severities import EXTRA, STANDARD
from bench.evals.corruptions import Corruptions
from bench.evals.published_folders import GROUPS

CLASSES = ("n01", "n02", "n03")
GROUP_OF = dict(zip((*STANDARD, *EXTRA), "nnnbbbbwwwwddddeeee", strict=True))


class Net(nn.Module):
    """Logits that change with every pixel."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes = classes

    def forward(self, images: Tensor) -> Tensor:
        low = nn.functional.adaptive_avg_pool2d(images, (4, -(-self.classes // 12))).flatten(1)
        return (low * 50).sin()[:, : self.classes]


def context_of(classes: tuple[str, ...] = CLASSES, each: int = 2, side: int = 8, resolution: int = 8) -> Context:
    size = each * len(classes)
    images = np.random.default_rng(3).integers(0, 256, (size, 3, side, side), dtype=np.uint8)
    feed = ResidentEval(torch.from_numpy(images), torch.arange(len(classes)).repeat(each), resolution)
    net, device = Net(len(classes)), torch.device("cpu")
    return Context(net, lambda pixels: pixels.float() / 255, {"test": feed}, len(classes), device, 0, classes)


def write_cell(
    folder: Path, classes: tuple[str, ...] = CLASSES, each: int = 2, side: int = 8, seed: int = 0, height: int = 0
) -> None:
    for label, name in enumerate(classes):
        for number in range(each):
            write_image(folder / name / f"{number}.png", seed + 10 * label + number, side, height or side)


def expected(context: Context, folder: Path, classes: tuple[str, ...] = CLASSES, each: int = 2) -> float:
    """Accuracy by a loop over the files, without the code under test."""
    right = 0
    for label, name in enumerate(classes):
        for path in sorted((folder / name).iterdir())[:each]:
            pixels = torch.from_numpy(np.asarray(Image.open(path)).transpose(2, 0, 1).copy())[None]
            right += int(context.backbone(context.normalise(pixels)).argmax()) == label
    return right / (each * len(classes))


def run(context: Context, folder: Path, **settings: object) -> list:
    return list(
        Corruptions(**{"corruptions": ("fog",), "severities": (2,), "files": str(folder), **settings}).evaluate(
            context, {}
        )
    )  # type: ignore[arg-type]


@pytest.mark.parametrize("group", ["", "weather"])
def test_values_are_those_of_the_files_and_an_evaluation_continues(tmp_path: Path, group: str) -> None:
    for severity in range(1, 6):
        write_cell(tmp_path / group / "fog" / str(severity), each=2, seed=100 * severity)
    context = context_of()
    evaluator = Corruptions(corruptions=("fog",), files=str(tmp_path), batch_size=4)
    metrics = list(evaluator.evaluate(context, {}))
    assert [metric.key for metric in metrics] == evaluator.plan(context)
    values = [expected(context, tmp_path / group / "fog" / str(severity)) for severity in range(1, 6)]
    assert [metric.value for metric in metrics] == values
    assert len(set(values)) > 1
    assert metrics[1].detail == {"corruption": "fog", "severity": 2, "source": "files"}
    shutil.rmtree(tmp_path / group / "fog" / "1")  # measured already: not looked at again
    assert list(evaluator.evaluate(context, {metrics[0].key: metrics[0].value})) == metrics[1:]


def test_whole_set_is_averaged_over_fifteen(tmp_path: Path) -> None:
    names = {"n": "noise", "b": "blur", "w": "weather", "d": "digital", "e": "extra"}
    assert tuple(names.values()) == GROUPS
    for place, (corruption, letter) in enumerate(GROUP_OF.items()):
        for severity in range(1, 6):
            write_cell(
                tmp_path / names[letter] / corruption / str(severity), CLASSES[:2], 2, seed=1000 * place + 50 * severity
            )
    context = context_of(CLASSES[:2])
    found = list(Corruptions(files=str(tmp_path)).evaluate(context, {}))
    standard = [metric.value for metric in found if metric.name == "corruption_top1"]
    extra = [metric.value for metric in found if metric.name == "extra_corruption_top1"]
    assert (len(standard), len(extra)) == (75, 20)
    assert np.mean(standard) != np.mean(standard + extra)
    assert found[-2][:2] == ("corruption_top1_mean", pytest.approx(np.mean(standard)))
    assert {metric.name for metric in found[-2:]} == {"corruption_top1_mean", "corruption_error_unnormalised"}


def test_first_images_of_each_class(tmp_path: Path) -> None:
    write_cell(tmp_path / "fog" / "2", each=8)
    context = context_of(each=8)
    (metric,) = run(context, tmp_path, per_class=3, batch_size=2)
    assert metric.value == expected(context, tmp_path / "fog" / "2", each=3)
    (whole,) = run(context, tmp_path)
    assert whole.value == expected(context, tmp_path / "fog" / "2", each=8) != metric.value
    assert run(context, tmp_path, per_class=9) == [whole]


def test_clean_error_is_of_the_same_images(tmp_path: Path) -> None:
    context = context_of(tuple(f"n{number:04}" for number in range(1000)), each=2)
    right = (
        context.backbone(context.normalise(context.splits["test"].images)).argmax(1) == context.splits["test"].labels
    )
    for per_class, share in ((0, right), (1, right[::2])):
        evaluator = Corruptions(files=str(tmp_path), per_class=per_class)
        done = dict.fromkeys(evaluator.plan(context)[:95], 0.5)
        values = {metric.name: metric.value for metric in evaluator.evaluate(context, done)}
        assert values["clean_top1"] == share.double().mean().item()
    assert right[::2].sum() != right[1::2].sum()


def test_squares_are_resized_whole(tmp_path: Path) -> None:
    write_cell(tmp_path / "fog" / "2", side=16)
    context = context_of()
    seen: list[Tensor] = []
    context.backbone.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    run(context, tmp_path)
    files = [path for name in CLASSES for path in sorted((tmp_path / "fog" / "2" / name).iterdir())]
    small = [
        np.asarray(Image.open(path).resize((8, 8), Image.Resampling.BILINEAR)).transpose(2, 0, 1) for path in files
    ]
    assert torch.equal(torch.cat(seen), torch.from_numpy(np.stack(small)).float() / 255)


def test_files_of_the_stored_size_are_enlarged_as_the_runs_own_images(tmp_path: Path) -> None:
    write_cell(tmp_path / "fog" / "2")
    context = context_of(resolution=16)
    seen: list[Tensor] = []
    context.backbone.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    run(context, tmp_path)
    files = [path for name in CLASSES for path in sorted((tmp_path / "fog" / "2" / name).iterdir())]
    stored = torch.from_numpy(np.stack([np.asarray(Image.open(path)).transpose(2, 0, 1) for path in files]))
    own = ResidentEval(stored, torch.zeros(len(files), dtype=torch.int64), 16)
    assert torch.equal(torch.cat(seen), next(own.batches(99))[0].float() / 255)


def test_a_thousand_classes_give_errors_relative_to_alexnet(tmp_path: Path) -> None:
    classes = tuple(f"n{number:04}" for number in range(1000))
    context = context_of(classes, each=1)
    write_cell(tmp_path / "fog" / "5", classes, each=1)
    evaluator = Corruptions(files=str(tmp_path))
    plan = evaluator.plan(context)
    assert [key.split()[0] for key in plan[95:]] == [
        "corruption_top1_mean", "corruption_error_unnormalised", *["corruption_error_relative_to_alexnet"] * 15,
        "clean_top1", "mce", "relative_mce",
    ]  # fmt: skip
    fog = [key for key in plan if '"corruption":"fog","severity"' in key]
    done = {**dict.fromkeys(plan[:95], 0.25), **dict.fromkeys(fog, 0.5)}
    del done[fog[4]]
    found = list(evaluator.evaluate(context, done))
    assert [metric.key for metric in found] == [fog[4], *plan[95:]]
    top1 = expected(context, tmp_path / "fog" / "5", classes, each=1)
    relative = {metric.detail.get("corruption"): metric.value for metric in found[3:-3]}
    alexnet_fog = np.mean([0.67474, 0.76050, 0.84378, 0.87260, 0.94500])
    assert found[0].value == top1
    assert relative["fog"] == pytest.approx((4 * 0.5 + 1 - top1) / 5 / alexnet_fog, rel=1e-4)
    assert relative["snow"] == pytest.approx(0.75 / 0.866816)
    assert found[-2][:2] == ("mce", pytest.approx(np.mean(list(relative.values()))))
    clean = context.backbone(context.normalise(context.splits["test"].images)).argmax(1) == torch.arange(1000)
    assert found[-3][:2] == ("clean_top1", clean.double().mean().item())


def tree(folder: Path) -> Path:
    for severity in (1, 2):
        write_cell(folder / "fog" / str(severity))
    return folder


def test_what_does_not_fit_is_one_line_of_bad_input(tmp_path: Path) -> None:
    context = context_of()

    def refusal(change: object, **settings: object) -> str:
        folder = tree(tmp_path / "set")
        change(folder)  # type: ignore[operator]
        with pytest.raises(BadInput) as caught:
            run(context, folder, **settings)
        shutil.rmtree(folder)
        assert "\n" not in str(caught.value)
        return str(caught.value).replace(str(folder), "SET")

    same = lambda folder: None  # noqa: E731
    assert refusal(same, corruptions=("snow",)) == (
        "SET: has no folder 'snow'; choose one of: fog (expected <corruption>/<severity>/<class>/ with images, or arrays "
        "<corruption>.npy)"
    )
    assert refusal(same, severities=(3,)).startswith(
        "SET/fog: has no folder '3' for that severity, only 1, 2 (expected"
    )
    assert refusal(lambda folder: shutil.rmtree(folder / "fog/2/n02")) == (
        "SET/fog/2: has no folder 'n02'; expected one for each of the run's 3 classes"
    )
    assert refusal(lambda folder: (folder / "fog/2/n03").rename(folder / "fog/2/n04")) == (
        "SET/fog/2: the run has no class 'n04'; did you mean 'n03'?"
    )
    assert refusal(lambda folder: (folder / "fog/2/n02/1.png").unlink()) == (
        "SET/fog/2/n02: has 1 images, not 2 as the run's test split (1 of 3 classes differ)"
    )
    assert "SET/fog/2/x.png: lies outside" in refusal(lambda folder: write_image(folder / "fog/2/x.png", 0))
    assert "SET/fog/2/n01/0.png: this image cannot be used (not an image)" in refusal(
        lambda folder: (folder / "fog/2/n01/0.png").write_bytes(b"text")
    )
    assert "8x9 px; published corruptions are square" in refusal(
        lambda folder: write_image(folder / "fog/2/n01/0.png", 0, 8, 9)
    )
    assert "fog is there twice: SET/fog and SET/weather/fog" in refusal(
        lambda folder: shutil.copytree(folder / "fog", folder / "weather" / "fog")
    )


def test_missing_severities_are_found_before_anything_is_measured(tmp_path: Path) -> None:
    metrics = Corruptions(corruptions=("fog",), severities=(1, 2, 3), files=str(tree(tmp_path))).evaluate(
        context_of(), {}
    )
    with pytest.raises(BadInput, match="has no folder '3'"):
        next(metrics)


def test_a_run_without_class_names_is_bad_input(tmp_path: Path) -> None:
    context = context_of()
    nameless = Context(context.backbone, context.normalise, context.splits, 3, context.device, 0)
    with pytest.raises(BadInput, match="the run's classes have no names"):
        run(nameless, tree(tmp_path))
