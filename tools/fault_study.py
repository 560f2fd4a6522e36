"""Kill sweeps at random moments and look at what is left: records, finished runs, tables.

    python -m tools.fault_study quick --kills 200 --work FOLDER -o results/reference/fault-study/quick.json
    python -m tools.fault_study real --kills 20 --work FOLDER -o results/reference/fault-study/real.json

A round is one suite in an empty folder, started again after every death until it ends with exit code 0. Each time a
target is drawn, the sweep's process or one of its workers, and a moment, uniform over half of the processor time that
an undisturbed sweep takes, so that the load of the machine does not matter; there it gets SIGKILL. `quick` forks its
processes from one that has imported everything and saves checkpoints 20 times a second; `real` starts them as a shell
would. After every death all records are read, and what was finished before has to be there, byte for byte; after every
round the tables have to be those of an undisturbed sweep. The figures are written after every round, and the same
command goes on from there. Exit code 1 where anything was lost.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import json
import os
import platform
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from bench.records import Store, read_record
from tools.forked_processes import PIDS, fork_mixbench

SUITE = """
title: faults
data: digits
backbone: test_resnet
protocol: faults
methods: [erm, mixup, recursivemix]
seeds: 2
evals: [clean]
speed: none
set:
  data.train_per_class: 3
  data.resolution: 16
