"""Layers, ownership, axes, overrides, and every kind of mistake in a config."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.config.catalogue import method_names
from bench.config.folders import ConfigFolders, shipped_configs
from bench.config.overrides import parse_set_options
from bench.config.sections import resolve_method
from bench.config.suite import Suite, load_suite
from bench.errors import BadInput

SUITE = """
title: a suite
data: digits
backbone: tiny
protocol: short
methods: [erm, mixup]
seeds: 2
"""
FILES = {
    "suite/s.yaml": SUITE,
    "data/digits.yaml": "source: digits\nresolution: 32\nchannels: 1\nmean: [0.3]\nstd: [0.4]\n",
    "backbone/tiny.yaml": "name: test_resnet\n",
    "protocol/short.yaml": "epochs: 2\nbatch_size: 10\nlearning_rate: 0.1\n",
    "protocol/long.yaml": "epochs: 20\nbatch_size: 10\nlearning_rate: 1e-2\n",
    "method/mixup.yaml": "implementation: mixup\nalpha: 0.4\n",
    "method/mixup-strong.yaml": "implementation: mixup\ntitle: Mixup, strong\nalpha: 2.0\n",
}


@pytest.fixture
def configs(tmp_path: Path) -> Path:
    root = tmp_path / "configs"
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def load(configs: Path, *options: str) -> Suite:
    return load_suite(str(configs / "suite" / "s.yaml"), parse_set_options(list(options)))


def test_axes_expand_to_one_run_each(configs):
    (configs / "suite" / "s.yaml").write_text(SUITE.replace("short", "[short, long]"))
    suite = load(configs)
    found = {(p.spec.labels.protocol, p.spec.labels.method, p.spec.seed) for p in suite.planned}
    assert found == {(p, m, s) for p in ("short", "long") for m in ("erm", "mixup") for s in (0, 1)}
    assert len(suite.planned) == 8


def test_own_layer_beats_default_and_set_beats_all(configs):
    suite = load(configs, "protocol.epochs=7", "method.alpha=3", "seeds=1")
    spec = next(p for p in suite.planned if p.spec.labels.method == "mixup")
    assert spec.spec.protocol.epochs == 7
    assert spec.spec.method.parameters == {"alpha": 3.0, "lam_per": "batch"}
    assert spec.origins["protocol"]["epochs"] == "--set"
    assert spec.origins["protocol"]["batch_size"].endswith("short.yaml:2")
    assert spec.origins["protocol"]["momentum"] == "default"


def test_a_suites_own_set_lies_between_file_and_command_line(configs):
    (configs / "suite" / "s.yaml").write_text(SUITE + "set:\n  protocol.epochs: 5\n  method.alpha: 0.1\n")
    assert load(configs).planned[0].spec.protocol.epochs == 5
    assert load(configs, "protocol.epochs=6").planned[0].spec.protocol.epochs == 6


def test_axes_can_be_replaced(configs):
    suite = load(configs, "method=mixup-strong", "seeds=[4,5,6]", "protocol=long")
    assert [p.spec.seed for p in suite.planned] == [4, 5, 6]
    assert {p.spec.labels.method for p in suite.planned} == {"mixup-strong"}
    assert suite.planned[0].spec.method.parameters["alpha"] == 2.0
    assert suite.planned[0].title == "Mixup, strong"


def test_a_backbone_without_a_file_is_a_timm_name(configs):
    spec = load(configs, "backbone=convnext_tiny").planned[0].spec
    assert spec.backbone.name == "convnext_tiny"
    assert spec.labels.backbone == "convnext_tiny"


def test_dotted_options_reach_the_backbone(configs):
    assert load(configs, "backbone.options.width=8").planned[0].spec.backbone.options == {"width": 8}


def test_all_methods_and_implementations_without_a_file(configs):
    assert {p.spec.labels.method for p in load(configs, "method=all", "seeds=1").planned} >= {"mixup", "mixup-strong"}
    assert load(configs, "method=erm", "seeds=1").planned[0].spec.method.implementation == "erm"


def test_a_suites_own_method_settings_survive_fewer_methods(configs):
    (configs / "suite" / "s.yaml").write_text(SUITE + "set:\n  method.stage: 1\n")
    assert len(load(configs, "methods=[erm]").planned) == 2
    spec = load(configs, "methods=[alignmix]").planned[0].spec
    assert spec.method.parameters["stage"] == 1


def test_exceptions_go_to_their_method_only(configs):
    (configs / "protocol" / "short.yaml").write_text(
        FILES["protocol/short.yaml"]
        + "exceptions:\n  - method: mixup\n    set: {loss: binary_cross_entropy}\n    reason: as published\n"
    )
    losses = {p.spec.labels.method: p.spec.effective_protocol.loss for p in load(configs).planned}
    assert losses == {"erm": "cross_entropy", "mixup": "binary_cross_entropy"}


MISTAKES = [
    ("protocol/short.yaml", "epochs: 2\nbatch_sise: 10\nlearning_rate: 0.1\n", [], "short.yaml:2: unknown key 'protocol.batch_sise'; did you mean 'batch_size'?"),
    ("protocol/short.yaml", "epochs: 0\nbatch_size: 10\nlearning_rate: 0.1\n", [], "short.yaml:1: 'protocol.epochs' must be greater than or equal to 1, not 0"),
    ("protocol/short.yaml", "epochs: many\nbatch_size: 10\nlearning_rate: 0.1\n", [], "short.yaml:1: 'protocol.epochs' must be a whole number, not 'many'"),
    ("protocol/short.yaml", "epochs: 2\nlearning_rate: 0.1\n", [], "'protocol.batch_size' is missing"),
    ("protocol/short.yaml", "epochs: 2\nbatch_size: 10\nlearning_rate: 0.1\nschedule: cosin\n", [], "did you mean 'cosine'?"),
    ("protocol/short.yaml", "epochs: 2\nbatch_size: 10\nlearning_rate: 0.1\nalpha: 1\n", [], "unknown key 'protocol.alpha'"),
    ("protocol/short.yaml", "epochs: 2\nbatch_size: 10\nlearning_rate: 0.1\nresolution: 8\n", [], "'resolution' belongs to data"),
    ("method/mixup.yaml", "implementation: mixup\nalpha: -1\n", [], "mixup.yaml:2: 'method.alpha' must be greater than or equal to 0, not -1"),
    ("method/mixup.yaml", "implementation: mixup\nepochs: 5\n", [], "mixup.yaml:2: unknown key 'method.epochs'"),
    ("method/mixup.yaml", "implementation: mixupp\n", [], "mixup.yaml:1: unknown implementation 'mixupp'; did you mean 'mixup'?"),
    ("method/mixup.yaml", "alpha: 1.0\n", [], "needs 'implementation: NAME'"),
    ("method/mixup.yaml", "implementation: mixup\nlam_per: image\n", [], "'method.lam_per' must be 'batch' or 'sample', not 'image'"),
    ("suite/s.yaml", SUITE.replace("mixup", "mixxup"), [], "s.yaml:6: unknown method 'mixxup'; did you mean 'mixup'?"),
    ("suite/s.yaml", SUITE.replace("[erm, mixup]", "[erm, erm]"), [], "method 'erm' stands twice"),
    ("suite/s.yaml", SUITE.replace("[erm, mixup]", "[]"), [], "plans no run"),
    ("suite/s.yaml", SUITE.replace("seeds: 2", "seeds: [1, 1]"), [], "a seed stands twice"),
    ("suite/s.yaml", SUITE.replace("seeds: 2", "seeds: -1"), [], "s.yaml:7: 'seeds"),
    ("suite/s.yaml", SUITE + "evals: [cleen]\n", [], "unknown evaluator 'cleen'"),
    ("suite/s.yaml", SUITE + "metods: [erm]\n", [], "unknown key 'metods'; did you mean 'methods'?"),
    ("suite/s.yaml", SUITE + "set:\n  backbone: x\n", [], "'backbone' is an axis"),
    ("suite/s.yaml", SUITE.replace("protocol: short", "protocol: shrt"), [], "unknown protocol 'shrt'; did you mean 'short'?"),
    ("suite/s.yaml", SUITE + "set:\n  method.alphaa: 1\n", [], "no method has a parameter 'alphaa'; did you mean 'alpha'?"),
    ("suite/s.yaml", SUITE.replace("[erm, mixup]", "[mixup, mixup-strong]"), ["method.alpha=1"], "mixup and mixup-strong: the same experiment is planned twice"),
    ("suite/s.yaml", SUITE.replace("protocol: short", "protocol: [short, short]"), [], "erm: the same experiment is planned twice"),
    ("protocol/short.yaml", FILES["protocol/short.yaml"] + "exceptions:\n  - {method: mixup, set: {epochs: -1}, reason: r}\n", [], "short.yaml:4: 'protocol.exceptions.epochs' must be greater than or equal to 1, not -1"),
    ("protocol/short.yaml", FILES["protocol/short.yaml"] + "exceptions:\n  - {method: mixpu, set: {epochs: 3}, reason: r}\n", [], "unknown implementation 'mixpu'; did you mean 'mixup'?"),
    ("protocol/short.yaml", FILES["protocol/short.yaml"] + "world_size: 0\n", [], "'protocol.world_size' must be greater than or equal to 1, not 0"),
    (None, "", ["protocol.epoch=3"], "--set: unknown key 'protocol.epoch'; did you mean 'epochs'?"),
    (None, "", ["protocols=short"], "unknown key 'protocols'; did you mean 'protocol'?"),
    (None, "", ["epochs=3"], "--set: unknown key 'epochs'"),
    (None, "", ["data.decoder=torchvision"], "--set: decoder torchvision needs source: streaming"),
    (None, "", ["protocol.epochs"], "write it as key=value"),
    (None, "", ["method.beta=3"], "no method of this suite has a parameter 'beta'"),
    (None, "", ["method.alhpa=3"], "no method of this suite has a parameter 'alhpa'; did you mean 'alpha'?"),
    (None, "", ["protocol.epochs=[1"], "is not a YAML value"),
    (None, "", ["data=digit"], "--set: unknown data 'digit'; did you mean 'digits'?"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "text", "options", "message"), MISTAKES)
def test_a_mistake_is_one_line_with_file_key_and_choice(configs, name, text, options, message):
    if name:
        (configs / name).write_text(text)
    with pytest.raises(BadInput) as caught:
        load(configs, *options)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_path_that_is_no_suite_is_told_as_a_path(tmp_path):
    with pytest.raises(BadInput, match=r"^results/quickstrt: no such file or folder; did you mean 'quickstart'"):
        load_suite("results/quickstrt", parse_set_options([]))
    with pytest.raises(BadInput, match=f"^{tmp_path}: is a folder, not a suite; "):
        load_suite(str(tmp_path), parse_set_options([]))


def test_missing_suite_names_the_nearest(configs):
    with pytest.raises(BadInput, match="quickstart"):
        load_suite("quikstart", parse_set_options([]))
    with pytest.raises(BadInput, match="no such suite file"):
        load_suite("nowhere/quickstart2.yaml", parse_set_options([]))


def test_every_shipped_config_resolves():
    folders = ConfigFolders()
    suites = sorted(path.stem for path in (shipped_configs() / "suite").glob("*.yaml"))
    assert {"quickstart", "cifar10", "cifar100", "tinyimagenet", "imagenet", "compare"} <= set(suites)
    for name in suites:
        assert load_suite(name, parse_set_options([])).planned
    for name in folders.names("method"):
        assert resolve_method(name, "test", folders, []).spec.implementation in method_names()
