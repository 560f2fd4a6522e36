"""Do networks err as often on corruptions made here as on those of imagecorruptions-imaug at 224 px?

Three small networks (no mixing, Mixup, CutMix) are trained on 32 px photographs. Test photographs are enlarged to
224 px, corrupted there by both, shrunk again and classified. Draws are independent, so images are compared by their
mean error over corruptions and severities: two one-sided t tests of the paired difference against a margin
(Schuirmann 1987). Only corruptions in which that package equals ImageNet-C take part; snow differs by rounding.

Needs imagecorruptions-imaug 1.1.5 beside the project's environment:
python results/reference/corruption-proof/end_metric.py --data FOLDER [--images 800] [--margin 0.3]
FOLDER holds train/<class>/*.jpg and test/<class>/*.jpg.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from scipy import stats
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[3]))

from bench.evals.corruption_ops.library import corrupt
from methods.ops.keys import Key

COMMON = (
    "gaussian_noise", "shot_noise", "impulse_noise", "defocus_blur", "glass_blur", "motion_blur", "zoom_blur", "snow",
    "fog", "brightness", "contrast", "pixelate", "jpeg_compression",
)  # fmt: skip


def photographs(folder: Path, per_class: int) -> tuple[Tensor, Tensor]:
    """The first images of each class in a folder: uint8 (N, 3, H, W), labels (N,)."""
    images, labels = [], []
    for label, group in enumerate(sorted(path for path in folder.iterdir() if path.is_dir())):
        for path in sorted(group.iterdir())[:per_class]:
            images.append(np.asarray(Image.open(path).convert("RGB")))
            labels.append(label)
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous(), torch.tensor(labels)


def network() -> nn.Sequential:
    """Five convolutions and a linear layer."""
    layers: list[nn.Module] = []
    for before, after, stride in ((3, 32, 1), (32, 64, 2), (64, 64, 1), (64, 128, 2), (128, 128, 1)):
        layers += [nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, 10))


def normalised(images: Tensor) -> Tensor:
    """uint8 to roughly mean 0 and sd 1."""
    return (images.float() / 255 - 0.45) / 0.25


def trained(kind: str, images: Tensor, labels: Tensor, epochs: int) -> nn.Sequential:
    """A network after `epochs` with no mixing, Mixup or CutMix (alpha 1)."""
    torch.manual_seed(7)
    generator = Key("end metric", kind).generator()
    net = network().train()
    steps = len(images) // 100
    optimizer = torch.optim.SGD(net.parameters(), 0.1, 0.9, weight_decay=5e-4, nesterov=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.2, epochs * steps)
    for _ in range(epochs):
        for chosen in np.split(generator.permutation(len(images))[: steps * 100], steps):
            batch, own = normalised(images[chosen]), labels[chosen]
            if generator.random() < 0.5:
                batch = batch.flip(3)
            partner, share = torch.from_numpy(generator.permutation(100)), 1.0
            if kind == "mixup":
                share = float(generator.beta(1, 1))
                batch = share * batch + (1 - share) * batch[partner]
            elif kind == "cutmix":
                side = int(32 * (1 - generator.beta(1, 1)) ** 0.5)
                top, left = generator.integers(0, 33 - side, 2)
                batch[:, :, top : top + side, left : left + side] = batch[partner][
                    :, :, top : top + side, left : left + side
                ]
                share = 1 - side**2 / 32**2
            logits = net(batch)
            loss = share * F.cross_entropy(logits, own) + (1 - share) * F.cross_entropy(logits, own[partner])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return net.eval()


def resized(images: Tensor, size: int) -> Tensor:
    """Bicubic, antialiased, uint8."""
    smooth = F.interpolate(images.float(), (size, size), mode="bicubic", antialias=True)
    return smooth.round().clamp(0, 255).to(torch.uint8)


@torch.inference_mode()
def wrong(nets: list[nn.Sequential], large: Tensor, labels: Tensor) -> np.ndarray:
    """Which images each network gets wrong after they are shrunk to 32 px: (networks, N) bool."""
    images = normalised(resized(large, 32))
    return np.stack([(net(images).argmax(dim=1) != labels).numpy() for net in nets])


def main() -> None:
    """Train, corrupt, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--images", type=int, default=800)
    parser.add_argument("--train", type=int, default=20_000)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--margin", type=float, default=0.3, help="percent points")
    options = parser.parse_args()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from imagecorruptions import corrupt as other
    np.random.seed(0)  # noqa: NPY002  the other package draws from it
    kinds = ["none", "mixup", "cutmix"]
    train = photographs(options.data / "train", options.train // 10)
    nets = [trained(kind, *train, options.epochs) for kind in kinds]
    small, labels = photographs(options.data / "test", options.images // 10)
    large = resized(small, 224)
    clean = wrong(nets, large, labels).mean(axis=1)
    cells = len(COMMON) * 5
    errors = np.zeros((2, len(kinds), len(labels)))
    for corruption in COMMON:
        shown = np.zeros((2, len(kinds)))
        for severity in range(1, 6):
            for start in range(0, len(labels), 50):
                part, index = large[start : start + 50], torch.arange(start, min(start + 50, len(labels)))
                theirs = [other(image.permute(1, 2, 0).numpy(), severity, corruption) for image in part]
                theirs = torch.from_numpy(np.stack(theirs)).permute(0, 3, 1, 2)
                for place, made in enumerate((corrupt(part, index, corruption, severity, 0), theirs)):
                    found = wrong(nets, made, labels[index])
                    errors[place][:, index] += found / cells
                    shown[place] += found.sum(axis=1) / (5 * len(labels))
        print(f"{corruption:18s}", " ".join(f"{100 * a:6.2f} {100 * b:6.2f}" for a, b in shown.T), flush=True)
    print(f"\n{len(labels)} photographs, {cells} cells, margin {options.margin} points")
    for place, kind in enumerate(kinds):
        difference = 100 * (errors[0, place] - errors[1, place])
        spread = stats.sem(difference)
        reach = stats.t.ppf(0.95, len(labels) - 1) * spread
        mean = difference.mean()
        verdict = "equivalent" if abs(mean) + reach < options.margin else "not shown equivalent"
        print(
            f"{kind:8s} clean error {100 * clean[place]:5.2f}, corrupted {100 * errors[0, place].mean():6.3f} here, "
            f"{100 * errors[1, place].mean():6.3f} there: {mean:+.3f} [90 % {mean - reach:+.3f}, {mean + reach:+.3f}] "
            f"{verdict}"
        )


if __name__ == "__main__":
    main()
