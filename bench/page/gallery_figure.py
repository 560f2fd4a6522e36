"""One picture of what every method makes of the same image pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from bench.page.mixture import Mixture, label_words

SIDE_INCHES = 1.45
UNTOLD = "label not used"
NO_MIX = 12.0
"""Levels by which a pixel may miss every mix of two images, for rounding, before it is taken for something else."""
CLEARLY = 2.0
"""Levels, on average, by which another partner has to explain a mix better than the usual one."""


@dataclass(frozen=True)
class GalleryRow:
    """One method: what it made, or why there is nothing to show."""

    name: str
    made: Mixture | None
    reason: str = ""


def draw_gallery(
    path: Path, images: Tensor, labels: Tensor, partner: Tensor, names: Sequence[str], rows: Sequence[GalleryRow],
    masks: bool, title: str,
) -> None:  # fmt: skip
    """Write a PNG: the first and the second images of the pairs, then a line for each method with the labels under it.

    images uint8 (B, C, H, W), labels (B,), partner (B,): positions. Every image of the batch is a
    column. masks: a further line for each method with the share of the first image at each pixel, estimated from the
    pixels with the partner that the method took (grey where the two images are too alike to tell, and where the pixel
    is no mix of theirs, as where a partner was moved or shrunk, or noise was added). Methods without a picture are
    listed below.
    """
    columns = range(len(images))
    shown = [row for row in rows if row.made is not None]
    lines = 2 + len(shown) * (2 if masks else 1)
    figure = Figure(figsize=(SIDE_INCHES * len(columns) + 1.9, (SIDE_INCHES + 0.22) * lines + 1.0), dpi=110)
    axes: Any = figure.subplots(lines, len(columns), squeeze=False)
    for column in columns:
        own, other = column, int(partner[column])
        _draw(axes[0][column], images[own], names[int(labels[own])])
        _draw(axes[1][column], images[other], names[int(labels[other])])
    _name(axes[0][0], "first image")
    _name(axes[1][0], "second image")
    line = 2
    for row in shown:
        assert row.made is not None
        for column in columns:
            words = label_words(row.made.targets[column], names) or UNTOLD
            _draw(axes[line][column], row.made.images[column], words.replace(", ", "\n", 1))
        _name(axes[line][0], row_name(row))
        line += 1
        if masks:
            for column in columns:
                mixed = row.made.images[column]
                second = images[partner_of(mixed, images, column, int(partner[column]))]
                _draw_mask(axes[line][column], first_share(mixed, images[column], second))
            _name(axes[line][0], "share of first")
            line += 1
    absent = [f"{row.name}: {row.reason}" for row in rows if row.made is None]
    figure.text(0.01, 0.002, "\n".join(absent), fontsize=6, va="bottom")
    height = figure.get_figheight()
    figure.suptitle(title, fontsize=9, y=1 - 0.2 / height)
    bottom, top = (0.55 + 0.11 * len(absent)) / height, 1 - 0.5 / height
    figure.subplots_adjust(left=0.14, right=0.99, bottom=bottom, top=top, hspace=0.42, wspace=0.08)
    figure.savefig(path, metadata={"Software": None})


def row_name(row: GalleryRow) -> str:
    """The method, the branch of its draws where it has several, and the batch's lam where it has one."""
    assert row.made is not None
    draws = row.made.draws
    lam = draws.tensors.get("lam")
    told = [f"lam {float(lam):.2f}"] if lam is not None and lam.numel() == 1 else []
    return "\n".join([row.name, *([draws.branch] if draws.branch else []), *told])


def partner_of(mixed: Tensor, images: Tensor, first: int, usual: int) -> int:
    """The position of the image that explains `mixed` (C, H, W) best as a pixel by pixel mix with image `first`: the
    `usual` one unless another is clearly better. Some methods choose partners themselves."""
    gaps = [float(_fit(mixed, images[first], image)[1].mean()) for image in images]
    best = min((place for place in range(len(images)) if place != first), key=gaps.__getitem__)
    return best if gaps[best] < gaps[usual] - CLEARLY else usual


def first_share(mixed: Tensor, first: Tensor, second: Tensor, least: float = 24.0) -> Tensor:
    """The share of `first` in each pixel of `mixed` (H, W) in [0, 1], least squares over channels; NaN where the two
    images differ by less than `least` of 255, and where the pixel is no mix of theirs. All uint8 (C, H, W)."""
    share, gap = _fit(mixed, first, second)
    alike = (first.float() - second.float()).square().sum(0).sqrt() < least
    return torch.where(alike | (gap > NO_MIX), torch.nan, share)


def _fit(mixed: Tensor, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Shares (H, W) of the best mix of two images, and how far from it each pixel is, in levels."""
    mixed, first, second = mixed.float(), first.float(), second.float()
    span = first - second
    share = (((mixed - second) * span).sum(0) / span.square().sum(0).clamp_min(1)).clamp(0, 1)
    return share, (mixed - second - share * span).abs().amax(0)


def _draw(axis: Any, image: Tensor, words: str) -> None:
    pixels = image.permute(1, 2, 0).numpy()
    _picture(axis, pixels[:, :, 0] if pixels.shape[2] == 1 else pixels, words, "gray")


def _draw_mask(axis: Any, share: Tensor) -> None:
    _picture(axis, np.ma.masked_invalid(share.numpy()), "", "viridis")


def _picture(axis: Any, pixels: Any, words: str, colours: str) -> None:
    top = 1 if pixels.dtype.kind == "f" else 255
    axis.imshow(pixels, cmap=colours, vmin=0, vmax=top, interpolation="nearest")
    axis.set_facecolor("0.75")
    axis.set_xticks([])
    axis.set_yticks([])
    axis.set_xlabel(words, fontsize=6, labelpad=2)


def _name(axis: Any, text: str) -> None:
    axis.set_ylabel(text, fontsize=7, rotation=0, ha="right", va="center")
