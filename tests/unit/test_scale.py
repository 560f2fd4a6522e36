"""Work grows with the number of runs and no faster: files read, specs checked and digests made are counted."""

from __future__ import annotations

import gc
import shutil
import sys
from collections import Counter
from pathlib import Path

import pytest

from bench import sources
from bench import spec as spec_module
from bench.cli.main import main
from bench.cli.tables import suite_tables
from bench.config.overrides import parse_set_options
from bench.config.suite import load_suite
from bench.records import Store, summaries
from bench.records.summaries import Summaries
from bench.report import study
from bench.spec import MethodSpec, ProtocolSpec, Section, Spec
from bench.stats import comparison
from bench.sweep import data_facts, plan_disk
from bench.sweep.plan import make_plan
from bench.sweep.plan_disk import disk_of
from bench.sweep.state import run_states, time_left
from bench.sweep.todo import find_todo
from tools import folder_scale
from tools.synthetic_records import METHODS, write_records

ROWS, SEEDS = len(METHODS) * 4, 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("synthetic")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("MIXBENCH_CACHE", str(folder / "cache"))
        assert write_records(folder, ROWS * SEEDS, SEEDS, epochs=3) == ROWS * SEEDS
    return folder


@pytest.fixture
def work(folder, monkeypatch) -> Counter[str]:
    """How often each kind of work was done."""
    monkeypatch.setenv("MIXBENCH_CACHE", str(folder / "cache"))
    done: Counter[str] = Counter()

    def counted(owner, name, label=lambda *_: ""):
        original = getattr(owner, name)

        def wrapper(*arguments, **named):
            done[name + label(*arguments)] += 1
            return original(*arguments, **named)

        monkeypatch.setattr(owner, name, wrapper)

    counted(summaries, "read_bytes", lambda path: " " + Path(path).name.split("-")[0])
    counted(Section, "hashed")
    counted(MethodSpec, "hashed")
    counted(Spec, "model_validate")
    counted(ProtocolSpec, "model_validate")
    counted(sources, "import_closure")
    counted(sources, "_digest")
    counted(data_facts, "describe")
    counted(plan_disk, "_formula")
    counted(study, "paired_variance")
    counted(comparison, "paired_variance")
    sources.method_source_digest.cache_clear()
    sources.file_source_digest.cache_clear()
    data_facts._known.clear()
    return done


def suite_of(folder: Path, seeds: int):
    return load_suite(str(folder / "configs/suite/synthetic.yaml"), parse_set_options([f"seeds={seeds}"]))


def store_of(folder: Path) -> Store:
    store = Store(folder / "results" / "records")
    store.summaries = Summaries(settled_seconds=-1)
    return store


def files(folder: Path, prefix: str, runs: set[str]) -> int:
    return sum(path.parent.parent.name in runs for path in (folder / "results/records").rglob(f"{prefix}*"))


@pytest.mark.parametrize("seeds", [1, SEEDS])
def test_tables_read_each_file_once_and_make_digests_by_row(folder, work, seeds):
    suite, store = suite_of(folder, seeds), store_of(folder)
    runs = {item.spec.run_id for item in find_todo(suite, store)}
    tables = suite_tables(suite, store)
    assert len(runs) == ROWS * seeds
    assert len(tables.accuracy.rows) == ROWS
    for prefix in ("train", "eval", "predictions"):
        count = work[
            f"read_bytes {prefix}{'.jsonl' if prefix == 'train' else '.npz' if prefix == 'predictions' else ''}"
        ]
        assert count == files(folder, prefix, runs), prefix
    assert work["_digest"] <= len(METHODS) + 1
    assert work["import_closure"] <= len(METHODS) + 1
    assert work["hashed"] <= 3 * ROWS, "sections are shared by the seeds of a row"
    assert work["model_validate"] <= 5
    if seeds > 1:  # of one seed there is no variance to keep
        assert work["paired_variance"] == len(tables.study.cells), "it decomposes all runs of a cell"
    before = Counter(work)
    suite_tables(suite, store)
    assert {
        name: work[name] - before[name] for name in work if name.startswith("read_bytes") and work[name] != before[name]
    } == {}


def test_states_and_plans_of_a_suite(folder, work, monkeypatch):
    monkeypatch.setattr(plan_disk, "_weights", lambda _: 1000)
    suite, store = suite_of(folder, SEEDS), store_of(folder)
    todo = find_todo(suite, store)
    states = run_states(todo)
    time_left(states, suite.evals)
    plan = make_plan(todo, [], suite.evals, "erm", "64xH200", None, 1000.0)
    disk = disk_of(todo, 1)
    assert len(plan.costs) == disk.runs == ROWS * SEEDS
    assert work["describe"] == 1
    assert work["_formula"] == ROWS
    assert work["hashed"] <= 3 * ROWS
    assert work["read_bytes train.jsonl"] == files(folder, "train", {item.spec.run_id for item in todo})
    assert Counter(one.state for one in states)["failed"] >= 1


