"""TokenMix with the network's own attention, against loops over images, tokens and rectangles."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from methods.api import Batch, BatchShape, Draws, Task, guided
from methods.mixup import Mixup
from methods.ops.keys import Key
from methods.ops.token_blocks import draw_token_blocks
from methods.tokenmix_own_attention import TokenMixOwnAttention
from tests.oracle.mixing_checks import CLASSES, check_label_follows_image, cross_entropy, normalise, photographs
from tests.oracle.vit_cases import GRID, PATCH, SIZE, reference_pass, small_vit

PERMUTATION = [2, 0, 3, 1]
MASKS = ["1101 0100 0000 0011", "0000 0000 0000 0000", "1111 1111 1111 1111", "0110 0110 0110 0110"]
CASES = settings(max_examples=60, deadline=None, database=None, derandomize=True)


def token_mask(text: str) -> Tensor:
    return torch.tensor([[digit == "1" for digit in row] for row in text.split()])


def ready(net: object, **options: float) -> TokenMixOwnAttention:
    method = TokenMixOwnAttention(**options)
    method.setup(net, Task(CLASSES, cross_entropy, (3, SIZE, SIZE)))  # type: ignore[arg-type]
    return method


def clean_attention(net: object, image: Tensor) -> np.ndarray:
    attention = np.array(reference_pass(copy.deepcopy(net).eval(), image)[1])  # type: ignore[attr-defined,arg-type]
    return attention / attention.sum()


def check_equals_a_loop(mask: str) -> None:
    net, images, labels = small_vit(), normalise(photographs(4, 3, SIZE, SIZE)), torch.tensor([0, 4, 2, 2])
    chosen = token_mask(mask)
    losses, kept = [], []
    for i, j in enumerate(PERMUTATION):
        mixed, own, partner = images[i : i + 1].clone(), 0.0, 0.0
        of_own, of_partner = (clean_attention(net, images[k : k + 1]) for k in (i, j))
        for row in range(GRID):
            for column in range(GRID):
                if chosen[row, column]:
                    area = (..., slice(row * PATCH, (row + 1) * PATCH), slice(column * PATCH, (column + 1) * PATCH))
                    mixed[area] = images[j : j + 1][area]
                    partner += of_partner[row, column]
                else:
                    own += of_own[row, column]
        logits = net(mixed)
        kept.append(own)
        losses.append(own * cross_entropy(logits, labels[[i]]) + partner * cross_entropy(logits, labels[[j]]))
    method, batch = ready(net), Batch((images,), labels)
    draws = Draws("tokens", {"mask": chosen, "permutation": torch.tensor(PERMUTATION)})
    with net.count_passes() as count:
        loss = method.loss(net, batch, guided(method, net, batch, draws))
    torch.testing.assert_close(loss.total, torch.cat(losses).mean(), rtol=1e-4, atol=1e-5)
    assert loss.parts["share_kept"].item() == pytest.approx(np.mean(kept), abs=1e-5)
    assert count.images == 8


@pytest.mark.parametrize("mask", MASKS)
def test_equals_a_loop_over_images_and_tokens(mask: str) -> None:
    check_equals_a_loop(mask)


def test_guide_is_in_eval_mode_and_gives_the_modes_back() -> None:
    net = small_vit()
    net.model.norm.eval()
    net.model.patch_drop = torch.nn.Dropout(0.5)
    modes = [module.training for module in net.modules()]
    images = normalise(photographs(2, 3, SIZE, SIZE))
    draws = Draws("tokens", {"mask": token_mask(MASKS[0]), "permutation": torch.tensor([1, 0])})
    attention = ready(net).guide(net, Batch((images,), torch.tensor([0, 1])), draws)["attention"]
    assert [module.training for module in net.modules()] == modes
    torch.testing.assert_close(attention.sum(1), torch.ones(2))
    for i in range(2):
        torch.testing.assert_close(
            attention[i].double(),
            torch.from_numpy(clean_attention(net, images[i : i + 1])).flatten(),
            rtol=1e-4,
            atol=1e-6,
        )


@CASES
@given(st.integers(1, 15), st.integers(1, 15), st.floats(0, 1), st.integers(0, 10**6))
def test_blocks_never_exceed_what_is_wanted(rows: int, columns: int, share: float, seed: int) -> None:
    wanted = int(share * rows * columns)
    mask = draw_token_blocks(Key("blocks", seed), rows, columns, wanted)
    assert mask.shape == (rows, columns)
    assert mask.dtype == torch.bool
    assert int(mask.sum()) <= wanted
    if wanted == 0 or min(rows, columns) == 1:
        assert not mask.any()


def reference_blocks(key: Key, rows: int, columns: int, wanted: int) -> np.ndarray:
    """The same draws, token by token in plain loops, with the released code's nesting."""
    generator = key.fold("blocks").generator()
    taken: set[tuple[int, int]] = set()
    while len(taken) < wanted:
        added = False
        for _ in range(10):
            area = generator.uniform(1, wanted - len(taken))
            aspect = np.exp(generator.uniform(np.log(0.3), np.log(1 / 0.3)))
            height, width = int(np.rint((area * aspect) ** 0.5)), int(np.rint((area / aspect) ** 0.5))
            if not (width < columns and height < rows):
                continue
            top, left = (
                generator.integers(0, rows - height, endpoint=True),
                generator.integers(0, columns - width, endpoint=True),
            )
            block = {(top + y, left + x) for y in range(height) for x in range(width)}
            if 0 < len(block - taken) <= wanted - len(taken):
                taken |= block
                added = True
                break
        if not added:
            break
    return np.array([[(y, x) in taken for x in range(columns)] for y in range(rows)])


