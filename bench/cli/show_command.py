"""`mixbench show`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from bench.cli.suite_options import suite_of
from bench.errors import BadInput, nearest


def run(options: argparse.Namespace) -> int:
    """Print one run's settings, key by key, each with its origin."""
    suite = suite_of(options)
    arms = list(dict.fromkeys(planned.spec.labels.method for planned in suite.planned))
    wanted = options.method or arms[0]
    if wanted not in arms:
        raise BadInput(f"--method {wanted}: not a method of this suite; {nearest(wanted, arms)}")
    planned = next(item for item in suite.planned if item.spec.labels.method == wanted)
    spec = planned.spec
    sections: dict[str, dict[str, Any]] = {
        name: getattr(spec, name).model_dump(mode="json") for name in ("data", "backbone", "protocol")
    }
    sections["data"].pop("digest")
    sections["method"] = {"implementation": spec.method.implementation, **spec.method.parameters}
    if options.json:
        print(json.dumps({"settings": sections, "origins": planned.origins}, indent=1))
        return 0
    print(f"{suite.name}: {len(suite.planned)} runs; methods {', '.join(arms)}")
    print(f"evaluators: {', '.join(suite.evals)}; method shown: {wanted}\n")
    for name, values in sections.items():
        print(f"{name} ({getattr(spec.labels, name)})")
        for key, value in values.items():
            origin = planned.origins[name].get(key, "default")
            print(f"  {key:20} {_short(value):28} {_relative(origin)}")
    return 0


def _short(value: Any) -> str:
    return json.dumps(value) if not isinstance(value, str) else value


def _relative(origin: str) -> str:
    return origin.replace(f"{Path.cwd()}/", "")
