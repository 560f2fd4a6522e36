from __future__ import annotations

import gzip
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from bench.data.augment import resize
from bench.data.decode import fit, open_image, to_array
from bench.data.resident import ResidentEval
from bench.errors import BadInput
from bench.evals.api import Context, Transform, metric_key
from bench.evals.detection import detection, energy, maximum_logit, maximum_softmax
from bench.evals.ood import OOD
from bench.evals.ood_ops.generated import generate
from bench.evals.ood_ops.names import parse_set
from bench.evals.ood_ops.sets import SetOpener, SetOptions
from bench.evals.registry import read_arm

SMALL = {"generated": 12, "batch_size": 5}


class Counting(ResidentEval):
    """Counts the images it has served."""

    seen = 0

    def batches(self, batch_size: int, transform: Transform | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        for images, labels in super().batches(batch_size, transform):
            self.seen += len(images)
            yield images, labels


def random_images(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def context_of(channels: int = 3, native: int = 6, resolution: int = 8, classes: int = 4, **sizes: int) -> Context:
    splits = {}
    for seed, (name, size) in enumerate({"test": 20, **sizes}.items()):
        images = torch.from_numpy(random_images(seed, size, channels, native, native) // (1 + seed))
        splits[name] = Counting(images, torch.full((size,), -seed), resolution)
    net = nn.Sequential(nn.Flatten(), nn.Linear(channels * resolution**2, classes))
    generator = np.random.default_rng(9)
    net[1].weight.data = torch.from_numpy(generator.normal(size=tuple(net[1].weight.shape)) / 3).float()
    net[1].bias.data = torch.from_numpy(generator.normal(size=classes)).float()
    return Context(net, lambda images: images.float() / 128 - 1, splits, classes, torch.device("cpu"), seed=0)


def images_of(
    text: str, context: Context, batch_size: int = 4, crop_share: float = 1.0, convert: bool = False
) -> Tensor:
    feed = SetOpener(context, SetOptions(12, 0, crop_share, convert)).open(parse_set(text))
    batches = list(feed.batches(batch_size))
    assert [len(images) for images, _ in batches[:-1]] == [batch_size] * (len(batches) - 1)
    assert torch.equal(torch.cat([labels for _, labels in batches]), feed.labels)
    assert torch.equal(feed.labels, torch.full((feed.size,), -1))
    return torch.cat([images for images, _ in batches])


def write_images(folder: Path, channels: int = 3, count: int = 4) -> Path:
    for number in range(count):
        path = folder / ("deep/below" if number % 2 else "") / f"{9 - number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = random_images(50 + number, 11, 9 + number, 3)
        Image.fromarray(pixels if channels == 3 else pixels[:, :, 0]).save(path)
    return folder


def test_values_names_and_resume() -> None:
    context = context_of(held_out=14)
    test, held_out = context.splits["test"], context.splits["held_out"]
    metrics = list(OOD(**SMALL).evaluate(context, {}))
    assert [metric.key for metric in metrics] == OOD(**SMALL).plan(context)
    assert (test.seen - 1, held_out.seen) == (20, 14)
    values = {metric.key: metric.value for metric in metrics}

    def logits(images: Tensor) -> Tensor:
        with torch.no_grad():
            return context.backbone(context.normalise(resize(images, 8)))

    noise = generate("gaussian_noise", 0, torch.arange(12), (3, 6, 6))
    for score, function in (("msp", maximum_softmax), ("energy", energy), ("max_logit", maximum_logit)):
        known = function(logits(test.images))
        for name, kind, images in (("held_out", "near", held_out.images), ("gaussian_noise", "far", noise)):
            expected = detection(known, function(logits(images)))
            for field, value in expected._asdict().items():
                key = metric_key(f"ood_{field}", {"score": score, "set": name, "kind": kind})
                assert values[key] == pytest.approx(value, abs=1e-12)
    far = [metric.value for metric in metrics if metric.name == "ood_auroc" and metric.detail["kind"] == "far"]
    for place, score in enumerate(("msp", "energy", "max_logit")):
        mean = values[metric_key("ood_auroc_mean", {"score": score, "kind": "far"})]
        assert mean == pytest.approx(np.mean(far[place::3]))

    test.seen = held_out.seen = 0
    cut = 5
    done = {metric.key: metric.value for metric in metrics if metric.detail.get("set") != "textures"}
    again = list(OOD(**SMALL).evaluate(context, done))
    assert again == [metric for metric in metrics if metric.detail.get("set") == "textures"]
    assert (test.seen - 1, held_out.seen) == (20, 0)
    assert list(OOD(**SMALL).evaluate(context, dict(list(values.items())[:cut]))) == metrics[cut:]
    means = {key: value for key, value in values.items() if not key.startswith("ood_auroc_mean")}
    test.seen = 0
    assert [metric.name for metric in OOD(**SMALL).evaluate(context, means)] == ["ood_auroc_mean"] * 6
    assert list(OOD(**SMALL).evaluate(context, values)) == []
    assert test.seen == 0


def test_batch_size_changes_nothing() -> None:
    ours, others = (list(OOD(generated=12, batch_size=size).evaluate(context_of(), {})) for size in (3, 50))
    for one, other in zip(ours, others, strict=True):
        assert one.key == other.key
        assert one.value == pytest.approx(other.value, abs=1e-12)


def test_a_run_without_held_out_classes_has_none_there() -> None:
    metrics = list(OOD(near=("held_out",), far=("blobs",), **SMALL).evaluate(context_of(), {}))
    assert [metric.key for metric in metrics] == OOD(near=("held_out",), far=("blobs",)).plan(context_of(held_out=3))
    assert all((metric.value is None) == (metric.detail["kind"] == "near") for metric in metrics)


def test_folders_are_cut_to_the_stored_size_and_resized_as_test_images_are(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "odd")
    context = context_of()
    paths = [folder / name for name in ("7.png", "9.png", "deep/below/6.png", "deep/below/8.png")]
    for crop_share, shorter in ((1.0, 6), (0.75, 8)):
        expected = np.stack([to_array(fit(open_image(path, 3), shorter, 6)) for path in paths])
        found = images_of(f"folder:{folder}", context, batch_size=3, crop_share=crop_share)
        assert torch.equal(found, resize(torch.from_numpy(expected), 8))
    metrics = list(OOD(far=(f"folder:{folder}",), near=(), **SMALL).evaluate(context, {}))
    assert {metric.detail.get("set") for metric in metrics} == {"folder:odd", None}
    assert all(0 <= metric.value <= 1 for metric in metrics)


def test_channels_are_converted_only_when_asked(tmp_path: Path) -> None:
    grey, colour = write_images(tmp_path / "grey", channels=1), write_images(tmp_path / "colour")
    with pytest.raises(BadInput, match="folder:grey: its images are grey, the network takes 3 channels; set convert"):
        OOD(far=(f"folder:{grey}",)).evaluate(context_of(), {}).__next__()
    with pytest.raises(BadInput, match="folder:colour: its images are in colour, the network takes 1 channel; set"):
        OOD(far=(f"folder:{colour}",)).evaluate(context_of(1), {}).__next__()
    repeated = images_of(f"folder:{grey}", context_of(), convert=True)
    assert torch.equal(repeated, images_of(f"folder:{grey}", context_of(1)).expand(-1, 3, -1, -1))
    assert images_of(f"folder:{colour}", context_of(1), convert=True).shape == (4, 1, 8, 8)
    Image.fromarray(random_images(3, 9, 9, 3)).save(grey / "z.png")
    assert images_of(f"folder:{grey}", context_of()).shape == (5, 3, 8, 8)


def write_mnist(root: Path) -> np.ndarray:
    """MNIST's four files of 5 images, as torchvision's downloader leaves them."""
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True)
    images = random_images(4, 5, 28, 28)
    for part in ("train", "t10k"):
        pictures, labels = raw / f"{part}-images-idx3-ubyte", raw / f"{part}-labels-idx1-ubyte"
        pictures.write_bytes(struct.pack(">IIII", 2051, 5, 28, 28) + images.tobytes())
        labels.write_bytes(struct.pack(">II", 2049, 5) + bytes(5))
        for path in (pictures, labels):
            path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes()))
    return images


