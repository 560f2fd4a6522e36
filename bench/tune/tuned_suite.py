"""The tuned methods as config files: an arm for each, and a suite of them that `mixbench run` takes as any other."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.config.catalogue import method_facts
from bench.config.folders import ConfigFolders
from bench.config.overrides import Overrides
from bench.config.suite import Suite, load_suite
from bench.report.write import replace_file
from bench.tune.choose import Outcome
from bench.tune.plan import ArmPlan, Settings

SUFFIX = "-tuned"


@dataclass(frozen=True)
class Tuned:
    """A method in a cell after its trials. outcomes: of all trials. chosen: None where all failed or none was made."""

    plan: ArmPlan
    outcomes: tuple[Outcome, ...]
    chosen: Outcome | None

    @property
    def name(self) -> str:
        """The arm of the tuned suite: the method's own where nothing was chosen."""
        return self.plan.method if self.chosen is None else f"{self.plan.method}{SUFFIX}"


def write_tuned_suite(
    suite: Suite, given: Overrides, tuned: Sequence[Tuned], folder: Path, settings: Settings
) -> Suite:
    """Write `suite/NAME.yaml` and `method/ARM-tuned.yaml` below `folder` for the methods of one cell, and load them.

    given: the command line's settings, which the files repeat. Configs that would not be found from anywhere are copied
    beside them. NAME is the suite's with "-tuned".
    """
    data, backbone, protocol = tuned[0].plan.cell
    for item in tuned:
        if item.chosen is not None:
            replace_file(folder / "method" / f"{item.name}.yaml", _arm_text(item, settings).encode())
    names = {"data": [data], "backbone": [backbone], "protocol": [protocol], "eval": suite.evals}
    names["method"] = [item.name for item in tuned if item.chosen is None]
    _copy_unfindable(suite.folders, names, folder)
    own = {item.plan.method: item.name for item in tuned}
    file = suite.file
    values: dict[str, Any] = {
        "title": f"{file.title}, methods tuned",
        "note": f"{file.note} Hyper-parameters were chosen by `mixbench tune`.".strip(),
        "data": data,
        "backbone": backbone,
        "protocol": protocol,
        "methods": [item.name for item in tuned],
        "seeds": sorted({item.spec.seed for item in suite.planned}),
        "evals": suite.evals,
        "base": own.get(file.base, file.base),
        "set": {**file.set, **_assignments(given)},
    }
    path = folder / "suite" / f"{suite.name}{SUFFIX}.yaml"
    replace_file(path, _yaml(values, f"Written by `mixbench tune {suite.name}`: {_how(settings)}.").encode())
    return load_suite(str(path), Overrides("--set"))


def _arm_text(item: Tuned, settings: Settings) -> str:
    assert item.chosen is not None
    trial = item.chosen.trial
    method = trial.planned.spec.method
    defaults = method_facts(method.implementation).parameters.model_fields
    changed = {
        name: value
        for name, value in method.parameters.items()
        if name in trial.values or value != defaults[name].default
    }
    values = {"title": f"{item.plan.default.title} (tuned)", "implementation": method.implementation, **changed}
    return _yaml(values, f"Trial {trial.number} of {_how(settings)}; run {item.chosen.run_id} among the trials.")


def _how(settings: Settings) -> str:
    return f"{settings.trials} trials a method, sampler {settings.sampler}, seed {settings.seed}"


def _assignments(given: Overrides) -> dict[str, Any]:
    return {f"{section}.{key}": value for section, keys in given.keys.items() for key, value in keys.items()}


def _yaml(values: dict[str, Any], comment: str) -> str:
    """JSON values are YAML whatever the words, so that no text turns into a number or a truth value."""
    return "".join([f"# {comment}\n", *(f"{key}: {json.dumps(value)}\n" for key, value in values.items())])


def _copy_unfindable(folders: ConfigFolders, names: dict[str, list[str]], folder: Path) -> None:
    anywhere = ConfigFolders()
    for kind, wanted in names.items():
        for name in wanted:
            path = folders.find(kind, name)
            if path is not None and anywhere.find(kind, name) != path:
                replace_file(folder / kind / path.name, path.read_bytes())
