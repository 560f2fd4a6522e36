"""What a timing session records: every round, in turns, with passes per step that are counted and not declared."""

from __future__ import annotations

import math

import pytest
import torch

from bench.data.open import open_data
from bench.records.speed import read_session
from bench.run.build import build_method
from bench.spec import BackboneSpec, DataSpec, Labels, MethodSpec, ProtocolSpec, Spec
from bench.speed.branches import find_branches, quotas
from bench.speed.energy import WINDOW_SECONDS, joules_counter, joules_per_image
from bench.speed.session import time_methods
from bench.speed.split import PHASES, split_step
from bench.speed.step_timer import MOST_WARMUPS, StepTimer
from bench.verify.lines import read_lines
from bench.verify.sessions import check_session

DATA = DataSpec(source="digits", resolution=32, channels=1, mean=(0.3,), std=(0.38,), train_per_class=2)
ARMS = {"erm": {}, "mixup": {}, "augmix": {}, "alignmix": {}}
BRANCHED = {"input_share": 0.5, "stage": 1}


def spec_of(name: str, epochs: int = 2, **parameters) -> Spec:
    return Spec(
        data=DATA,
        backbone=BackboneSpec(name="test_resnet"),
        protocol=ProtocolSpec(epochs=epochs, batch_size=10, learning_rate=0.01),
        method=MethodSpec(implementation=name, parameters=parameters or ARMS[name]),
        seed=0,
        labels=Labels(data="d", backbone="b", protocol="p", method=name),
    )


def timer_of(spec: Spec, steps: int = 4) -> StepTimer:
    return StepTimer(spec, build_method(spec.method), open_data(DATA, "cpu"), torch.device("cpu"), steps)


@pytest.fixture(scope="module")
def session_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("speed") / "s.jsonl"
    reports: list[dict] = []
    specs = [spec_of(name) for name in ARMS]
    time_methods(
        path,
        specs,
        lambda spec: build_method(spec.method),
        lambda: open_data(DATA, "cpu"),
        torch.device("cpu"),
        {"rounds": 4, "steps": 1, "warmup": 1, "reference": specs[0].arm, "series": "x"},
        {},
        reports.append,
    )
    assert [report["round"] for report in reports] == [0, 0, 0, 0, 1, 2, 3, 4, 5]
    return path


@pytest.fixture(scope="module")
def session(session_file):
    return read_session(session_file)


@pytest.fixture(scope="module")
def branched():
    return timer_of(spec_of("alignmix", epochs=30, **BRANCHED))


def test_every_method_is_timed_in_every_round_and_the_order_rotates(session):
    assert session.status == "ok"
    rounds = [[s["label"] for s in session.samples if s["round"] == number] for number in range(4)]
    assert rounds == [
        ["erm", "mixup", "erm (again)", "augmix"],
        ["mixup", "erm (again)", "augmix", "erm"],
        ["erm (again)", "augmix", "erm", "mixup"],
        ["augmix", "erm", "mixup", "erm (again)"],
    ]
    assert all(sample["seconds"] > 0 for sample in session.samples)


def test_the_reference_is_timed_twice_as_if_it_were_two_methods(session):
    (twin,) = [arm for arm in session.arms.values() if "twin_of" in arm]
    assert session.arms[twin["twin_of"]]["label"] == "erm"
    assert (twin["label"], twin["arm"]) == ("erm (again)", twin["twin_of"] + " (again)")


def test_the_record_passes_the_checks_for_submissions_and_keeps_its_settings_plain(session, session_file):
    assert list(check_session(read_lines(session_file, "s"))) == []
    assert session.begin["settings"] == {"rounds": 4, "steps": 1, "warmup": 1}
    assert session.begin["series"] == "x"
    assert "scaling" not in session.begin


def test_warm_up_is_recorded_block_by_block(session):
    for arm in session.arms.values():
        if "skipped" not in arm:
            warm = arm["warm_up"]
            last, before = warm["seconds"][-1], warm["seconds"][-2]
            assert warm["steady"] == (abs(last - before) <= 0.1 * before)
            assert 2 <= len(warm["seconds"]) <= MOST_WARMUPS + 1


def test_every_network_is_warmed_up_before_anything_is_timed(tmp_path, monkeypatch):
    """Two methods and the reference's second network; peak memory takes a round of its own on a GPU only."""
    done: list[str] = []

    def watched(name: str) -> None:
        true = getattr(StepTimer, name)
        monkeypatch.setattr(StepTimer, name, lambda timer, *given: (done.append(name), true(timer, *given))[1])

    watched("warm_up")
    watched("seconds_by_branch")
    specs = [spec_of("erm"), spec_of("mixup")]
    time_methods(
        tmp_path / "s.jsonl", specs, lambda spec: build_method(spec.method), lambda: open_data(DATA, "cpu"),
        torch.device("cpu"), {"rounds": 3, "steps": 1, "warmup": 1}, {}, lambda _: None,
    )  # fmt: skip
    assert done == ["warm_up"] * 3 + ["seconds_by_branch"] * 3 * 3


def test_warm_up_ends_at_the_first_two_blocks_that_agree(monkeypatch):
    timer = timer_of(spec_of("erm"))
    times = iter([5.0, 3.0, 2.0, 1.9, 1.0])
    monkeypatch.setattr(timer, "timed", lambda blocks: {"": next(times)})
    assert timer.warm_up(2) == (2, [5.0, 3.0, 2.0, 1.9], True)
    wild = iter([2.0**number for number in range(99)])
    monkeypatch.setattr(timer, "timed", lambda blocks: {"": next(wild)})
    seconds = timer.warm_up(2)
    assert (len(seconds.seconds), seconds.steady) == (MOST_WARMUPS + 1, False)


