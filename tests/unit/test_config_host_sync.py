"""A step that waits for the device is refused under CUDA graphs when the suite is read, and allowed everywhere else."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from bench.config.catalogue import method_facts
from bench.config.folders import shipped_configs
from bench.config.host_sync import CUDA_GRAPH_MODES, parse_host_sync
from bench.config.overrides import parse_set_options
from bench.config.suite import Suite, load_suite
from bench.config.yaml_file import YamlFile
from bench.errors import BadInput
from bench.tune.plan import Settings, plan_trials

SUITE = """title: a suite
data: digits
backbone: test_resnet
protocol: short
methods: [erm, alignmix]
seeds: 2
"""
SHORT = "epochs: 2\nbatch_size: 10\nlearning_rate: 0.1\n"
EXCEPTION = "exceptions:\n- {method: alignmix, set: {compile: default}, reason: it waits}\n"


@pytest.fixture
def configs(tmp_path: Path) -> Path:
    for name, text in {"suite/s.yaml": SUITE, "protocol/short.yaml": SHORT}.items():
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "method").mkdir()
    return tmp_path


def load(configs: Path, *options: str) -> Suite:
    return load_suite(str(configs / "suite/s.yaml"), parse_set_options(list(options)))


def test_the_modes_are_the_trainers():
    from bench.train import step

    assert CUDA_GRAPH_MODES == step.CUDA_GRAPH_MODES


@pytest.mark.parametrize("mode", CUDA_GRAPH_MODES)
def test_one_line_says_what_where_and_what_would_be_right(configs, mode):
    with pytest.raises(BadInput) as caught:
        load(configs, f"protocol.compile={mode}", "method.stopping=official")
    assert str(caught.value) == (
        f"method.stopping: official (alignmix; --set) waits for the device within a step, which protocol.compile: "
        f"{mode} (--set) cannot record as a CUDA graph; use method.stopping: fixed or protocol.compile: default"
    )


def test_an_arm_of_another_name_is_refused_at_its_line(configs):
    (configs / "method/mine.yaml").write_text("implementation: alignmix\nstopping: official\n")
    with pytest.raises(BadInput, match=r"\(mine; \S+mine\.yaml:2\) .*reduce-overhead \(\S+short\.yaml:4\)"):
        (configs / "protocol/short.yaml").write_text(SHORT + "compile: reduce-overhead\n")
        load(configs, "methods=[erm,mine]")


def test_a_file_of_the_users_own_does_not_hide_the_declaration(configs):
    (configs / "method/alignmix.yaml").write_text("implementation: alignmix\nstopping: official\n")
    with pytest.raises(BadInput, match="cannot record as a CUDA graph"):
        load(configs, "protocol.compile=reduce-overhead")


@pytest.mark.parametrize(
    "options",
    [
        *[(f"protocol.compile={mode}", "method.stopping=official") for mode in ("none", "aot_eager", "default")],
        *[("protocol.compile=reduce-overhead", f"method.stopping={name}") for name in ("fixed", "tolerance")],
        ("protocol.compile=reduce-overhead", "method.stopping=official", "methods=[erm]"),
    ],
)
def test_everything_else_is_planned(configs, options):
    if "methods=[erm]" in options:  # a suite's own settings are for whichever of its methods have them
        (configs / "suite/s.yaml").write_text(SUITE + "set: {method.stopping: official}\n")
        options = [option for option in options if not option.startswith("method.")]
    assert load(configs, *options).planned


def test_an_exception_that_leaves_graphs_out_is_enough(configs):
    (configs / "protocol/short.yaml").write_text(SHORT + EXCEPTION)
    assert load(configs, "protocol.compile=reduce-overhead", "method.stopping=official").planned


def test_a_trial_that_would_wait_is_refused_before_the_first_one(configs):
    text = "implementation: alignmix\nsearch: {stopping: [fixed, official]}\n"
    (configs / "method/alignmix.yaml").write_text(text)
    suite = load(configs, "protocol.compile=reduce-overhead", "data.validation=0.1")
    with pytest.raises(BadInput, match=r"stopping: official \(alignmix trial \d+; search\)"):
        plan_trials(suite, Settings(8))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("official", "must be a mapping"),
        ({"stoping": ["official"]}, "unknown parameter 'stoping'; did you mean 'stopping'"),
        ({"stopping": "official"}, "must be a list"),
        ({"stopping": []}, "must be a list"),
        ({"stopping": ["oficial"]}, "did you mean 'official'"),
    ],
)
def test_mistakes_in_the_key(given, words):
    with pytest.raises(BadInput, match=words):
        parse_host_sync(given, method_facts("alignmix"), YamlFile(Path("m.yaml"), {}))


def test_shipped_declarations_fit_the_code():
    found = {
        path.stem: parse_host_sync(values["host_sync"], method_facts(values["implementation"]), YamlFile(path, values))
        for path in (shipped_configs() / "method").glob("*.yaml")
        if "host_sync" in (values := yaml.safe_load(path.read_text()))
    }
    assert found == {"alignmix": {"stopping": ("official",)}}
