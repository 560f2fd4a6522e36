"""AutoMix and SAMix: masks against loops over images and positions, losses and gradients term by term, the teacher."""

from __future__ import annotations

import copy
import functools
import math
from types import SimpleNamespace

import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from bench.backbones.adapter import TimmBackbone
from methods.api import Batch, BatchShape, Draws, Task, guided
from methods.automix import AutoMix
from methods.mixup import Mixup
from methods.ops import learned_mixing
from methods.ops.keys import Key
from methods.ops.learned_mixing import LearnedMixingMethod, blend
from methods.ops.mix_block import AutoMixBlock, SAMixBlock, rescaled_lam
from methods.ops.momentum_teacher import cosine_momentum, follow, make_teacher
from methods.samix import SAMix
from tests.oracle.mix_block_by_hand import check_block
from tests.oracle.mixing_checks import CLASSES, cross_entropy, normalise, photographs

SIZE = 64
METHODS = {"automix": AutoMix, "automix without lam": lambda: AutoMix(embed_lam=False), "samix": SAMix}
CASES = settings(max_examples=30, deadline=None, database=None, derandomize=True)


@functools.cache
def _built() -> TimmBackbone:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return TimmBackbone(timm.create_model("test_resnet", num_classes=CLASSES), CLASSES, 3, SIZE)


def ready(name: str) -> tuple[LearnedMixingMethod, TimmBackbone]:
    """A method whose block has lively weights, and its network, which has moved on from the teacher."""
    net = copy.deepcopy(_built()).train()
    method = METHODS[name]()
    method.setup(net, Task(CLASSES, cross_entropy, (3, SIZE, SIZE)))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in method.block.parameters():
            parameter.normal_(0, 0.6, generator=generator)
        for parameter in net.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=generator))
    return method.train(), net


def example(lam: float = 0.3) -> tuple[Batch, Draws]:
    batch = Batch((normalise(photographs(4, 3, SIZE, SIZE)),), torch.tensor([0, 4, 2, 2]))
    tensors = {
        "lam": torch.tensor(lam),
        "permutation": torch.tensor([2, 0, 3, 1]),
        "lam_block": torch.tensor(0.65),
        "permutation_block": torch.tensor([1, 3, 2, 0]),
    }
    return batch, Draws("", tensors)


BLOCKS = {
    "automix": lambda: AutoMixBlock(6, True, torch.Generator().manual_seed(0)),
    "automix without lam": lambda: AutoMixBlock(6, False, torch.Generator().manual_seed(0)),
    "samix": lambda: SAMixBlock(6, 0.25, torch.Generator().manual_seed(0)),
}


@pytest.mark.parametrize("name", BLOCKS)
def test_block_equals_a_loop_over_positions(name: str) -> None:
    check_block(BLOCKS[name]())