def test_a_split_of_each_round_is_kept_and_adds_up(session):
    for arm in session.arms.values():
        if "skipped" not in arm:
            assert set(arm["split"]) == set(PHASES)
            assert {len(seconds) for seconds in arm["split"].values()} == {3}
            assert all(second >= 0 for seconds in arm["split"].values() for second in seconds)


def test_time_spent_in_a_piece_stands_under_its_phase(monkeypatch):
    timer = timer_of(spec_of("mixup"))
    now = [0.0]
    monkeypatch.setattr("bench.speed.split.time.perf_counter", lambda: now[0])

    def slow(owner, name, seconds):
        piece = getattr(owner, name)

        def late(*arguments, **options):
            now[0] += seconds
            return piece(*arguments, **options)

        monkeypatch.setattr(owner, name, late)

    slow(timer, "next_batch", 1.0)
    slow(timer.training.method, "draw", 10.0)
    slow(timer.training.method, "views", 20.0)
    slow(timer.training.method, "loss", 300.0)
    slow(timer.training.optimizer, "step", 5000.0)
    seeding = "bench.train.training.seed_generators"
    monkeypatch.setattr(seeding, lambda seed, device: now.__setitem__(0, now[0] + 0.5))
    backward = torch.Tensor.backward
    monkeypatch.setattr(torch.Tensor, "backward", lambda *a, **k: (now.__setitem__(0, now[0] + 4e4), backward(*a, **k)))
    found = split_step(timer)
    assert found == {
        "data": 1.0, "mixing": 30.0, "forward": 300.0, "backward": 4e4, "optimiser": 5000.0, "other": 0.5,
    }  # fmt: skip
    assert "draws" not in vars(timer.training)


def test_passes_are_counted(session):
    passes = {arm["label"]: arm.get("passes_per_step") for arm in session.arms.values()}
    assert passes == {"erm": 1.0, "mixup": 1.0, "augmix": 3.0, "alignmix": None, "erm (again)": 1.0}


def test_passes_of_a_teacher_are_counted_too():
    """AutoMix: the trained network sees the images and their mix, the teacher the images and another mix."""
    assert timer_of(spec_of("automix", stage=1)).passes_per_step() == 4.0


def test_branches_and_their_shares_are_those_of_the_runs_own_draws(branched):
    training = branched.training
    shape = next(training.batches(0))[0][0]
    wanted: dict[str, int] = {}
    for epoch in range(30):
        for step in range(2):
            name = training.draws(epoch, step, 0, shape).branch
            wanted[name] = wanted.get(name, 0) + 1
    assert {name: round(60 * share, 9) for name, share in branched.shares.items()} == wanted
    assert set(wanted) == {"input", "to_first", "to_second"}
    for name, branch in find_branches(training, shape, most=20).items():
        assert all(training.draws(epoch, step, 0, shape).branch == name for epoch, step in branch.steps)
        assert len(branch.steps) == round(branch.share * 20)


def test_every_round_takes_every_branch_and_weighs_it_with_its_share(branched, monkeypatch):
    taken: list[str] = []
    draw = branched.training.method.draw

    def watched(key, shape):
        drawn = draw(key, shape)
        taken.append(drawn.branch)
        return drawn

    monkeypatch.setattr(branched.training.method, "draw", watched)
    for _ in range(3):
        assert set(branched.seconds_by_branch()) == set(branched.shares)
    assert {name: taken.count(name) for name in branched.quotas} == {n: 3 * c for n, c in branched.quotas.items()}
    assert sum(branched.quotas.values()) == 4
    value = branched.expected({"input": 1.0, "to_first": 100.0, "to_second": 1000.0})
    shares = branched.shares
    assert value == pytest.approx(shares["input"] + 100 * shares["to_first"] + 1000 * shares["to_second"])


@pytest.mark.parametrize(
    ("shares", "steps", "wanted"),
    [
        ({"": 1.0}, 5, [5]),
        ({"a": 0.5, "b": 0.25, "c": 0.25}, 4, [2, 1, 1]),
        ({"a": 0.5, "b": 0.25, "c": 0.25}, 8, [4, 2, 2]),
        ({"a": 0.9, "b": 0.1}, 1, [1, 1]),
        ({"a": 0.9, "b": 0.1}, 10, [9, 1]),
    ],
)
def test_quotas(shares, steps, wanted):
    assert list(quotas(shares, steps).values()) == wanted


def test_a_method_that_cannot_run_is_named_with_its_reason(session):
    skipped = {arm["label"]: arm["skipped"] for arm in session.arms.values() if "skipped" in arm}
    assert list(skipped) == ["alignmix"]
    assert "1x1" in skipped["alignmix"]


def test_what_was_not_measured_is_not_a_number(session):
    assert {arm.get("peak_memory") for arm in session.arms.values()} == {None}
    assert {arm.get("joules_per_image") for arm in session.arms.values()} == {None}
    assert joules_counter(torch.device("cpu")) is None
    assert session.begin["hardware"]


def test_joules_per_image_over_a_window_that_is_long_enough():
    clock = [100.0]

    def one_round() -> int:
        clock[0] += 3.0
        return 50

    found = joules_per_image(lambda: 7.0 + 200 * (clock[0] - 100.0), one_round, lambda: clock[0])
    rounds = math.ceil(WINDOW_SECONDS / 3.0)
    assert found == pytest.approx(200 * 3.0 * rounds / (50 * rounds))
