"""Run the benchmarks of the repository, each file of tools/benchmarks in a fresh process, and write what they found.

    python tools/bench_self.py [--device cpu|cuda] [--only NAME] [--threads N] [-o FILE]

Prints one table of ratios with their targets. Writes results/reference/benchmarks/<hardware>.json (a machine's other
benchmarks stay as they are there) and the tables of docs/performance.md; with -o FILE the JSON alone, there.
--page writes the page again from the committed files.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tools.benchmark_results import (  # noqa: E402
    PAGE,
    RESULTS,
    SCHEMA,
    checked_row,
    merged,
    page_tables,
    read_results,
    results_text,
    slug,
    verdict,
    with_tables,
)

FOLDER = ROOT / "tools" / "benchmarks"


def main(arguments: list[str] | None = None) -> int:
    """Run, print, write; 1 where a benchmark failed."""
    options = _parser().parse_args(arguments)
    if options.worker:
        return _work(options)
    if options.page:
        _write_page()
        return 0
    known = sorted(path.stem for path in FOLDER.glob("*.py"))
    for name in options.only or []:
        if name not in known:
            raise SystemExit(f"--only {name}: there is no such benchmark; there are {', '.join(known)}")
    names = options.only or known
    found: dict[str, dict[str, Any]] = {}
    for name in names:
        print(f"{name} ...", file=sys.stderr, flush=True)
        made = _run(name, options.device, options.threads)
        if made is not None:
            found[name] = made
    for name, made in found.items():
        _print(name, made["rows"])
    if found:
        _write(found, options.device, options.output)
    failed = [name for name in names if name not in found]
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bench_self", description="Run the benchmarks kept in the repository.")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"], help="what to measure (default: cpu)")
    parser.add_argument(
        "--only", action="append", metavar="NAME", help="only this file of tools/benchmarks; repeatable"
    )
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="CPU threads (default: 1)")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="write the JSON here and no page")
    parser.add_argument("--page", action="store_true", help="only write docs/performance.md from the committed files")
    parser.add_argument("--worker", metavar="NAME", help=argparse.SUPPRESS)
    return parser


def _run(name: str, device: str, threads: int) -> dict[str, Any] | None:
    """One benchmark in a process of its own; None where it failed, its error has been printed."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rows.json"
        command = [sys.executable, str(Path(__file__).resolve()), "--worker", name, "--device", device]
        limits = {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
        started = time.monotonic()
        done = subprocess.run([*command, "--threads", str(threads), "-o", str(file)], env={**os.environ, **limits})
        if done.returncode != 0 or not file.is_file():
            return None
        return json.loads(file.read_text()) | {"wall_seconds": round(time.monotonic() - started, 1)}


def _work(options: argparse.Namespace) -> int:
    """In the process of one benchmark: its rows, and where they were made, as JSON."""
    path = FOLDER / f"{options.worker}.py"
    spec = importlib.util.spec_from_file_location(options.worker, path)
    if spec is None or spec.loader is None:
        raise SystemExit(f"{path}: cannot be loaded")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    rows = [checked_row(row) for row in module.rows(options.device)]
    from bench.env import hardware, provenance

    facts = provenance(options.device)
    commit = str(facts["git_commit"] or "unknown")[:12] + ("+" if facts["git_dirty"] else "")
    made = {
        "rows": rows, "hardware": hardware(facts), "torch": facts["torch_build"], "threads": facts["threads"],
        "commit": commit, "packages": facts["packages"], "python": facts["python"],
    }  # fmt: skip
    options.output.write_text(json.dumps(made))
    return 0


def _print(name: str, rows: list[dict[str, Any]]) -> None:
    print(f"\n{name}")
    for row in rows:
        low, high = row["ratio_low"], row["ratio_high"]
        interval = "" if low is None or high is None else f" [{low:.3g}, {high:.3g}]"
        answer = {"yes": "reached", "no": "MISSED", "": ""}[verdict(row)]
        target = f"  target {row['target']} {answer}" if row["target"] else ""
        text = f"{row['what']} ({row['case']})" if row["case"] else row["what"]
        print(f"  {text} / {row['baseline']}: {row['ratio']:.3g}{interval}{target}")


def _write(found: dict[str, dict[str, Any]], device: str, output: Path | None) -> None:
    hardware = next(iter(found.values()))["hardware"]
    path = output or RESULTS / f"{slug(hardware)}.json"
    old = json.loads(path.read_text()) if path.is_file() and output is None else None
    results = merged(old, {"schema": SCHEMA, "hardware": hardware, "device": device, "benchmarks": found})
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(results_text(results), encoding="utf-8")
    print(f"\nWritten:\n  {path}")
    if output is None:
        _write_page()


def _write_page() -> None:
    PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8"), page_tables(read_results())), encoding="utf-8")
    print(f"  {PAGE}")


if __name__ == "__main__":
    raise SystemExit(main())
