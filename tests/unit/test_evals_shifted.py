from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from data_folders import spec_of, write_folder, write_image
from PIL import Image
from torch import Tensor, nn
from torchvision.transforms import v2

from bench.data.open import open_data
from bench.data.resident import ResidentEval
from bench.errors import BadInput
from bench.evals.api import Context, EvalFeed
from bench.evals.image_folder import ImageFolderFeed, evaluation_crop_of, read_class_folders, target_of
from bench.evals.shifted import Shifted

CLASSES = ("ant", "bee", "cat", "dog")


class Net(nn.Module):
    """Logits that change with every pixel; the first class is always ahead by `lead`."""

    lead = 0.0

    def forward(self, images: Tensor) -> Tensor:
        logits = (nn.functional.adaptive_avg_pool2d(images, 2).mean(1).flatten(1) * 80).sin()
        return logits + self.lead * nn.functional.one_hot(torch.tensor(0), 4)


def context_of(feed: EvalFeed | None = None) -> Context:
    if feed is None:
        feed = ResidentEval(torch.zeros(4, 3, 8, 8, dtype=torch.uint8), torch.arange(4), 8)
    return Context(Net(), lambda images: images.float() / 255, {"test": feed}, 4, torch.device("cpu"), 0, CLASSES)


def write_set(folder: Path, classes: tuple[str, ...] = ("dog", "bee"), each: int = 6) -> list[tuple[Path, int]]:
    """Images and their labels, in the order of the run's classes."""
    return [
        (write_image(folder / name / f"{number}.png", 20 * CLASSES.index(name) + number), CLASSES.index(name))
        for name in sorted(classes)
        for number in range(each)
    ]


def pixels_of(path: Path) -> Tensor:
    return torch.from_numpy(np.asarray(Image.open(path)).transpose(2, 0, 1).copy())


@pytest.mark.parametrize("masked", [False, True])
def test_accuracy_among_all_classes_or_those_present(tmp_path: Path, masked: bool) -> None:
    files = write_set(tmp_path)
    context = context_of()
    logits = context.backbone(context.normalise(torch.stack([pixels_of(path) for path, _ in files])))
    choice = (1, 3) if masked else (0, 1, 2, 3)
    right = [max(choice, key=row.__getitem__) == label for row, (_, label) in zip(logits.tolist(), files, strict=True)]
    evaluator = Shifted(files=str(tmp_path), set="mine", mask=masked, batch_size=5)
    metrics = list(evaluator.evaluate(context, {}))
    assert [metric.key for metric in metrics] == evaluator.plan(context)
    assert metrics[0] == ("shifted_images", 12.0, {"set": "mine"})
    assert metrics[1] == ("shifted_top1", sum(right) / 12, {"set": "mine", "source": "files", "masked": masked})
    assert 0 < metrics[1].value < 1
    done = {metrics[0].key: metrics[0].value}
    assert list(evaluator.evaluate(context, done)) == metrics[1:]
    shutil.rmtree(tmp_path)
    assert list(evaluator.evaluate(context, {metric.key: metric.value for metric in metrics})) == []


def test_a_class_without_a_folder_takes_no_hits_under_the_mask(tmp_path: Path) -> None:
    write_set(tmp_path)
    context = context_of()
    plain = list(Shifted(files=str(tmp_path)).evaluate(context, {}))[1].value
    context.backbone.lead = 100.0
    assert list(Shifted(files=str(tmp_path)).evaluate(context, {}))[1].value == plain
    assert list(Shifted(files=str(tmp_path), mask=False).evaluate(context, {}))[1].value == 0