def test_torchvision_sets(tmp_path: Path) -> None:
    pixels = write_mnist(tmp_path)
    text = f"torchvision:MNIST:{tmp_path}"
    expected = np.stack([to_array(fit(Image.fromarray(image), 6, 6)) for image in pixels])
    assert torch.equal(images_of(text, context_of(1)), resize(torch.from_numpy(expected), 8))
    with pytest.raises(BadInput, match="torchvision:MNIST: its images are grey, the network takes 3 channels"):
        images_of(text, context_of())
    assert images_of(text, context_of(), convert=True).shape == (5, 3, 8, 8)
    missing = str(tmp_path / "none")
    with pytest.raises(BadInput, match=r"torchvision:SVHN: is not in .*SVHN\('.*none', split='test', download=True\)"):
        images_of(f"torchvision:SVHN:{missing}", context_of())
    with pytest.raises(BadInput, match="torchvision:SVHM: is not a set that is known; did you mean 'SVHN'"):
        images_of(f"torchvision:SVHM:{missing}", context_of())


def test_bad_sets_end_before_the_network_runs(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    write_images(tmp_path / "torn")
    (tmp_path / "torn" / "7.png").write_bytes(b"no image")
    for name, message in (("none", "there is no such folder"), ("empty", "has no images"), ("torn", "7.png: is not")):
        context = context_of()
        with pytest.raises(BadInput, match=message) as caught:
            list(OOD(far=("blobs", f"folder:{tmp_path / name}"), **SMALL).evaluate(context, {}))
        assert "\n" not in str(caught.value)
        assert context.splits["test"].seen <= 1


def test_a_file_that_ends_early_is_named(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "short")
    path = folder / "9.png"
    path.write_bytes(path.read_bytes()[:-60])
    with pytest.raises(BadInput, match=r"9\.png: .*; repair or remove it"):
        list(OOD(far=(f"folder:{folder}",), **SMALL).evaluate(context_of(), {}))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gaussian_noise_", "did you mean 'gaussian_noise'"),
        ("folder:", "did you mean 'folder:PATH'"),
        ("torchvision:SVHN", "did you mean 'torchvision:NAME:ROOT'"),
        ("cifar100", "choose one of"),
    ],
)
def test_unknown_sets(text: str, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        OOD(far=(text,))


def test_bad_combinations() -> None:
    with pytest.raises(BadInput, match="one or more different values"):
        OOD(near=("blobs",), far=("blobs",))
    with pytest.raises(BadInput, match="one or more different values"):
        OOD(near=(), far=())
    with pytest.raises(BadInput, match="one or more different values"):
        OOD(far=("folder:/a/same", "folder:/b/same"))
    with pytest.raises(BadInput, match="two or more classes"):
        OOD().plan(context_of(classes=1))
    with pytest.raises(BadInput, match="the test split has no images"):
        OOD().plan(context_of(test=0))
    with pytest.raises(BadInput, match="ood: held_out has no images"):
        list(OOD(**SMALL).evaluate(context_of(held_out=0), {}))
    context = context_of()
    context.backbone[1].bias.data[0] = float("inf")
    with pytest.raises(BadInput, match="not finite on 20 of 20 images of the test split"):
        list(OOD(**SMALL).evaluate(context, {}))


def test_the_digest_follows_the_set_and_not_its_place(tmp_path: Path) -> None:
    def digest(far: str) -> str:
        path = tmp_path / "arm.yaml"
        path.write_text(f"evaluator: ood\nfar: ['{far}']\n")
        return read_arm(path).digest

    first, moved = write_images(tmp_path / "one" / "set"), write_images(tmp_path / "two" / "set")
    other, renamed = write_images(tmp_path / "three" / "set", count=3), write_images(tmp_path / "four" / "sets")
    assert digest(f"folder:{first}") == digest(f"folder:{moved}") == digest(f"folder:{moved}/")
    assert len({digest(f"folder:{folder}") for folder in (first, other, renamed, tmp_path / "five" / "set")}) == 4
    assert digest("torchvision:SVHN:/a") == digest("torchvision:SVHN:/b") != digest("torchvision:MNIST:/a")
    assert digest("textures") != digest("blobs")
