"""Show the gate on trees of known health: `python tools/gate_demonstration.py FOLDER [--publish]`.

Works on a clone of this checkout's last commit. Makes a baseline of thirty seeds of docs/examples/gate-digits.yaml,
then sends thirty trees through `mixbench gate accuracy --run`, each with five seeds of its own: ten unchanged ones,
ten in which one method file swaps lam and 1 - lam in its loss, ten in which CutMix keeps the lam that it drew although
its box was clipped. Everything lies in FOLDER and is done once: stopped, the tool goes on where it was. About 300 runs
of 6 CPU seconds. --publish copies the baseline to results/baselines, the outcome to results/reference, and writes the
tables of docs/gate.md; with --collect it does so with the answers that there are, and the tables tell how many.

All trees share one store of records. A run counts for a tree only if its source digest is the tree's, so unchanged
methods of a faulty tree, whose digests are those of the clone, are not trained again.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
from tools.gate_demonstration_tables import BASELINE, LAST_LOOK, OUTCOME, PAGE, PLANNED, SUBTLE, collected, with_tables  # noqa: E402

SUITE = "docs/examples/gate-digits.yaml"
METHODS = ("erm", "mixup", "cutmix")
BASE_SEEDS = 30
MARGIN = 3
ALPHA = 0.01
MACHINE = ("--device", "cpu", "--workers", "1", "--threads", "1")
DIGESTS = """
import json, sys
from pathlib import Path
import methods
from bench.sources import method_source_digest
folder = Path(methods.__path__[0])
digests = {name: method_source_digest(folder / f"{name}.py") for name in sys.argv[1:]}
print(json.dumps({"folder": str(folder.resolve()), "digests": digests}))
"""


@dataclass(frozen=True)
class Fault:
    """What makes a tree faulty: pieces of one method's file, each found once, and what replaces them."""

    method: str
    edits: tuple[tuple[str, str], ...]


_SWAP = (("batch.labels, permutation, lam)", "batch.labels, permutation, 1 - lam)"),)
FAULTS = {
    "swapped mixup": Fault("mixup", _SWAP),
    "swapped cutmix": Fault("cutmix", _SWAP),
    SUBTLE: Fault(
        "cutmix",
        (
            ('tensors={"box": box,', 'tensors={"lam": draw_lam(key, self.alpha), "box": box,'),
            ("batch.labels, permutation, lam)", 'batch.labels, permutation, draws["lam"])'),
        ),
    ),
}
SWAPPED = ("swapped mixup", "swapped cutmix")


@dataclass(frozen=True)
class Study:
    """One tree's way through the gate. name: "unchanged" or one of FAULTS. number: which of its seeds, from 0."""

    name: str
    number: int

    @property
    def seeds(self) -> list[int]:
        """The five seeds that the gate may use, in order."""
        first = BASE_SEEDS + LAST_LOOK * self.number
        return list(range(first, first + LAST_LOOK))


def studies() -> list[Study]:
    """All thirty; the method whose lam is swapped goes round."""
    return [
        Study(name, number)
        for number in range(PLANNED)
        for name in ("unchanged", SWAPPED[number % len(SWAPPED)], SUBTLE)
    ]


