"""Tasks go to the worker that has their step compiled: how many compilations a sweep takes, on plans and real tasks."""

from __future__ import annotations

import itertools
import threading

import pytest

from bench.config.overrides import parse_set_options
from bench.config.suite import load_suite
from bench.records import Store
from bench.sweep.devices import plan_workers
from bench.sweep.executors.handout import Handout
from bench.sweep.options import Options
from bench.sweep.tasks import make_task
from bench.sweep.todo import find_todo, read_evals


def sweep(tasks: list[dict], speeds: list[float]) -> tuple[int, list[str]]:
    """Simulated: worker k takes speeds[k] seconds a task and compiles when a task's step is not the one that it did
    last; the number of compilations, and the tasks' names as they were handed out."""
    handout, compiled, order = Handout(tasks), 0, []
    free, kept = dict(enumerate([0.0] * len(speeds))), {}
    while free:
        worker = min(free, key=lambda each: (free[each], each))
        task = handout.take(worker)
        if task is None:
            del free[worker]
            continue
        order.append(task["name"])
        compiled += kept.get(worker) != task["step"]
        kept[worker] = task["step"]
        free[worker] += speeds[worker]
    assert sorted(order) == sorted(task["name"] for task in tasks)
    return compiled, order


def planned(arms: int, seeds: int) -> list[dict]:
    """As a suite plans them: seed by seed."""
    return [
        {"name": f"{arm}{seed}", "step": f"step of {arm}"}
        for seed, arm in itertools.product(range(seeds), "abcdefgh"[:arms])
    ]


@pytest.mark.parametrize("speeds", [[1.0], [1.0, 1.0], [1.0, 0.9], [0.7, 1.0]])
def test_two_arms_of_three_seeds_are_compiled_once_each(speeds):
    assert sweep(planned(2, 3), speeds)[0] == 2


def test_more_arms_than_workers_are_compiled_once_each():
    assert sweep(planned(4, 5), [1.0, 1.0])[0] == 4
    assert sweep(planned(4, 5), [1.0, 1.1])[0] <= 5


def test_no_worker_is_idle_for_the_sake_of_a_compilation():
    compiled, order = sweep(planned(1, 6), [1.0, 1.0, 1.0])
    assert compiled == 3
    assert order == ["a0", "a1", "a2", "a3", "a4", "a5"]
    assert sweep(planned(2, 6), [1.0, 100.0])[0] == 3  # the fast one helps the slow one in the end


def test_tasks_that_compile_nothing_come_in_their_order():
    tasks = [{"name": f"{number:02}", "step": None} for number in range(12)]
    assert sweep(tasks, [1.0, 0.7])[1] == [task["name"] for task in tasks]


def test_threads_that_ask_at_once_get_different_tasks():
    handout = Handout([{"name": str(number), "step": str(number % 3)} for number in range(300)])
    found: list[str] = []

    def work(worker: int) -> None:
        while (task := handout.take(worker)) is not None:
            found.append(task["name"])

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found, key=int) == [str(number) for number in range(300)]


@pytest.mark.parametrize("compiled", ["none", "aot_eager"])
def test_real_tasks_say_which_of_them_share_a_step(compiled, tmp_path, monkeypatch):
    monkeypatch.setenv("MIXBENCH_CACHE", str(tmp_path / "cache"))
    options = ["seeds=3", "methods=[erm,mixup]", "evals=[]", f"protocol.compile={compiled}"]
    suite, store = load_suite("quickstart", parse_set_options(options)), Store(tmp_path / "records")
    workers = plan_workers("cpu", 2, 1)
    tasks = [make_task(item, read_evals(suite), store, workers, Options("cpu")) for item in find_todo(suite, store)]
    assert len(tasks) == 6
    if compiled == "none":
        assert {task["step"] for task in tasks} == {None}
        return
    assert len({task["step"] for task in tasks}) == 2
    assert {(task["step"], task["spec"]["method"]["implementation"]) for task in tasks} == {
        (task["step"], task["spec"]["method"]["implementation"]) for task in tasks[:2]
    }
    assert sweep(tasks, [1.0, 0.9])[0] == 2