def test_the_synthetic_records_are_what_real_ones_look_like(folder):
    from bench.verify import verify_records

    verdict = verify_records(folder / "results" / "records")
    torn = [str(one) for one in verdict.problems]
    assert all("ends inside a line" in text or "text and checksum disagree" in text for text in torn)
    assert len(torn) == 2 * sum(1 for number in range(ROWS * SEEDS) if number % 200 == 4)
    assert [path.name for path in (folder / "results").iterdir()] == ["records"]


def test_what_commands_cost_is_measured_for_each_of_them(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MIXBENCH_CACHE", str(folder / "cache"))
    own = shutil.copytree(folder, tmp_path / "own")
    monkeypatch.setattr(sys, "argv", ["folder_scale", str(own), "--repeats", "1"])
    assert folder_scale.main() == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| `")]
    assert [line.split("`")[1].split()[0] for line in lines] == ["status", "status", "table", "report", "plan"]
    for line in lines:
        processor, wall, memory = (cell.split(" to ") for cell in line.strip("|").split("|")[1:])
        assert 0 < float(processor[0]) <= float(processor[-1])
        assert 0 < float(wall[0]) <= float(wall[-1])
        assert 30 < float(memory[0].replace(",", "")) < 3000
    assert (own / "report" / "index.html").is_file()
    assert (own / "results" / "tables" / "synthetic" / "tables.md").is_file()


def test_a_command_that_fails_is_told_and_ends_the_measurement(tmp_path):
    with pytest.raises(SystemExit, match=r"^mixbench status: exit 2\n.*synthetic\.yaml"):
        folder_scale.cost(tmp_path, ("status",))


def test_tables_look_at_each_file_of_a_run_a_fixed_number_of_times(folder, work, monkeypatch):
    suite, store = suite_of(folder, SEEDS), store_of(folder)
    suite_tables(suite, store)
    looked: Counter[str] = Counter()
    original = summaries.signature_of

    def counted(path):
        looked[str(path)] += 1
        return original(path)

    monkeypatch.setattr(summaries, "signature_of", counted)
    suite_tables(suite, store)
    most: dict[str, int] = {}
    for path, count in looked.items():
        most[kind] = max(most.get(kind := Path(path).name, 0), count)
    assert most == {"train.jsonl": 1, "predictions.npz": 1, "eval-clean-1.jsonl": 1}


def test_a_plan_copies_a_spec_once_a_run(folder, monkeypatch):
    copies: Counter[str] = Counter()
    original = Spec.with_seed
    monkeypatch.setattr(Spec, "with_seed", lambda self, seed: copies.update([self.arm]) or original(self, seed))
    suite = suite_of(folder, SEEDS)
    assert not copies
    todo = find_todo(suite, store_of(folder))
    assert len(copies) == ROWS
    assert set(copies.values()) == {SEEDS}
    assert [item.spec.seed for item in todo] == [planned.seed for planned in suite.planned]
    assert {item.spec.seed for item in todo} == set(range(SEEDS))


def test_ids_of_rows_and_cells_are_digested_once_a_row(folder, work, monkeypatch):
    digested: Counter[str] = Counter()
    original = spec_module._digest

    def counted(texts):
        digested["run" if "seed" in texts else "arm" if "method" in texts else "cell"] += 1
        return original(texts)

    monkeypatch.setattr(spec_module, "_digest", counted)
    suite, store = suite_of(folder, SEEDS), store_of(folder)
    todo = find_todo(suite, store)
    run_states(todo)
    suite_tables(suite, store)
    assert digested["run"] <= 2 * ROWS * SEEDS, "once for each of two plans"
    assert digested["arm"] <= 3 * ROWS
    assert digested["cell"] <= 3 * ROWS


def test_commands_search_for_cycles_only_where_they_draw_or_watch(folder, monkeypatch, capsys):
    searching: list[bool] = []
    monkeypatch.setattr("bench.cli.status_command.headline", lambda *_: searching.append(gc.isenabled()) or "")
    monkeypatch.setattr("bench.cli.table_command.suite_tables", lambda *_: searching.append(gc.isenabled()) or 1 / 0)
    monkeypatch.setenv("MIXBENCH_CACHE", str(folder / "cache"))
    suite, results = str(folder / "configs/suite/synthetic.yaml"), str(folder / "results")
    main(["status", suite, "--results", results, "--set", "seeds=1"])
    for figures in ([], ["--figures"]):
        with pytest.raises(ZeroDivisionError):
            main(["table", suite, "--results", results, "--set", "seeds=1", *figures])
    assert searching == [False, False, True]
    assert gc.isenabled()
