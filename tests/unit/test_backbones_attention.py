"""The class token's attention against timm's own unfused attention and against a forward pass written by hand."""

from __future__ import annotations

import copy

import pytest
import timm
import torch
from torch import Tensor, nn

from bench.backbones import attention as attention_module
from bench.backbones.adapter import TimmBackbone
from bench.backbones.attention import ClassAttention

TINY = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 3, "num_heads": 3, "num_classes": 5}
MODELS = {
    "vit": ("vit_tiny_patch16_224", {}),
    "qk_norm": ("vit_tiny_patch16_224", {"qk_norm": True}),
    "deit": ("deit_tiny_patch16_224", {}),
    "distilled": ("deit_tiny_distilled_patch16_224", {}),
    "registers": ("vit_tiny_patch16_224", {"reg_tokens": 2}),
}


def backbone(name: str, **options: object) -> TimmBackbone:
    kind, own = MODELS[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = timm.create_model(kind, **{**TINY, **own, **options})
        for parameter in model.parameters():
            nn.init.normal_(parameter, 0.0 if parameter.ndim > 1 else 0.5, 0.5)
    return TimmBackbone(model, 5, 3, 32)


def images(size: int = 4) -> Tensor:
    return torch.randn(size, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def unfused(net: TimmBackbone, batch: Tensor) -> tuple[Tensor, Tensor]:
    """Logits and the last block's whole attention matrix, as timm's own unfused code gives it to its dropout."""
    model = copy.deepcopy(net.model)
    for block in model.blocks:
        block.attn.fused_attn = False
    seen: list[Tensor] = []
    model.blocks[-1].attn.attn_drop.register_forward_hook(lambda _m, inputs, _o: seen.append(inputs[0]))
    return model(batch), seen[0]


def by_hand(net: TimmBackbone, batch: Tensor, image: int, head: int) -> list[float]:
    """The class token's weights of one image and head: a loop over tokens in float64."""
    model = copy.deepcopy(net.model).double()
    caught: list[Tensor] = []
    model.blocks[-1].attn.register_forward_pre_hook(lambda _m, inputs: caught.append(inputs[0][image]))
    model(batch.double())
    module, tokens = model.blocks[-1].attn, caught[0]
    width = tokens.shape[1]
    size = width // module.num_heads
    rows = slice(head * size, (head + 1) * size)
    weight, bias = module.qkv.weight, module.qkv.bias
    query = module.q_norm(weight[:width][rows] @ tokens[0] + bias[:width][rows])
    scores = []
    for token in tokens:
        key = module.k_norm(weight[width : 2 * width][rows] @ token + bias[width : 2 * width][rows])
        scores.append((query @ key / size**0.5).exp())
    return [(score / sum(scores)).item() for score in scores][model.num_prefix_tokens :]


def check(net: TimmBackbone) -> None:
    logits, weights = net.attention(images())
    expected_logits, matrix = unfused(net, images())
    torch.testing.assert_close(logits, expected_logits, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(weights, matrix[:, :, 0, net.model.num_prefix_tokens :], rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(weights[2, 1].double(), torch.tensor(by_hand(net, images(), 2, 1)).double(), rtol=1e-4, atol=1e-6)  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_equals_unfused_attention_and_a_loop_over_tokens(name: str) -> None:
    net = backbone(name)
    assert net.attention_refusal is None
    logits, weights = net.attention(images())
    assert weights.shape == (4, 3, 16)
    assert weights.dtype == torch.float32
    assert not weights.requires_grad
    assert weights.std() > 0.02, "weights that are all alike would prove nothing"
    assert torch.equal(logits, net(images()))
    check(net)


def test_copies_are_independent_and_nothing_is_kept_outside_a_call() -> None:
    net = backbone("vit")
    twin = copy.deepcopy(net)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.mul_(1.5)
    check(twin)
    check(net)
    net(images())
    assert net._attention is not None
    assert twin._attention is not None
    assert net._attention.slot is not twin._attention.slot
    assert twin._attention.module is twin.model.blocks[-1].attn
    assert net._attention.slot.kept is None


def test_one_pass_with_gradient_and_the_slot_is_emptied_after_an_error() -> None:
    net = backbone("vit")
    with net.count_passes() as count:
        net.attention(images(3))[0].sum().backward()
    assert count.images == 3
    assert all(parameter.grad is not None for parameter in net.parameters())
    with pytest.raises(AssertionError):
        net.attention(torch.zeros(2, 3, 24, 24))
    assert net._attention is not None
    assert net._attention.slot.kept is None


def test_compiles_to_one_graph() -> None:
    net = backbone("distilled")
    torch._dynamo.reset()
    compiled = torch.compile(lambda batch: net.attention(batch), backend="aot_eager", fullgraph=True)
    for _ in range(2):
        for actual, expected in zip(compiled(images()), net.attention(images()), strict=True):
            torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-6)


def test_autocast_leaves_the_weights_in_float32() -> None:
    net = backbone("vit")
    with torch.autocast("cpu", torch.bfloat16):
        _, weights = net.attention(images())
    assert weights.dtype == torch.float32
    torch.testing.assert_close(weights, net.attention(images())[1], rtol=0, atol=0.15)


@pytest.mark.parametrize(
    ("model", "options", "reason"),
    [
        ("test_resnet", {}, "no vision transformer"),
        ("vit_tiny_patch16_224", {**TINY, "class_token": False, "global_pool": "avg"}, "no class token"),
        ("vit_tiny_patch16_224", {**TINY, "global_pool": "avg"}, "avg-pooled"),
        (
            "eva02_tiny_patch14_224",
            {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 1, "num_heads": 3, "global_pool": "token"},
            "EvaAttention",
        ),
    ],
)
def test_refuses_by_name(model: str, options: dict[str, object], reason: str) -> None:
    built = timm.create_model(model, **{**options, "num_classes": 5})
    net = TimmBackbone(built, 5, 3, 32)
    assert net.attention_refusal is not None
    assert reason in net.attention_refusal
    with pytest.raises(ValueError, match=reason):
        net.attention(images())
    with pytest.raises(ValueError, match=reason):
        ClassAttention(built)


def test_swin_is_refused() -> None:
    assert attention_module.attention_refusal(timm.create_model("swin_tiny_patch4_window7_224", depths=(1, 1, 1, 1), embed_dim=12, num_heads=(1, 1, 1, 1)))  # fmt: skip


@pytest.mark.parametrize("fault", ["scale", "prefix", "keys as queries", "no norm", "wrong block"])
def test_planted_faults_are_caught(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    net = backbone("qk_norm" if fault == "no norm" else "distilled")
    check(net)
    reader = net._attention
    assert reader is not None
    weights = reader.weights
    if fault == "scale":
        monkeypatch.setattr(reader, "weights", lambda projected: weights(projected * 1.2))
    elif fault == "prefix":
        monkeypatch.setattr(reader, "prefix", 1)
    elif fault == "keys as queries":
        monkeypatch.setattr(reader, "weights", lambda projected: weights(projected.roll(24, -1)))
    elif fault == "no norm":
        plain = copy.deepcopy(reader.module)
        plain.q_norm = plain.k_norm = nn.Identity()
        monkeypatch.setattr(reader, "module", plain)
    else:
        reader.slot = slot_of_block(net, 0)
    with pytest.raises((AssertionError, IndexError)):
        check(net)


def slot_of_block(net: TimmBackbone, block: int) -> attention_module.AttentionSlot:
    """A slot on another block's projection."""
    slot = attention_module.AttentionSlot()
    setattr(net.model.blocks[block].attn.qkv, attention_module.ATTRIBUTE, slot)
    net.model.blocks[block].attn.qkv.register_forward_hook(attention_module._keep)
    return slot
