"""The repository's own benchmarks: the page is that of the committed numbers, and the runner keeps what it is told."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys

import numpy as np
import pytest
import torch

from tools import bench_self
from tools.benchmark_gpu import COMMAND, GPU_FIGURES, gpu_table
from tools.benchmark_results import (
    KEYS,
    PAGE,
    ROOT,
    checked_row,
    merged,
    page_tables,
    read_results,
    results_text,
    slug,
    verdict,
    with_tables,
)
from tools.interleaved import ratio_row, seconds_in_turns

ROW = {
    "what": "fast", "case": "B 1", "baseline": "slow", "ratio": 0.5, "ratio_low": 0.4, "ratio_high": 0.6,
    "seconds": 0.001, "target": "<= 0.6",
}  # fmt: skip


def test_the_page_is_that_of_the_committed_numbers():
    text = PAGE.read_text(encoding="utf-8")
    assert with_tables(text, page_tables(read_results())) == text


def test_the_committed_files_are_as_the_runner_writes_them():
    for path in (ROOT / "results" / "reference" / "benchmarks").glob("*.json"):
        results = json.loads(path.read_text(encoding="utf-8"))
        assert results_text(results) == path.read_text(encoding="utf-8")
        assert path.stem == slug(results["hardware"])
        for found in results["benchmarks"].values():
            assert [checked_row(row) for row in found["rows"]] == found["rows"]


def test_every_benchmark_file_has_a_function_rows():
    files = sorted((ROOT / "tools" / "benchmarks").glob("*.py"))
    assert {"import_time", "step_overhead", "training_epoch"} <= {path.stem for path in files}
    for path in files:
        assert re.search(r"^def rows\(device: str\)", path.read_text(encoding="utf-8"), re.MULTILINE), path


@pytest.mark.parametrize(
    ("ratio", "target", "wanted"),
    [
        (1.05, "<= 1.05", "yes"), (1.06, "<= 1.05", "no"), (8.0, ">= 8", "yes"), (7.9, ">= 8", "no"),
        (8.0, ">=8x", "yes"), (3.0, "", ""), (3.0, "as fast as can be", ""),
    ],
)  # fmt: skip
def test_verdicts(ratio, target, wanted):
    assert verdict({**ROW, "ratio": ratio, "target": target}) == wanted


def test_a_row_that_is_none_is_refused():
    assert set(checked_row(ROW)) == set(KEYS)
    assert checked_row({**ROW, "ratio": 1.23456789})["ratio"] == 1.23457
    with pytest.raises(ValueError, match="keys"):
        checked_row({key: value for key, value in ROW.items() if key != "target"})
    with pytest.raises(ValueError, match="fast: ratio and seconds"):
        checked_row({**ROW, "seconds": "soon"})


def results(device: str, **benchmarks) -> dict:
    made = {
        name: {"rows": rows, "torch": "2", "threads": 1, "commit": "c", "hardware": "H"}
        for name, rows in benchmarks.items()
    }
    return {"hardware": "H", "device": device, "benchmarks": made}


def test_what_no_gpu_has_measured_is_said_with_the_command_that_measures_it():
    page = page_tables([results("cpu", one=[ROW])])
    assert "| fast | B 1 | slow | 0.5 | 0.4 to 0.6 | <= 0.6 | yes | 0.001 |" in page
    assert f"`{COMMAND}`" in page
    assert page.count("| not measured |") == len(GPU_FIGURES)
    with_gpu = page_tables([results("cpu", one=[ROW]), results("cuda", one=[{**ROW, "ratio_low": None}])])
    assert with_gpu.count("| not measured |") == len(GPU_FIGURES)
    assert "| 0.5 |  | <= 0.6 |" in with_gpu


def test_the_command_for_a_gpu_runs_the_benchmarks_there():
    done = subprocess.run(
        ["make", "-n", "--no-print-directory", *COMMAND.split()[1:]],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    words = done.stdout.strip().splitlines()[-1].split()
    assert words[1:] == ["tools/bench_self.py", "--device", "cuda"]
    assert bench_self._parser().parse_args(words[2:]).device == "cuda"


def benchmark(name: str):
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / "benchmarks" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_figure_for_a_gpu_has_a_benchmark_that_answers_it():
    """By the targets and baselines that the benchmarks themselves give their rows on a GPU."""
    cuda = torch.device("cuda")
    sinkhorn, steps, overhead = benchmark("sinkhorn"), benchmark("mixing_step"), benchmark("step_overhead")
    epoch, augmix = benchmark("training_epoch"), benchmark("augmix")
    given = {
        "sinkhorn": [(base, sinkhorn._target(base, n, cuda)) for n in (16, 49)
                     for base in ("plain eager log loop", "POT one by one, NumPy", "POT one by one, torch")],
        "mixing_step": [(steps._baseline(name), steps._target(name, cuda)) for name in steps.METHODS[1:]]
                       + [("mixup step", steps.against_mixup(cuda, batch)) for batch in (128, 512)],
        "augmix": [("PIL", augmix._target("PIL", 32, cuda))],
        "training_epoch": [(epoch.GOAL, epoch.GOAL_TARGET)],
        "step_overhead": [("its forward, backward, optimiser", overhead._target(cuda)),
                          ("whole step", overhead._share_target(overhead.RESNET18, 512, cuda))],
    }  # fmt: skip
    rows = {
        name: [{**ROW, "baseline": base, "target": target, "ratio": number + 1.25} for number, (base, target) in pairs]
        for name, pairs in ((name, list(enumerate(pairs))) for name, pairs in given.items())
    }
    lines = [line for line in gpu_table([results("cuda", **rows)]) if line.startswith("|")][2:]
    assert len(lines) == len(GPU_FIGURES)
    assert not [line for line in lines if "not measured" in line]
    answered = [len(figure.rows({name: {"rows": found} for name, found in rows.items()})) for figure in GPU_FIGURES]
    assert answered == [2, 4, 2, 3, 1, 1, 1, 1, 1]
    assert "62,500" in lines[6]
    assert overhead._share_target(overhead.RESNET18, 512, torch.device("cpu")) == ""


def test_a_new_run_replaces_its_own_benchmark_and_no_other():
    old = results("cpu", one=[ROW], two=[ROW])
    new = results("cpu", two=[{**ROW, "ratio": 2.0}])
    both = merged(old, new)["benchmarks"]
    assert list(both) == ["one", "two"]
    assert (both["one"]["rows"][0]["ratio"], both["two"]["rows"][0]["ratio"]) == (0.5, 2.0)


def test_turns_rotate_and_ratios_are_within_a_round():
    order: list[str] = []
    clock = iter(np.random.default_rng(1).lognormal(0, 0.3, 27).tolist())

    def candidate(name: str):
        return lambda: (order.append(name), next(clock))[1]

    found = seconds_in_turns({name: candidate(name) for name in "abc"}, 9)
    assert "".join(order[:9]) == "abcbcacab"
    row = ratio_row("a", "", "b", found["a"], found["b"], "")
    ratios = np.sort(np.array(found["a"]) / np.array(found["b"]))
    assert row["ratio"] == pytest.approx(np.median(ratios))
    assert (row["ratio_low"], row["ratio_high"]) == pytest.approx((ratios[1], ratios[-2]))
    assert row["seconds"] == pytest.approx(np.median(found["a"]))
    assert ratio_row("a", "", "b", found["a"][:5], found["b"][:5])["ratio_low"] is None


def test_the_runner_starts_a_process_for_each_file_and_reports_failures(tmp_path):
    text = (
        "import os\ndef rows(device: str):\n"
        f"    return [{{**{ROW!r}, 'what': device, 'seconds': float(os.getpid())}}]\n"
    )
    folder = tmp_path / "benchmarks"
    folder.mkdir()
    (folder / "one.py").write_text(text)
    (folder / "two.py").write_text(text)
    (folder / "broken.py").write_text("def rows(device: str):\n    raise RuntimeError('no')\n")
    script = (
        "import sys, pathlib; sys.path.insert(0, sys.argv.pop(1)); from tools import bench_self;"
        "bench_self.FOLDER = pathlib.Path(sys.argv.pop(1)); bench_self.__file__ = sys.argv.pop(1);"
        "raise SystemExit(bench_self.main())"
    )
    starter = tmp_path / "starter.py"
    starter.write_text(
        f"import sys, pathlib\nsys.path.insert(0, {str(ROOT)!r})\nfrom tools import bench_self\n"
        f"bench_self.FOLDER = pathlib.Path({str(folder)!r})\nraise SystemExit(bench_self.main())\n"
    )
    output = tmp_path / "out.json"
    done = subprocess.run(
        [sys.executable, "-c", script, str(ROOT), str(folder), str(starter), "-o", str(output)],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1
    assert "failed: broken" in done.stderr
    found = json.loads(output.read_text())["benchmarks"]
    assert set(found) == {"one", "two"}
    assert found["one"]["rows"][0]["seconds"] != found["two"]["rows"][0]["seconds"]
    assert found["one"]["rows"][0]["what"] == "cpu"
    assert "cpu (B 1) / slow: 0.5 [0.4, 0.6]  target <= 0.6 reached" in done.stdout
