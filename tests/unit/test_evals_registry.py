from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bench.errors import BadInput
from bench.evals import registry

CONFIGS = Path(__file__).parents[2] / "configs" / "eval"


def arm(tmp_path: Path, text: str) -> registry.EvalArm:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    return registry.read_arm(path)


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_arms_build_with_their_settings(path: Path) -> None:
    read = registry.read_arm(path)
    built = read.build()
    assert built.name == read.evaluator
    assert built.version == read.version
    assert all(getattr(built, name, value) == value for name, value in read.settings.items())


def test_every_evaluator_has_an_arm() -> None:
    assert {registry.read_arm(path).evaluator for path in CONFIGS.glob("*.yaml")} == set(registry.evaluator_names())


def test_reading_arms_needs_no_torch() -> None:
    code = (
        "import sys, pathlib; from bench.evals import registry; import bench.evals.corruption_ops.summary;"
        "[registry.read_arm(path) for path in pathlib.Path(sys.argv[1]).glob('*.yaml')];"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, str(CONFIGS)], check=True, cwd=CONFIGS.parents[1])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("batch_size: 4", "needs 'evaluator: NAME'"),
        ("evaluator: claen", "mine.yaml:1: unknown evaluator 'claen'; did you mean 'clean'"),
        ("evaluator: clean\nbatchsize: 4", "mine.yaml:2: unknown key 'batchsize'; did you mean 'batch_size'"),
        ("evaluator: clean\nbatch_size: 0", "mine.yaml:2: 'batch_size' must be greater than or equal to 1"),
        ("evaluator: clean\nbatch_size: 4.5", "mine.yaml:2: 'batch_size' must be"),
        ("evaluator: clean\nsplit: tset", "did you mean 'test'"),
        ("evaluator: native_corruptions\nseverities: [1, 6]", "less than or equal to 5"),
        ("evaluator: native_corruptions\ncorruptions: [fog]", "must be 'gaussian_noise'"),
    ],
)
def test_bad_arms_end_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(BadInput) as caught:
        arm(tmp_path, text)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "evaluator: fgsm\neps_255: []",
        "evaluator: fgsm\neps_255: [1, 1]",
        "evaluator: native_corruptions\nseverities: [2, 2]",
    ],
)
def test_lists_must_name_different_things(tmp_path: Path, text: str) -> None:
    read = arm(tmp_path, text)
    with pytest.raises(BadInput, match="one or more different values"):
        read.build()


def test_digest_follows_what_decides_the_numbers(tmp_path: Path) -> None:
    plain = arm(tmp_path, "evaluator: fgsm\n")
    assert plain.digest == arm(tmp_path, "title: other\nevaluator: fgsm\nbatch_size: 3").digest
    assert plain.digest == arm(tmp_path, "evaluator: fgsm\neps_255: [0.5, 1, 2, 4, 8]").digest
    assert plain.digest != arm(tmp_path, "evaluator: fgsm\neps_255: [1, 2]").digest
    assert plain.digest != arm(tmp_path, "evaluator: fgsm\nper_class: 10").digest