"""
PROTOCOL = "epochs: 2\nbatch_size: 10\noptimizer: adamw\nlearning_rate: 1e-3\nevaluate_every: 2\n"
ARGUMENTS = ["run", "faults", "--no-figures", "--workers", "2", "--threads", "1", "--device", "cpu"]
CHECKPOINT_SECONDS = 0.05
LONGEST_LIFE = 600.0
CLOCK_STEP = 0.02


@dataclass
class Figures:
    """What has been seen so far. deaths: kills that hit a living process, by target."""

    kind: str
    seed: int
    undisturbed_processor_seconds: float = 0.0
    rounds: int = 0
    starts: int = 0
    deaths: dict[str, int] = field(default_factory=lambda: {"sweep": 0, "worker": 0})
    runs_finished: int = 0
    runs_resumed: int = 0
    records_read: int = 0
    torn_lines: int = 0
    half_written_files_left: int = 0
    problems: list[str] = field(default_factory=list[str])
    machine: str = f"{platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}"


class Life:
    """One process of `mixbench run` with its workers."""

    def __init__(self, kind: str, folder: Path) -> None:
        self._folder, self._forked = folder, kind == "quick"
        (folder / PIDS).write_text("")
        self._process: subprocess.Popen[bytes] | None = None
        if self._forked:
            self.pid = fork_mixbench(ARGUMENTS, folder, CHECKPOINT_SECONDS)
        else:
            command = [sys.executable, "-P", "-m", "bench.cli", *ARGUMENTS]
            with (folder / "life.txt").open("ab") as printed:
                self._process = subprocess.Popen(command, cwd=folder, stdout=printed, stderr=printed)
            self.pid = self._process.pid
        self.code: int | None = None
        self._used: dict[int, float] = {}

    def ended(self) -> bool:
        """Whether the sweep's process is gone; `code` is then its exit code."""
        if self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.code = os.waitstatus_to_exitcode(status)
                if self._process is not None:
                    self._process.returncode = self.code
        return self.code is not None

    def workers(self) -> list[int]:
        """Ids of the workers that live."""
        if self._forked:
            pids = [int(line) for line in (self._folder / PIDS).read_text().splitlines() if line.strip()]
        else:
            tasks = Path(f"/proc/{self.pid}/task").glob("*/children")
            pids = [int(pid) for task in tasks for pid in _text(task).split()]
        return [pid for pid in pids if _text(Path(f"/proc/{pid}/stat")).rpartition(")")[2][1:2] not in ("", "Z")]

    def wait(self, processor_seconds: float = float("inf")) -> None:
        """Until the sweep's process is gone, or it and its workers have used so much time since this call."""
        end, goal = time.monotonic() + LONGEST_LIFE, self.processor_seconds() + processor_seconds
        while not self.ended() and self.processor_seconds() < goal:
            if time.monotonic() > end:
                raise SystemExit(f"{self._folder}: the sweep hangs")
            time.sleep(0.005)

    def processor_seconds(self) -> float:
        """What the sweep's process and its workers, dead ones too, have used so far."""
        for pid in (self.pid, *self.workers()):
            fields = _text(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()
            if len(fields) > 12:
                self._used[pid] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        return sum(self._used.values())


class Study:
    """The rounds of one kind, with their figures."""

    def __init__(self, kind: str, seed: int, work: Path, output: Path) -> None:
        self.work, self.output = work, output
        self.figures = Figures(kind, seed)
        if output.is_file():
            self.figures = Figures(**json.loads(output.read_text())["figures"])
        self.tables: dict[str, list[dict[str, str]]] = {}

    def run(self, kills: int) -> Figures:
        """Go on until that many kills have hit."""
        self._undisturbed()
        while sum(self.figures.deaths.values()) < kills and not self.figures.problems:
            self._round(random.Random(f"{self.figures.seed} {self.figures.rounds}"), kills)
            self.figures.rounds += 1
            self._write()
        return self.figures

    def _undisturbed(self) -> None:
        folder = self._folder("undisturbed")
        life = Life(self.figures.kind, folder)
        life.wait()
        if life.code != 0:
            raise SystemExit(f"the undisturbed sweep ended with {life.code}: {_text(folder / 'life.txt')[-2000:]}")
        self.figures.undisturbed_processor_seconds = life.processor_seconds()
        self.tables = _tables(folder)

    def _round(self, draws: random.Random, kills: int) -> None:
        folder, figures = self._folder("round"), self.figures
        finished: dict[Path, bytes] = {}
        code = None
        while code != 0:
            life = Life(figures.kind, folder)
            figures.starts += 1
            self._disturb(life, draws, kills)
            life.wait()
            code = life.code
            if code not in (0, 3, -signal.SIGKILL):
                figures.problems.append(f"round {figures.rounds}: a sweep ended with {code}")
                return
            self._read_records(folder, finished)
        self._check_round(folder, finished)

    def _disturb(self, life: Life, draws: random.Random, kills: int) -> None:
        """Kill at drawn moments until the sweep's process is gone or there were kills enough."""
        deaths = self.figures.deaths
        while sum(deaths.values()) < kills:
            target = draws.choice(("sweep", "worker"))
            life.wait(draws.uniform(0, self.figures.undisturbed_processor_seconds / 2))
            time.sleep(draws.uniform(0, CLOCK_STEP))
            if life.ended():
                return
            pids = [life.pid] if target == "sweep" else life.workers()
            if pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(draws.choice(pids), signal.SIGKILL)
                    deaths[target] += 1

    def _read_records(self, folder: Path, finished: dict[Path, bytes]) -> None:
        """Every record can be read, and what was finished is as it was."""
        where = f"round {self.figures.rounds}"
        for path, content in finished.items():
            if not path.is_file() or path.read_bytes() != content:
                self.figures.problems.append(f"{where}: {path} was finished and is lost or altered")
        for record in Store(folder / "results" / "local" / "records").runs():
            self.figures.records_read += 1
            if record.status == "ok":
                path = record.folder / "train.jsonl"
                finished[path] = path.read_bytes()

    def _check_round(self, folder: Path, finished: dict[Path, bytes]) -> None:
        figures, where = self.figures, f"round {self.figures.rounds}"
        store = Store(folder / "results" / "local" / "records")
        for record in store.runs():
            if record.status != "ok":
                figures.problems.append(f"{where}: {record.run_id} is {record.status}")
            lost = [f"{name} {problem}" for name in record.files if (problem := record.file_problem(name))]
            figures.problems += [f"{where}: {record.run_id}: {text}" for text in lost]
            figures.runs_finished += 1
        for path in store.root.glob("*/*/*.jsonl"):
            lines = read_record(path)
            figures.torn_lines += len(lines.damaged) + lines.torn
            figures.runs_resumed += path in finished and any(line["kind"] == "resume" for line in lines.lines)
        figures.half_written_files_left += len(list(store.root.glob("*/*/.*")))
        if len(store.runs()) != len(self.tables["accuracy"]) * 2:
            figures.problems.append(f"{where}: {len(store.runs())} runs")
        for name, rows in _tables(folder).items():
            if rows != self.tables[name]:
                figures.problems.append(f"{where}: table {name} is not that of the undisturbed sweep")

    def _folder(self, name: str) -> Path:
        """An empty folder with the suite in it."""
        folder = self.work / self.figures.kind / name
        shutil.rmtree(folder, ignore_errors=True)
        for path, text in (("suite", SUITE), ("protocol", PROTOCOL)):
            (folder / "configs" / path).mkdir(parents=True)
            (folder / "configs" / path / "faults.yaml").write_text(text)
        return folder

    def _write(self) -> None:
        self.output.parent.mkdir(parents=True, exist_ok=True)
        content = {"schema": "mixbench-fault-study/1", "figures": asdict(self.figures)}
        self.output.write_text(json.dumps(content, indent=1) + "\n")


def _tables(folder: Path) -> dict[str, list[dict[str, str]]]:
    """Every CSV table, without the digests of the records, which hold times."""
    found: dict[str, list[dict[str, str]]] = {}
    for path in sorted((folder / "results" / "local" / "tables" / "faults").glob("*.csv")):
        with path.open(newline="") as file:
            found[path.stem] = [_without(row, "records") for row in csv.DictReader(file)]
    return found


def _without(row: dict[str, str], column: str) -> dict[str, str]:
    return {name: value for name, value in row.items() if name != column}


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _lines(figures: Figures) -> Iterator[str]:
    yield f"{figures.kind}: {sum(figures.deaths.values())} kills that hit ({figures.deaths}), {figures.starts} starts"
    yield f"  {figures.rounds} rounds, {figures.runs_finished} runs finished, {figures.runs_resumed} of them resumed"
    yield f"  {figures.torn_lines} torn lines read over, {figures.half_written_files_left} half-written files left"
    yield f"  {len(figures.problems)} problems" + "".join(f"\n    {problem}" for problem in figures.problems)


def main(arguments: list[str] | None = None) -> int:
    """Run the study; 1 where anything was lost."""
    parser = argparse.ArgumentParser(description="Kill sweeps at random moments and look at what is left.")
    parser.add_argument("kind", choices=["quick", "real"])
    parser.add_argument("--kills", type=int, required=True)
    parser.add_argument("--seed", type=int, default=20260102)
    parser.add_argument("--work", type=Path, required=True, help="folder for the sweeps")
    parser.add_argument("-o", "--output", type=Path, required=True, help="JSON of the figures")
    options = parser.parse_args(arguments)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    if options.kind == "quick":
        import bench.cli.run_command
        import bench.run.worker  # noqa: F401 - imported here once, for all that is forked
    figures = Study(options.kind, options.seed, options.work.resolve(), options.output).run(options.kills)
    print("\n".join(_lines(figures)))
    return 1 if figures.problems else 0


if __name__ == "__main__":
    raise SystemExit(main())