def test_masks_are_upsampled_as_told() -> None:
    images, coarse = torch.zeros(2, 3, 6, 9), torch.randn(2, 1, 2, 3, generator=torch.Generator().manual_seed(3))
    permutation, lam = torch.tensor([1, 0]), torch.tensor(0.4)
    for method in (AutoMix(), SAMix()):
        method.block = lambda first, second, lam: coarse  # type: ignore[assignment]
        mask = method.mask(torch.zeros(2, 4, 2, 3), permutation, lam, images)
        assert mask.shape == (2, 1, 6, 9)
        for row in range(6):
            for column in range(9):
                if isinstance(method, AutoMix):
                    expected = coarse[:, 0, row // 3, column // 3]
                else:
                    y, x = (min(max((p + 0.5) / 3 - 0.5, 0), n - 1) for p, n in ((row, 2), (column, 3)))
                    up, left = min(int(y), 0), min(int(x), 1)
                    top = coarse[:, 0, up, left] * (1 - x + left) + coarse[:, 0, up, left + 1] * (x - left)
                    low = coarse[:, 0, up + 1, left] * (1 - x + left) + coarse[:, 0, up + 1, left + 1] * (x - left)
                    expected = top * (1 - y + up) + low * (y - up)
                torch.testing.assert_close(mask[:, 0, row, column], 1 / (1 + (-expected).exp()))


def check_step(name: str, lam: float = 0.3) -> None:
    """Value and gradients of a step: the network's from its two terms, the block's from the teacher's two."""
    method, net = ready(name)
    batch, draws = example(lam)
    (images,), labels = batch
    method_again, net_again = copy.deepcopy((method, net))
    teacher_again = method_again.teacher
    loss = method.loss(net, batch, guided(method, net, batch, draws))
    loss.total.backward()

    def entropy(logits: Tensor, permutation: list[int], weight: float) -> Tensor:
        target = torch.zeros(4, CLASSES)
        for i, j in enumerate(permutation):
            target[i, labels[i]] += weight
            target[i, labels[j]] += 1 - weight
        return nn.functional.cross_entropy(logits, target)

    features = teacher_again.features(images, 2).spatial.detach()
    mode = {"mode": "bilinear"} if name == "samix" else {"mode": "nearest"}

    def partner_share(permutation: list[int], weight: float) -> Tensor:
        logits = method_again.block(features, features[permutation], torch.tensor(weight))
        return torch.sigmoid(nn.functional.interpolate(logits, scale_factor=SIZE // logits.shape[-1], **mode))

    with torch.no_grad():
        share = partner_share([2, 0, 3, 1], lam)
        share = torch.full_like(share, 1 - lam) if min(lam, 1 - lam) <= 0.08 else share
    mixed = images * (1 - share) + images[[2, 0, 3, 1]] * share
    trained = nn.functional.cross_entropy(net_again(images), labels) + entropy(net_again(mixed), [2, 0, 3, 1], lam)
    share = partner_share([1, 3, 2, 0], 0.65)
    judged = teacher_again(images * (1 - share) + images[[1, 3, 2, 0]] * share)
    distance = (1 - share.mean() - 0.65).abs() - 0.1
    penalty = distance if distance > 0 else 0 * distance
    if name == "samix":
        penalty = penalty - 2 * ((share - share.mean()) ** 2).mean()
    generation = entropy(judged, [1, 3, 2, 0], 0.65) + 0.1 * penalty
    torch.testing.assert_close(loss.total, trained + generation, rtol=1e-4, atol=1e-5)
    assert loss.parts["share_kept"].item() == pytest.approx(lam)
    torch.testing.assert_close(loss.parts["generation"], generation.detach(), rtol=1e-4, atol=1e-5)

    trained.backward()
    generation.backward()
    pairs = [*zip(net.named_parameters(), net_again.parameters(), strict=True)]
    pairs += zip(method.block.named_parameters(), method_again.block.parameters(), strict=True)
    for (parameter_name, ours), theirs in pairs:
        assert theirs.grad is not None
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-3, atol=1e-3 * float(theirs.grad.abs().max()) + 1e-6, msg=parameter_name)  # fmt: skip
    assert all(parameter.grad is None for parameter in method.teacher.parameters())


@pytest.mark.parametrize("name", METHODS)
def test_a_step_equals_its_terms(name: str) -> None:
    check_step(name)


@pytest.mark.parametrize("lam", [0.05, 0.95])
def test_near_the_ends_the_network_sees_plain_mixup(lam: float) -> None:
    method, net = ready("automix")
    batch, draws = example(lam)
    seen: list[Tensor] = []
    net.register_forward_pre_hook(lambda _m, inputs: seen.append(inputs[0]))
    method.loss(net, batch, guided(method, net, batch, draws))
    (images,) = batch.views
    torch.testing.assert_close(seen[1], lam * images + (1 - lam) * images[[2, 0, 3, 1]])
    check_step("automix", lam)


@CASES
@given(st.integers(1, 5), st.sampled_from([1, 3]), st.integers(1, 7), st.integers(1, 7), st.integers(0, 10**6))
def test_mean_pixel_of_black_and_white_is_the_mask(
    size: int, channels: int, height: int, width: int, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    black, mask = torch.zeros(size, channels, height, width), torch.rand(size, 1, height, width, generator=generator)
    images = torch.cat([black, black + 1])
    partner = torch.arange(size, 2 * size)
    mixed = blend(images, torch.cat([partner, torch.arange(size)]), torch.cat([mask, mask]))
    torch.testing.assert_close(mixed[:size].mean((1, 2, 3)), mask.mean((1, 2, 3)))
    torch.testing.assert_close(mixed[size:].mean((1, 2, 3)), 1 - mask.mean((1, 2, 3)))


def test_draws_are_those_of_mixup_and_the_block_has_its_own() -> None:
    shape = BatchShape(6, 3, 8, 8)
    lams, block_lams = [], []
    for number in range(300):
        draws, mixup = AutoMix().draw(Key(number), shape), Mixup(alpha=2.0).draw(Key(number), shape)
        assert all(torch.equal(draws[name], mixup[name]) for name in ("lam", "permutation"))
        lams.append(draws["lam"].item())
        block_lams.append(draws["lam_block"].item())
    correlation = torch.corrcoef(torch.tensor([lams, block_lams]))[0, 1]
    assert abs(correlation) < 4 / math.sqrt(300)
    deviation = torch.tensor(lams).std().item()
    assert abs(sum(lams) / 300 - 0.5) < 4 * deviation / math.sqrt(300)
    assert deviation == pytest.approx(math.sqrt(1 / 20), rel=0.2)


def test_rescaled_lam_keeps_its_ends_and_the_middle() -> None:
    lam = torch.tensor([0.0, 0.5, 1.0, 0.25, 0.75])
    actual = rescaled_lam(lam, 0.25)
    torch.testing.assert_close(actual[:3], lam[:3])
    torch.testing.assert_close(actual[3] + actual[4], torch.tensor(1.0))


def check_teacher() -> None:
    net = copy.deepcopy(_built()).train()
    net.model.drop_rate = 0.3
    teacher = make_teacher(net)  # type: ignore[arg-type]
    assert teacher.model.drop_rate == 0  # type: ignore[union-attr]
    expected = [parameter.detach().double().clone() for parameter in net.parameters()]
    with torch.no_grad():
        for step in range(3):
            for parameter in net.parameters():
                parameter.add_(0.1 * (step + 1))
            net(torch.randn(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(step)))
            follow(teacher, net, 0.9)  # type: ignore[arg-type]
            expected = [0.9 * e + 0.1 * p.double() for e, p in zip(expected, net.parameters(), strict=True)]
    for parameter, value in zip(teacher.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.double(), value, rtol=1e-4, atol=1e-5)
    for own, its in zip(teacher.buffers(), net.buffers(), strict=True):
        assert torch.equal(own, its)
    before = copy.deepcopy(teacher.state_dict())
    teacher.train()(torch.randn(2, 3, SIZE, SIZE))
    assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())


def test_teacher_is_a_moving_average_that_copies_statistics() -> None:
    check_teacher()


@pytest.mark.parametrize("build", [AutoMix, SAMix])
def test_each_step_moves_the_teacher_by_the_momentum_of_its_time(build: type[AutoMix] | type[SAMix]) -> None:
    net = copy.deepcopy(_built()).train()
    method = build(momentum=0.6, final_momentum=0.9)
    method.setup(net, Task(CLASSES, cross_entropy, (3, SIZE, SIZE)))
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.1)
    for progress, momentum in ((0.05, 0.6), (0.5, 0.75), (1.0, 0.9)):
        before = [parameter.clone() for parameter in method.teacher.parameters()]
        method.after_step(net, progress)
        for now, then, its in zip(method.teacher.parameters(), before, net.parameters(), strict=True):
            torch.testing.assert_close(now, momentum * then + (1 - momentum) * its, rtol=1e-5, atol=1e-6)


def test_the_teacher_drops_nothing() -> None:
    net = copy.deepcopy(_built()).train()
    net.model.maxpool = nn.Sequential(net.model.maxpool, timm.layers.DropPath(0.5), nn.Dropout2d(0.5))
    teacher = make_teacher(net).train()  # type: ignore[arg-type]
    images = torch.randn(4, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    assert not torch.equal(net(images), net(images))
    assert torch.equal(teacher(images), teacher(images))
    dropping = net.model.maxpool[1:]
    assert [dropping[0].drop_prob, dropping[1].p] == [0.5, 0.5]


def test_momentum_schedule() -> None:
    assert cosine_momentum(0.999, 0.999999, 0.05) == 0.999
    assert cosine_momentum(0.999, 0.999999, 1.0) == pytest.approx(0.999999, abs=1e-12)
    assert cosine_momentum(0.9, 1.0, 0.5) == pytest.approx(0.95)
    assert cosine_momentum(0.9, 1.0, 1 / 3) == pytest.approx(1.0 - 0.1 * 0.75)


def test_skips_stages_that_are_not_there_or_have_one_position() -> None:
    net = copy.deepcopy(_built())
    task = Task(CLASSES, cross_entropy, (3, SIZE, SIZE))
    assert AutoMix().skip(net, task) is None
    assert "no stage 7" in str(AutoMix(stage=7).skip(net, task))
    assert "1x1" in str(SAMix(stage=-1).skip(net, task._replace(input_shape=(3, 32, 32))))


FAULTS = {
    "second map first": ("mask", lambda right: lambda s, f, p, lam, i: right(s, f[p], torch.argsort(p), lam, i)),
    "lam swapped": ("mask", lambda right: lambda s, f, p, lam, i: right(s, f, p, 1 - lam, i)),
    "mask turned round": ("mask", lambda right: lambda s, f, p, lam, i: 1 - right(s, f, p, lam, i)),
    "penalty swapped": ("penalty", lambda right: lambda s, mask, lam: right(s, mask, 1 - lam)),
    "no penalty": ("penalty", lambda right: lambda s, mask, lam: 0 * mask.mean()),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_planted_faults_of_the_step_are_caught(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name, wrap = FAULTS[fault]
    monkeypatch.setattr(SAMix, name, wrap(getattr(SAMix, name)), raising=True)
    with pytest.raises(AssertionError):
        check_step("samix")


def test_gradient_from_the_network_into_the_block_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    names = {name: getattr(torch, name) for name in ("where", "abs", "autocast")}
    monkeypatch.setattr(learned_mixing, "torch", SimpleNamespace(no_grad=torch.enable_grad, **names))
    with pytest.raises(AssertionError):
        check_step("automix")


def test_softmax_over_the_wrong_axis_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    softmax = Tensor.softmax
    monkeypatch.setattr(Tensor, "softmax", lambda self, dim: softmax(self, 1 if dim == -1 else dim))
    with pytest.raises(AssertionError):
        check_block(BLOCKS["automix"]())


def test_momentum_turned_round_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    right = follow
    monkeypatch.setitem(globals(), "follow", lambda teacher, net, momentum: right(teacher, net, 1 - momentum))
    with pytest.raises(AssertionError):
        check_teacher()
    assert learned_mixing.follow is right