def test_blocks_equal_a_loop_over_tokens() -> None:
    for number in range(40):
        key, rows, columns = Key("reference", number), 5 + number % 10, 14 - number % 7
        wanted = rows * columns * (1 + number % 4) // 6
        np.testing.assert_array_equal(draw_token_blocks(key, rows, columns, wanted).numpy(), reference_blocks(key, rows, columns, wanted))  # fmt: skip


def test_released_grid_replaces_112_of_196_tokens() -> None:
    method = TokenMixOwnAttention(token_share=1.0)
    method.token = 16
    masks = [method.draw(Key(number), BatchShape(2, 3, 224, 224))["mask"] for number in range(100)]
    assert {tuple(mask.shape) for mask in masks} == {(14, 14)}
    counts = [int(mask.sum()) for mask in masks]
    assert max(counts) == 112
    assert np.mean(counts) > 105
    assert len({tuple(mask.flatten().tolist()) for mask in masks}) == 100


def test_extra_tokens_scale_with_the_grid() -> None:
    """64 tokens: half of them and 64 / 14 more, rounded."""
    method = TokenMixOwnAttention(token_share=1.0)
    method.token = 8
    counts = [int(method.draw(Key(number), BatchShape(2, 3, 64, 64))["mask"].sum()) for number in range(100)]
    assert max(counts) == 32 + 5


def check_mean_pixel_is_the_mask(height: int, width: int) -> None:
    """Black and white images: the white share of the mix is the masked share of the pixels."""
    net = small_vit()
    method = ready(net)
    mask = token_mask("110 010")
    images = torch.zeros(2, 1, height, width)
    images[1] = 1
    chosen = method.pixels(mask, images)
    mixed = torch.where(chosen, images[[1, 0]], images)
    area = sum(min(PATCH, height - PATCH * r) * min(PATCH, width - PATCH * c) for r, c in ((0, 0), (0, 1), (1, 1)))
    assert mixed[0].mean().item() == pytest.approx(area / (height * width))
    assert mixed[1].mean().item() == pytest.approx(1 - area / (height * width))


@pytest.mark.parametrize(("height", "width"), [(16, 24), (18, 29), (15, 21)])
def test_mean_pixel_is_the_mask(height: int, width: int) -> None:
    check_mean_pixel_is_the_mask(height, width)


@pytest.mark.parametrize("shape", [(1, 3, 4, 4), (5, 1, 6, 9)])
def test_mixup_branch_is_mixup(shape: tuple[int, int, int, int]) -> None:
    method = TokenMixOwnAttention(token_share=0.0)
    ours, theirs = (m.draw(Key(3), BatchShape(*shape)) for m in (method, Mixup(alpha=0.8)))
    assert ours.branch == "mixup"
    assert all(torch.equal(ours[name], theirs[name]) for name in ("lam", "permutation"))
    method.setup = lambda backbone, task: setattr(method, "task", task)  # type: ignore[method-assign]
    check_label_follows_image(method, shape, [Key("tokenmix", i) for i in range(6)])


def test_lam_one_replaces_nothing_and_the_coin_is_fair() -> None:
    shape = BatchShape(4, 3, 64, 64)
    method = TokenMixOwnAttention(lam=1.0)
    method.token = 8
    many = [method.draw(Key("coin", number), shape) for number in range(600)]
    tokens = [draws for draws in many if draws.branch == "tokens"]
    assert abs(len(tokens) - 300) < 4 * 150**0.5
    assert not any(draws["mask"].any() for draws in tokens)


@pytest.mark.parametrize("fault", ["mask kept", "partner map not permuted", "transposed", "share of area"])
def test_planted_faults_are_caught(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    check_equals_a_loop(MASKS[0])
    loss = TokenMixOwnAttention.loss

    def faulty(self: TokenMixOwnAttention, backbone: object, batch: Batch, draws: Draws) -> object:
        tensors = dict(draws.tensors)
        if fault == "partner map not permuted":
            tensors["attention"] = tensors["attention"][tensors["permutation"]]
        elif fault == "transposed":
            tensors["attention"] = tensors["attention"].reshape(-1, GRID, GRID).mT.flatten(1)
        elif fault == "share of area":
            tensors["attention"] = torch.full_like(tensors["attention"], 1 / GRID**2)
        return loss(self, backbone, batch, Draws(draws.branch, tensors))  # type: ignore[arg-type]

    monkeypatch.setattr(TokenMixOwnAttention, "loss", faulty)
    if fault == "mask kept":
        pixels = TokenMixOwnAttention.pixels
        monkeypatch.setattr(TokenMixOwnAttention, "pixels", lambda self, mask, images: ~pixels(self, mask, images))
    with pytest.raises(AssertionError):
        check_equals_a_loop(MASKS[0])
