"""What holds for the adapter whatever the model: slots, copies, compilation, counting, statistics, refusals."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from bench.backbones.adapter import TimmBackbone
from bench.backbones.build import build_backbone
from bench.backbones.stages import StageRefused
from bench.spec import BackboneSpec
from methods.api import Edit, FeatureMap


def built(name: str = "preact_resnet18", resolution: int = 16, **options: int) -> TimmBackbone:
    options = options or ({"width": 4} if name == "preact_resnet18" else {})
    return build_backbone(BackboneSpec(name=name, options=options), 5, 3, resolution, seed=0)


def images(size: int = 4, resolution: int = 16) -> Tensor:
    return torch.randn(size, 3, resolution, resolution, generator=torch.Generator().manual_seed(0))


def doubled(features: FeatureMap) -> FeatureMap:
    return FeatureMap(2 * features.spatial, None if features.prefix is None else 2 * features.prefix)


def broken(features: FeatureMap) -> FeatureMap:
    raise RuntimeError("planned")


def test_an_edit_is_gone_after_the_call_and_after_an_error() -> None:
    backbone = built().eval()
    plain = backbone(images())
    assert not torch.equal(backbone(images(), {1: doubled}), plain)
    assert torch.equal(backbone(images()), plain)
    with pytest.raises(RuntimeError, match="planned"):
        backbone(images(), {0: doubled, 1: broken})
    assert torch.equal(backbone(images()), plain)
    backbone.features(images(), 1)
    assert torch.equal(backbone(images()), plain)


def test_an_edit_may_call_the_backbone() -> None:
    backbone = built().eval()

    def nested(features: FeatureMap) -> FeatureMap:
        return FeatureMap(features.spatial + backbone.features(images().flip(0), 1).spatial, None)

    expected = backbone(
        images(), {1: lambda f: FeatureMap(f.spatial + backbone.features(images(), 1).spatial.flip(0), None)}
    )
    torch.testing.assert_close(backbone(images(), {1: nested, 2: doubled}), backbone(images(), {1: nested, 2: doubled}))
    torch.testing.assert_close(backbone(images(), {1: nested}), expected)


def test_a_deep_copy_has_slots_of_its_own() -> None:
    student = built().eval()
    plain = student(images())
    teacher = copy.deepcopy(student)
    seen: list[Tensor] = []

    def ask_teacher(features: FeatureMap) -> FeatureMap:
        seen.append(teacher(images()))
        return doubled(features)

    edited = student(images(), {1: ask_teacher})
    assert torch.equal(seen[0], plain)
    assert not torch.equal(edited, plain)
    assert torch.equal(teacher(images(), {1: doubled}), edited)
    with torch.no_grad():
        teacher.model.get_submodule("layer4.1.conv2").weight.mul_(3)
    assert not torch.equal(teacher.head(teacher.features(images())), plain)
    assert torch.equal(student.head(student.features(images())), plain)
    assert {id(module) for module in teacher._tail}.isdisjoint(id(module) for module in student.modules())


def test_a_pickled_backbone_still_edits() -> None:
    backbone = built().eval()
    loaded = pickle.loads(pickle.dumps(backbone))
    assert torch.equal(loaded(images(), {2: doubled}), backbone(images(), {2: doubled}))


def test_state_dict_holds_the_model_alone() -> None:
    backbone = built()
    assert list(backbone.state_dict()) == [f"model.{name}" for name in backbone.model.state_dict()]


class Step(nn.Module):
    """A loss as the trainer compiles it: edits are closures over tensors, with features, head and probe beside."""

    def __init__(self, backbone: TimmBackbone, stage: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.stage = stage

    def mix(self, lam: Tensor, order: Tensor) -> Edit:
        def edit(features: FeatureMap) -> FeatureMap:
            spatial, prefix = features
            mixed = None if prefix is None else lam * prefix + (1 - lam) * prefix[order]
            return FeatureMap(lam * spatial + (1 - lam) * spatial[order], mixed)

        return edit

    def forward(self, x: Tensor, lam: Tensor, order: Tensor) -> Tensor:
        mix = self.mix(lam, order)
        logits = self.backbone(x, {self.stage: mix})
        late = self.backbone.head(mix(self.backbone.features(x)))
        with self.backbone.probe():
            early = self.backbone.features(x.flip(0), self.stage)
        middle = self.backbone.features(x.flip(3), self.stage)
        parts = (logits, late, early.spatial, middle.spatial)
        return torch.stack([part.square().mean() for part in parts]).sum()


@pytest.mark.parametrize(
    ("name", "resolution"),
    [("preact_resnet18", 16), ("test_resnet", 32), ("test_vit", 32), ("test_mambaout", 32), ("test_efficientnet", 32)],
)
def test_compiled_without_graph_break_equals_eager(name: str, resolution: int) -> None:
    torch._dynamo.reset()
    eager = Step(built(name, resolution), 1)
    plain = copy.deepcopy(eager)
    compiled = torch.compile(plain, backend="aot_eager", fullgraph=True, dynamic=False)
    x = images(4, resolution)
    for lam, order in [(0.3, [1, 0, 3, 2]), (0.9, [3, 2, 1, 0])]:
        arguments = (x, torch.tensor(lam), torch.tensor(order))
        expected, actual = eager(*arguments), compiled(*arguments)
        torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-6)
        expected.backward()
        actual.backward()
    for (key, left), right in zip(eager.named_parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(right.grad, left.grad, rtol=1e-3, atol=1e-4, msg=key)
    for (key, left), right in zip(eager.named_buffers(), plain.buffers(), strict=True):
        torch.testing.assert_close(right, left, rtol=1e-5, atol=1e-6, msg=key)
    assert all(slot.edit is None for slot in plain.backbone._slots)
    torch.testing.assert_close(plain.backbone.eval()(x), eager.backbone.eval()(x), rtol=1e-4, atol=1e-5)


def test_edits_work_inside_a_ddp_wrapper(tmp_path: Path) -> None:
    plain = Step(built(), 1)
    arguments = (images(), torch.tensor(0.3), torch.tensor([1, 0, 3, 2]))
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    try:
        wrapped = nn.parallel.DistributedDataParallel(copy.deepcopy(plain))
        loss, expected = wrapped(*arguments), plain(*arguments)
        assert torch.equal(loss, expected)
        loss.backward()
        expected.backward()
        for left, right in zip(wrapped.parameters(), plain.parameters(), strict=True):
            torch.testing.assert_close(left.grad, right.grad)
    finally:
        torch.distributed.destroy_process_group()


def test_features_end_the_pass_at_their_stage() -> None:
    backbone = built()
    backbone.features(images(), 1)
    counts = {name: int(count) for name, count in backbone.named_buffers() if name.endswith("num_batches_tracked")}
    assert {name.split(".")[1]: count for name, count in counts.items()} == {
        "layer1": 1,
        "layer2": 1,
        "layer3": 0,
        "layer4": 0,
    }


@pytest.mark.parametrize("name", ["preact_resnet18", "resnetv2_18"])
def test_probe_leaves_statistics_alone_and_still_uses_the_batch(name: str) -> None:
    backbone = built(name, 32)
    x = images(4, 32) * 3 + 1
    expected = copy.deepcopy(backbone)(x)
    before = {key: value.clone() for key, value in backbone.named_buffers()}
    with backbone.probe():
        probed = backbone(x)
    torch.testing.assert_close(probed, expected, rtol=0, atol=0)
    assert before
    assert all(torch.equal(value, before[key]) for key, value in backbone.named_buffers())
    with pytest.raises(RuntimeError, match="planned"), backbone.probe():
        backbone(x, {0: broken})
    backbone(x)
    assert all(int(value) == 1 for key, value in backbone.named_buffers() if key.endswith("num_batches_tracked"))
    backbone.eval()
    with backbone.probe():
        probed = backbone(x)
    assert torch.equal(probed, backbone(x))


def test_count_passes_counts_images() -> None:
    backbone = built()
    with backbone.count_passes() as count:
        backbone(images(4))
        features = backbone.features(images(3), 3)
        backbone.head(features)
        assert count.images == 7
        with backbone.probe():
            backbone(images(2))
    backbone(images(4))
    assert count.images == 9


def test_bfloat16_features_keep_their_dtype_after_a_float32_edit() -> None:
    backbone = built("test_vit", 32)
    seen: list[torch.dtype] = []

    def in_float32(features: FeatureMap) -> FeatureMap:
        assert features.prefix is not None
        return FeatureMap(features.spatial.float() * 1.0, features.prefix.float() * 1.0)

    def watch(features: FeatureMap) -> FeatureMap:
        seen.append(features.spatial.dtype)
        return features

    half = backbone.to(torch.bfloat16)
    logits = half(images(2, 32).bfloat16(), {0: in_float32, 1: watch})
    assert seen == [torch.bfloat16]
    assert torch.isfinite(logits).all()


def test_channels_last_memory_is_kept_through_an_edit() -> None:
    backbone = built().to(memory_format=torch.channels_last)
    seen: list[bool] = []

    def edit(features: FeatureMap) -> FeatureMap:
        mixed = 0.5 * features.spatial + 0.5 * features.spatial[[1, 0, 3, 2]]
        seen.append(mixed.is_contiguous(memory_format=torch.channels_last))
        return FeatureMap(mixed, None)

    backbone(images().contiguous(memory_format=torch.channels_last), {0: edit, 2: edit})
    assert seen == [True, True]


@pytest.mark.parametrize("name", ["test_vit", "preact_resnet18"])
def test_an_edit_that_breaks_the_shape_is_an_error(name: str) -> None:
    backbone = built(name, 32)
    with pytest.raises(ValueError, match="features"):
        backbone(images(2, 32), {1: lambda f: FeatureMap(f.spatial.flatten(2), f.prefix)})
    with pytest.raises(ValueError, match="features"):
        backbone(images(2, 32), {1: lambda f: FeatureMap(f.spatial[:, :2], f.prefix)})
    with pytest.raises(ValueError, match="prefix"):
        backbone(images(2, 32), {1: lambda f: FeatureMap(f.spatial, f.spatial if f.prefix is None else None)})


def test_a_stage_that_does_not_exist() -> None:
    backbone = built()
    for stage in (4, -5):
        with pytest.raises(ValueError, match=r"has 4 \(layer1, layer2, layer3, layer4\)"):
            backbone(images(), {stage: doubled})
        with pytest.raises(ValueError, match="no stage"):
            backbone.width(stage)


class Odd(nn.Module):
    """Stages that cannot be edited beside one that can, and a head that is not a chain of modules."""

    def __init__(self) -> None:
        super().__init__()
        self.pair = nn.Conv2d(3, 4, 3, 1, 1)
        self.twice = nn.Conv2d(4, 4, 3, 1, 1)
        self.flat = nn.Flatten(1)
        self.last = nn.Conv2d(4, 4, 3, 2, 1)
        self.fc = nn.Linear(4, 5)
        self.feature_info = [
            {"module": "absent", "num_chs": 4, "reduction": 1},
            {"module": "twice", "num_chs": 4, "reduction": 1},
            {"module": "flat", "num_chs": 4, "reduction": 1},
            {"module": "last", "num_chs": 4, "reduction": 2},
        ]

    def forward_head(self, x: Tensor) -> Tensor:
        return self.fc(x.mean((2, 3)))

    def forward(self, x: Tensor) -> Tensor:
        x = self.twice(self.twice(self.pair(x)).relu())
        x = x + self.flat(x).mean()
        return self.forward_head(self.last(x).relu())


def test_refused_stages_say_why_and_leave_the_rest_usable() -> None:
    backbone = TimmBackbone(Odd(), 5, 3, 16)
    reasons = {
        0: "'absent' is not a module",
        1: "runs 2 times",
        2: r"shape \(1, 1024\)",
    }
    for stage, reason in reasons.items():
        with pytest.raises(StageRefused, match=reason):
            backbone(images(), {stage: doubled})
        with pytest.raises(StageRefused, match=reason):
            backbone.features(images(), stage)
        assert backbone.mixable(stage) is not None
        assert backbone.width(stage) == 4
    assert backbone.mixable(3) is None
    assert backbone.reduction(3) == 2
    assert not torch.equal(backbone(images(), {3: doubled}), backbone(images()))
    with pytest.raises(StageRefused, match="between last and the head is not a chain"):
        backbone.head(backbone.features(images()))


def test_a_model_without_the_right_logits_is_no_backbone() -> None:
    with pytest.raises(ValueError, match=r"shape \(1, 5\) where \(1, 6\)"):
        TimmBackbone(Odd(), 6, 3, 16)
