"""AlignMix as a method: formula, draws, branches, control, prefix tokens, diagnostics, skips."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from methods import alignmix
from methods.alignmix import INPUT, TO_FIRST, TO_SECOND, AlignMix
from methods.api import Batch, BatchShape, FeatureMap
from methods.ops.alignment import squared_l2_cost
from methods.ops.keys import Key
from tests.oracle import alignmix_checks as checks
from tests.oracle.alignmix_checks import DIRECTIONS, TinyBackbone, batch, draws, task, uneven_maps

SHAPE = BatchShape(6, 3, 16, 16)


def ready(**parameters: object) -> AlignMix:
    method = AlignMix(**parameters)
    method.setup(TinyBackbone(), task())
    return method


@pytest.mark.parametrize("branch", DIRECTIONS)
def test_mixed_maps_equal_the_slow_reference(branch: str) -> None:
    checks.check_mixed_maps(branch)


def test_columns_of_the_assignment_sum_to_one() -> None:
    checks.check_columns_of_assignment()


def test_lam_edges() -> None:
    checks.check_lam_edges()


@pytest.mark.parametrize("branch", DIRECTIONS)
def test_no_gradient_through_the_plan(branch: str) -> None:
    checks.check_no_gradient_through_plan(branch)


@pytest.mark.parametrize("branch", [INPUT, *DIRECTIONS])
def test_loss_equals_the_slow_reference(branch: str) -> None:
    checks.check_loss(branch)


def test_defaults_are_the_released_ones() -> None:
    method = AlignMix()
    assert (method.alpha, method.input_share, method.direction, method.stage) == (2.0, 0.5, "both", -1)
    assert (method.cost, method.epsilon, method.iterations, method.tolerance) == ("squared_l2", 0.1, 100, 0.1)
    assert method.stopping == "fixed", "not the released one, which depends on the batch"


def test_draws_are_paired_between_all_arms() -> None:
    arms = [AlignMix(), AlignMix(aligned=False), AlignMix(cost="cosine"), AlignMix(decoder=True), AlignMix(stage=0)]
    for step in range(40):
        drawn = [arm.draw(Key(7, "method", step), SHAPE) for arm in arms]
        assert {one.branch for one in drawn} == {drawn[0].branch}
        assert all(torch.equal(one[name], drawn[0][name]) for one in drawn for name in ("lam", "permutation"))


def test_draws_have_the_right_shares_and_distribution() -> None:
    drawn = [AlignMix().draw(Key(1, step), SHAPE) for step in range(3000)]
    share = {branch: sum(one.branch == branch for one in drawn) / 3000 for branch in (INPUT, TO_FIRST, TO_SECOND)}
    assert sum(share.values()) == 1
    assert abs(share[INPUT] - 0.5) < 0.04
    assert abs(share[TO_FIRST] - 0.25) < 0.04
    lam = torch.stack([one["lam"] for one in drawn])
    assert lam.dtype == torch.float32
    assert lam.shape == (3000,)
    assert abs(lam.mean() - 0.5) < 0.02
    assert abs(lam.var() - 0.05) < 0.005
    for branch in share:
        chosen = torch.stack([one["lam"] for one in drawn if one.branch == branch])
        assert abs(chosen.mean() - 0.5) < 0.03, "lam does not depend on the branch"
    assert all(sorted(one["permutation"].tolist()) == list(range(6)) for one in drawn[:50])


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_a_fixed_direction_changes_only_the_direction(direction: str) -> None:
    for step in range(40):
        both, fixed = (AlignMix(direction=d).draw(Key(2, step), SHAPE) for d in ("both", direction))
        assert fixed.branch == (INPUT if both.branch == INPUT else direction)
        assert torch.equal(both["lam"], fixed["lam"])
        assert torch.equal(both["permutation"], fixed["permutation"])


def test_input_share_at_its_ends_and_alpha_zero() -> None:
    for share, expected in ((0.0, set(DIRECTIONS)), (1.0, {INPUT})):
        assert {AlignMix(input_share=share).draw(Key(3, step), SHAPE).branch for step in range(40)} == expected
    assert AlignMix(alpha=0.0).draw(Key(4), SHAPE)["lam"].item() == 1.0


@pytest.mark.parametrize("branch", DIRECTIONS)
def test_the_control_is_alignment_with_the_identity(branch: str, monkeypatch: pytest.MonkeyPatch) -> None:
    backbone, data, drawn = TinyBackbone(), batch(), draws(branch)
    control = ready(aligned=False, stage=0).loss(backbone, data, drawn).total
    method = ready(stage=0)
    assert not torch.allclose(method.loss(backbone, data, drawn).total, control, rtol=1e-3)
    monkeypatch.setattr(AlignMix, "assignment", lambda self, first, second: torch.eye(64).expand(6, 64, 64))
    assert torch.equal(method.loss(backbone, data, drawn).total, control)


@pytest.mark.parametrize("branch", DIRECTIONS)
def test_one_pass_and_one_plan_a_step(branch: str, monkeypatch: pytest.MonkeyPatch) -> None:
    backbone, calls = TinyBackbone(), []
    backbone.early.register_forward_hook(lambda module, inputs, output: calls.append(len(output)))
    original = AlignMix.assignment
    monkeypatch.setattr(AlignMix, "assignment", lambda *given: calls.append("plan") or original(*given))
    ready(decoder=True).loss(backbone, batch(), draws(branch))
    assert calls == [6, "plan"]


@pytest.mark.parametrize("branch", DIRECTIONS)
def test_prefix_tokens_are_mixed_plainly(branch: str) -> None:
    maps, tokens = uneven_maps(6, 5, 9, "maps"), uneven_maps(6, 2, 5, "tokens")
    drawn = draws(branch)
    features = FeatureMap(maps.view(6, 5, 3, 3), tokens)
    mixed = AlignMix().mix_features(features, branch, drawn["permutation"], drawn["lam"])
    assert mixed.prefix is not None
    for index, partner in enumerate(drawn["permutation"].tolist()):
        assert torch.allclose(mixed.prefix[index], 0.3 * tokens[index] + 0.7 * tokens[partner])
    assert ready().loss(TinyBackbone(tokens=2), batch(), drawn).total.isfinite()


@pytest.mark.parametrize("cost", ["squared_l2", "cosine"])
@pytest.mark.parametrize("branch", DIRECTIONS)
def test_same_result_under_autocast(branch: str, cost: str) -> None:
    maps, drawn = uneven_maps(6, 8, 12, "autocast"), draws(branch)
    method = AlignMix(cost=cost)
    for dtype in (torch.float32, torch.bfloat16):
        features = FeatureMap(maps.view(6, 8, 3, 4).to(dtype), None)
        plain = method.mix_features(features, branch, drawn["permutation"], drawn["lam"])
        with torch.autocast("cpu", dtype=torch.bfloat16):
            cast = method.mix_features(features, branch, drawn["permutation"], drawn["lam"])
        assert cast.spatial.dtype == dtype
        assert torch.equal(plain.spatial, cast.spatial)


def test_cosine_and_squared_l2_differ_and_are_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    maps = uneven_maps(3, 8, 9, "cost")
    seen = {}

    def spy(cost: Tensor, *settings: object) -> Tensor:
        seen["cost"], seen["settings"] = cost, settings
        return torch.full_like(cost, 1 / 81)

    monkeypatch.setattr(alignmix, "sinkhorn", spy)
    method = AlignMix(epsilon=0.7, iterations=9, stopping="tolerance", tolerance=0.02)
    assert torch.allclose(method.assignment(maps, maps.flip(0)), torch.tensor(1 / 9))
    assert torch.equal(seen["cost"], squared_l2_cost(maps, maps.flip(0)))
    assert seen["settings"] == (0.7, 9, "tolerance", 0.02)
    AlignMix(cost="cosine").assignment(maps, maps.flip(0))
    assert seen["cost"].max() <= 2


def test_batch_is_not_changed_and_odd_and_single_batches_work() -> None:
    for size in (1, 5):
        data = batch(size)
        before = [data.views[0].clone(), data.labels.clone()]
        for branch in (INPUT, *DIRECTIONS):
            assert ready().loss(TinyBackbone(), data, draws(branch, size)).total.isfinite()
        assert torch.equal(data.views[0], before[0])
        assert torch.equal(data.labels, before[1])


@pytest.mark.parametrize("branch", DIRECTIONS)
def test_layout_of_the_maps_does_not_matter_and_is_kept(branch: str) -> None:
    maps, drawn = uneven_maps(6, 8, 12, "layout").view(6, 8, 3, 4), draws(branch)
    method = AlignMix(epsilon=10.0)
    plain, last = (
        method.mix_features(FeatureMap(m, None), branch, drawn["permutation"], drawn["lam"]).spatial
        for m in (maps, maps.contiguous(memory_format=torch.channels_last))
    )
    assert torch.allclose(plain, last, rtol=1e-5, atol=1e-6)
    assert plain.is_contiguous()
    assert last.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("stopping", ["fixed", "tolerance", "official"])
def test_compiled_equals_eager_in_every_branch(stopping: str) -> None:
    backbone, data, method = TinyBackbone(), batch(), ready(stopping=stopping, decoder=stopping == "fixed")

    def total(branch: str, lam: Tensor, permutation: Tensor) -> Tensor:
        return method.loss(backbone, data, alignmix.Draws(branch, {"lam": lam, "permutation": permutation})).total

    torch.compiler.reset()
    compiled = torch.compile(total, backend="aot_eager", fullgraph=True)
    for branch in (INPUT, *DIRECTIONS):
        drawn = draws(branch).tensors
        results = []
        for function in (total, compiled):
            value = function(branch, drawn["lam"], drawn["permutation"])
            results.append([value, *torch.autograd.grad(value, list(backbone.parameters()))])
        assert all(torch.allclose(a, b, rtol=1e-6, atol=1e-8) for a, b in zip(*results, strict=True))


def test_diagnostics_are_the_relative_change_of_the_logits() -> None:
    head = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(6 * 16, 5))
    backbone, data, key = TinyBackbone(head).eval(), batch(), Key("diagnostics")
    found = AlignMix().diagnostics(backbone, data, key)
    assert list(found) == ["alignment_effect_to_first", "alignment_effect_to_second"]
    images = data.views[0]
    maps = backbone.features(images).spatial
    permutation = torch.from_numpy(key.fold("permutation").generator().permutation(6))
    plain = backbone.head(FeatureMap(0.5 * maps + 0.5 * maps[permutation], None)).detach()
    for branch in DIRECTIONS:
        mixed = AlignMix().mix_features(FeatureMap(maps, None), branch, permutation, torch.tensor(0.5))
        logits = backbone.head(mixed).detach()
        expected = ((logits - plain) ** 2).sum().sqrt() / (plain**2).sum().sqrt()
        assert expected > 0.01
        assert torch.allclose(found[f"alignment_effect_{branch}"], expected, rtol=1e-5)


def test_diagnostics_show_that_pooling_undoes_alignment_to_the_first_image() -> None:
    found = AlignMix().diagnostics(TinyBackbone().eval(), batch(), Key("diagnostics"))
    assert found["alignment_effect_to_first"] < 1e-6
    assert AlignMix(aligned=False).diagnostics(TinyBackbone().eval(), batch(), Key("diagnostics")) == {}


def test_skips_a_map_of_one_position_and_names_a_stage_that_works() -> None:
    backbone = TinyBackbone()
    assert AlignMix().skip(backbone, task()) is None
    reason = AlignMix().skip(backbone, task((3, 4, 4)))
    assert reason is not None
    assert "stage -1 (late) is 1x1" in reason
    assert "stage=0 (early, 2x2)" in reason
    assert AlignMix(stage=0).skip(backbone, task((3, 4, 4))) is None
    assert AlignMix(aligned=False).skip(backbone, task((3, 4, 4))) == reason, "the control goes with its arm"
    assert "no stage" in str(AlignMix().skip(backbone, task((3, 2, 2))))
    assert AlignMix().skip(backbone, task((3, 4, 8))) is None


@pytest.mark.parametrize("stage", [2, -3])
def test_skips_a_stage_that_is_not_there(stage: int) -> None:
    assert "stages 0 to 1" in str(AlignMix(stage=stage).skip(TinyBackbone(), task()))


def test_views_are_the_normalised_images() -> None:
    images = torch.randint(0, 256, (2, 3, 4, 4), dtype=torch.uint8)
    (view,) = AlignMix().views(images, lambda pixels: pixels.float() / 255, draws(TO_FIRST, 2))
    assert torch.equal(view, images.float() / 255)
    assert Batch((view,), torch.tensor([0, 1])).views[0] is view