def test_images_are_those_of_the_runs_own_test_split(tmp_path: Path) -> None:
    """The test folder itself, read as another set, gives the tensors that the run is tested on."""
    for name, (width, height), changes in (
        ("folder", (21, 13), {}),
        ("streaming", (21, 13), {"workers": 0}),
        ("streaming", (9, 30), {"workers": 0}),
    ):
        root = write_folder(tmp_path / f"{name}{width}", train=1, test=3, width=width, height=height)
        splits = open_data(spec_of(name, root=root, **changes))
        own = splits.evaluation["test"]
        images = read_class_folders(root / "test", splits.facts.class_names)
        feed = ImageFolderFeed(images, target_of(own), evaluation_crop_of(own), torch.device("cpu"))
        theirs, ours = list(own.batches(4)), list(feed.batches(4))
        assert [len(labels) for _, labels in ours] == [4, 2]
        for (first, first_labels), (second, second_labels) in zip(theirs, ours, strict=True):
            assert torch.equal(first, second)
            assert torch.equal(first_labels, second_labels)


def test_streamed_crops_are_torchvisions(tmp_path: Path) -> None:
    root = write_folder(tmp_path, train=1, test=1, width=61, height=40)
    own = open_data(spec_of("streaming", root=root, workers=0, resolution=28)).evaluation["test"]
    images = read_class_folders(root / "test", ("ant", "bee"))
    feed = ImageFolderFeed(images, target_of(own), evaluation_crop_of(own), torch.device("cpu"))
    oracle = v2.Compose([v2.Resize(32), v2.CenterCrop(28), v2.PILToTensor()])
    assert torch.equal(next(feed.batches(1))[0][0], oracle(Image.open(images.files[0])))


def test_feed_obeys_transforms_and_batches(tmp_path: Path) -> None:
    files = write_set(tmp_path, each=3)
    images = read_class_folders(tmp_path, CLASSES)
    feed = ImageFolderFeed(images, target_of(context_of().split("test")), lambda image: image, torch.device("cpu"))
    assert (feed.size, feed.native, feed.labels.tolist()) == (6, (3, 8, 8), [1, 1, 1, 3, 3, 3])
    seen: list[int] = []

    def change(batch: Tensor, index: Tensor) -> Tensor:
        seen.extend(index.tolist())
        return 255 - batch

    inverted = torch.cat([batch for batch, _ in feed.batches(4, change)])
    assert torch.equal(inverted, torch.stack([255 - pixels_of(path) for path, _ in files]))
    assert seen == list(range(6))
    with pytest.raises(ValueError, match="must keep the shape"):
        next(feed.batches(2, lambda batch, index: batch[:, :1]))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: (folder / "dog").rename(folder / "dgo"), r"the run has no class 'dgo'; did you mean 'dog'\?"),
        (
            lambda folder: (folder / "bee/0.png").write_bytes(b"no"),
            r"bee/0.png: this image cannot be used \(not an image\)",
        ),
        (lambda folder: (folder / "empty").mkdir() or (folder / "empty").rename(folder / "cat"), "cat: has no images"),
        (lambda folder: write_image(folder / "a.png", 0), "a.png: lies outside the class folders"),
        (
            lambda folder: [shutil.rmtree(folder / name) for name in ("bee", "dog")],
            "has no class folders; expected <class>/",
        ),
        (lambda folder: shutil.rmtree(folder / "bee"), "has one class only, .* set mask: false"),
        (lambda folder: shutil.rmtree(folder), "there is no such folder; expected <class>/ folders"),
    ],
)
def test_wrong_folders_are_bad_input(tmp_path: Path, spoil: object, message: str) -> None:
    folder = tmp_path / "set"
    write_set(folder)
    spoil(folder)  # type: ignore[operator]
    with pytest.raises(BadInput, match=message) as caught:
        list(Shifted(files=str(folder)).evaluate(context_of(), {}))
    assert "\n" not in str(caught.value)


def test_settings_that_say_too_little_are_bad_input() -> None:
    with pytest.raises(BadInput, match="files is not set; give the folder of 'imagenet-a'"):
        list(Shifted(set="imagenet-a").evaluate(context_of(), {}))
    with pytest.raises(BadInput, match="set is empty"):
        Shifted(set="")
    context = context_of()
    nameless = Context(context.backbone, context.normalise, context.splits, 4, context.device, 0)
    with pytest.raises(BadInput, match="the run's classes have no names"):
        list(Shifted(files="anywhere").evaluate(nameless, {}))
