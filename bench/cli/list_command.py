"""`mixbench list`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from bench.config.catalogue import method_facts, method_names
from bench.config.folders import ConfigFolders, shipped_configs
from bench.config.suite import expand_evals
from bench.config.yaml_file import read_yaml
from bench.errors import BadInput, nearest

FOLDERS = {"suites": "suite", "data": "data", "backbones": "backbone", "protocols": "protocol", "evals": "eval"}
GROUPS = "groups of evals"


def run(options: argparse.Namespace) -> int:
    """Print names with one line each, or everything as JSON."""
    kinds = [options.kind] if options.kind else ["methods", *FOLDERS]
    found = {kind: _methods() if kind == "methods" else _configs(FOLDERS[kind]) for kind in kinds}
    if options.family is not None:
        if "methods" not in found:
            raise BadInput(f"--family {options.family}: only methods have families, not {options.kind}")
        found = {"methods": _of_family(found["methods"], options.family)}
        kinds = ["methods"]
    if "evals" in kinds:
        kinds.append(GROUPS)
        found[GROUPS] = [{**row, "title": f"{row['title']}: {', '.join(row['evals'])}"} for row in _groups()]
    if options.json:
        print(json.dumps(found, indent=1))
        return 0
    for number, kind in enumerate(kinds):
        print(("\n" if number else "") + f"{kind}:")
        width = max((len(row["name"]) for row in found[kind]), default=0)
        for row in found[kind]:
            print(f"  {row['name']:{width}}  {row['title']}")
            if options.verbose and kind == "methods":
                _details(row)
    return 0


def _of_family(rows: list[dict[str, Any]], family: str) -> list[dict[str, Any]]:
    families = {str(row["family"]) for row in rows}
    if family not in families:
        raise BadInput(f"--family {family}: no method is of this family; {nearest(family, families)}")
    return [row for row in rows if row["family"] == family]


def _details(row: dict[str, Any]) -> None:
    where = f"mixes {row['mixes']}; {row['venue'] or 'unpublished'}"
    print(f"      {row['family']}; {where}; implementation {row['implementation']}; {row['paper'] or 'no paper'}")
    print(f"      proved against: {row['proved'] or 'nothing yet'}")
    if measured := row["measured"]:
        print(f"      passes a step: {measured['passes']:g}{_share(measured)}")
    print(f"      {row['file']}")
    parameters = ", ".join(f"{key}={value!r}" for key, value in row["parameters"].items())
    print(f"      parameters: {parameters or 'none'}")


def _methods() -> list[dict[str, Any]]:
    folders = ConfigFolders()
    arms = {name: read_yaml(folders.get("method", name, "")).values for name in folders.names("method")}
    arms |= {name: {"implementation": name} for name in method_names() if name not in arms}
    measured = _measured()
    rows: list[dict[str, Any]] = []
    for name, values in sorted(arms.items()):
        facts = method_facts(str(values.get("implementation")))
        changed = {key: value for key, value in values.items() if key in facts.parameters.model_fields}
        defaults = {key: info.default for key, info in facts.parameters.model_fields.items()}
        rows.append(
            {
                "name": name,
                "title": str(values.get("title", facts.title)),
                "implementation": facts.name,
                "family": facts.family,
                "venue": facts.venue,
                "mixes": facts.mixes,
                "proved": facts.proved,
                "measured": measured.get(facts.name) if name == facts.name else None,
                "paper": facts.paper,
                "file": _short(facts.path),
                "parameters": {**defaults, **changed},
            }
        )
    return rows


def _measured() -> dict[str, Any]:
    """What `tools/method_facts.py` measured, by implementation, with the shipped arm's parameters."""
    file = shipped_configs() / "method-facts.json"
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}


def _share(measured: dict[str, Any]) -> str:
    share = measured["share_kept"]
    if not share:
        return ""
    mean, error = 100 * share["mean"], 100 * share["standard_error"]
    return f"; share kept on average: {mean:.1f} +- {error:.1f} % ({share['count']:,} {share['of']})"


def _groups() -> list[dict[str, Any]]:
    folders = ConfigFolders()
    return [{**row, "evals": expand_evals([row["name"]], folders, "")} for row in _configs("evals")]


def _configs(kind: str) -> list[dict[str, Any]]:
    folders = ConfigFolders()
    rows: list[dict[str, Any]] = []
    for name in folders.names(kind):
        file = read_yaml(folders.get(kind, name, ""))
        rows.append({"name": name, "title": str(file.values.get("title", "")), "file": _short(file.path)})
    return rows


def _short(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