class Demonstration:
    """The folder of one demonstration: `tree`, `trees/<fault>`, `results`, `baseline.json`, `outcomes`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.baseline = folder / "baseline.json"

    def tree(self, name: str) -> Path:
        """The source tree of that name, made when it is not there."""
        healthy = self.folder / "tree"
        if not healthy.exists():
            partial = self.folder / "tree.partial"
            shutil.rmtree(partial, ignore_errors=True)
            subprocess.run(["git", "clone", "--quiet", str(ROOT), str(partial)], check=True)
            partial.rename(healthy)
        if name == "unchanged":
            return healthy
        path = self.folder / "trees" / name.replace(" ", "-")
        if not path.exists():
            partial = path.with_name(path.name + ".partial")
            shutil.rmtree(partial, ignore_errors=True)
            shutil.copytree(healthy, partial, ignore=shutil.ignore_patterns("__pycache__", "results"))
            plant(FAULTS[name], partial)
            partial.rename(path)
        return path

    def digests(self, name: str) -> dict[str, str]:
        """Source digest of each method in a tree, as its own code computes it."""
        found = json.loads(self._python(name, "-c", DIGESTS, *METHODS))
        expected = self.tree(name).resolve() / "methods"
        if Path(found["folder"]) != expected:
            raise SystemExit(f"{expected}: another copy of the package is imported, {found['folder']}")
        return found["digests"]

    def train(self, name: str, methods: Sequence[str], seeds: Sequence[int], store: str = "results") -> None:
        """Train what is missing of these runs."""
        names, numbers = ",".join(methods), ",".join(map(str, seeds))
        self.mixbench(
            name, "run", SUITE, "--no-figures", *MACHINE, "--results", str(self.folder / store),
            "--set", f"methods=[{names}]", "--set", f"seeds=[{numbers}]",
        )  # fmt: skip

    def accept(self) -> None:
        """Make the baseline."""
        if self.baseline.is_file():
            return
        store = str(self.folder / "baseline")
        self.mixbench("unchanged", "run", SUITE, "--no-figures", *MACHINE, "--results", store)
        self.mixbench(
            "unchanged", "gate", "accept", SUITE, "--results", store, "--baseline", str(self.baseline),
            "--margin", str(MARGIN), "--alpha", str(ALPHA),
            "--reason", "thirty seeds of the example suite, for the demonstration of the gate",
        )  # fmt: skip

    def answer(self, study: Study) -> Path:
        """Where the gate's answer about a tree lies."""
        return self.folder / "outcomes" / f"{study.number:02d}-{study.name.replace(' ', '-')}.json"

    def gate(self, study: Study) -> dict[str, Any]:
        """The gate's answer, from the file where it is there already."""
        path = self.answer(study)
        if not path.is_file():
            partial = path.with_suffix(".partial")
            self.mixbench(
                study.name, "gate", "accuracy", "--baseline", str(self.baseline), "--run", *MACHINE,
                "--results", str(self.folder / "results"), "--json", str(partial),
                "--set", f"seeds=[{','.join(map(str, study.seeds))}]", fine=(0, 1, 3),
            )  # fmt: skip
            partial.rename(path)
        return json.loads(path.read_text(encoding="utf-8"))

    def mixbench(self, name: str, *arguments: str, fine: Sequence[int] = (0,)) -> None:
        """Call the command of a tree. Ends the tool where the exit code is not one of `fine`."""
        self._python(name, "-m", "bench.cli", *arguments, fine=fine)

    def _python(self, name: str, *arguments: str, fine: Sequence[int] = (0,)) -> str:
        tree = self.tree(name)
        environment = {**os.environ, "PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            [sys.executable, "-P", *arguments], cwd=tree, env=environment, capture_output=True, text=True
        )
        if done.returncode not in fine:
            raise SystemExit(f"{' '.join(arguments)}\nended with {done.returncode}: {done.stderr.strip()[-2000:]}")
        return done.stdout


def plant(fault: Fault, tree: Path) -> None:
    """Edit the method's file of a tree. ValueError where a piece is not in it exactly once."""
    path = tree / "methods" / f"{fault.method}.py"
    text = path.read_text(encoding="utf-8")
    for old, new in fault.edits:
        if text.count(old) != 1:
            raise ValueError(f"{path.name}: {old!r} is there {text.count(old)} times, not once")
        text = text.replace(old, new)
    path.write_text(text, encoding="utf-8")


def first_seeds(name: str) -> list[int]:
    """The seeds of each of a tree's first looks, which are trained together to start fewer processes."""
    return [study.seeds[0] for study in studies() if study.name == name]


def carry_out(work: Demonstration) -> Iterator[str]:
    """Do all that is missing, with a line about each step."""
    healthy = work.digests("unchanged")
    for name, fault in FAULTS.items():
        changed = {method for method, digest in work.digests(name).items() if digest != healthy[method]}
        if changed != {fault.method}:
            raise SystemExit(f"{name}: the fault changes the source digests of {sorted(changed)}")
    work.accept()
    yield "baseline ready"
    for name in ("unchanged", *FAULTS):
        work.train(name, [FAULTS[name].method] if name in FAULTS else METHODS, first_seeds(name))
        yield from _through_the_gate(work, [study for study in studies() if study.name == name])
    subtle = [seed for study in studies() if study.name == SUBTLE for seed in study.seeds]
    work.train(SUBTLE, [FAULTS[SUBTLE].method], subtle)
    yield "all seeds of the subtle fault trained, to measure what it costs"


def _through_the_gate(work: Demonstration, chosen: Sequence[Study]) -> Iterator[str]:
    for study in chosen:
        yield f"{study.number} {study.name}: {work.gate(study)['verdict']}"


def main(arguments: Sequence[str]) -> int:
    """Carry it out, and write FOLDER/outcome.json or, with --publish, the files of this checkout."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n", maxsplit=1)[0])
    parser.add_argument("folder", type=Path, help="where clones, records and answers go; outside this checkout")
    parser.add_argument("--publish", action="store_true", help="write baseline, outcome and tables into this checkout")
    parser.add_argument("--collect", action="store_true", help="train nothing, take the answers that are there")
    options = parser.parse_args(arguments)
    work = Demonstration(options.folder.resolve())
    (work.folder / "outcomes").mkdir(parents=True, exist_ok=True)
    for line in carry_out(work) if not options.collect else ():
        print(line, flush=True)
    answers = [(study.name, study.seeds, work.gate(study)) for study in studies() if work.answer(study).is_file()]
    digests = {name: work.digests(name) for name in ("unchanged", *FAULTS)}
    changed = {name: fault.method for name, fault in FAULTS.items()}
    counts = Counter(study.name for study in studies())
    made = collected(work.folder, answers, digests, changed, {name: counts[name] for name in digests})
    path = OUTCOME if options.publish else work.folder / "outcome.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(made, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    if options.publish:
        BASELINE.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(work.baseline, BASELINE)
        PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8"), made), encoding="utf-8")
    print(f"written: {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
