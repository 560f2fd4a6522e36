from __future__ import annotations

import io
import json
import os
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.cli.main import main
from bench.verify import Problem, Verdict, arrays, verify_records
from bench.verify.lines import read_lines
from tests.unit.submission import IMAGES, rewrite, submitted_spec, write_submission, write_submitted


@pytest.fixture(scope="module")
def faultless(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("submission") / "records"
    write_submission(root)
    return root


@pytest.fixture
def root(faultless, tmp_path) -> Path:
    return Path(shutil.copytree(faultless, tmp_path / "records"))


def attempt_of(root: Path) -> Path:
    spec = submitted_spec()
    return next((root / spec.run_id).iterdir())


def said(root: Path) -> str:
    return "\n".join(map(str, verify_records(root).problems))


def test_a_faultless_submission_has_no_problem_and_no_note(faultless, capsys):
    verdict = verify_records(faultless)
    assert (verdict.problems, verdict.told, verdict.runs) == ([], [], 2)
    assert main(["verify", str(faultless)]) == 0
    assert capsys.readouterr().out == "2 run(s), 0 problem(s)\n"
    assert main(["verify", str(faultless.parent)]) == 0


def test_every_flipped_byte_of_every_record_is_found(root):
    for path in sorted(root.rglob("*.jsonl")):
        content = path.read_bytes()
        for place in range(len(content)):
            mask = 1 + place % 255
            path.write_bytes(content[:place] + bytes([content[place] ^ mask]) + content[place + 1 :])
            assert read_lines(path, "x").problems, (path.name, place, mask)
        path.write_bytes(content)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_damage_of_any_kind_is_found(faultless, data):
    paths = sorted(faultless.rglob("*.jsonl"))
    path = data.draw(st.sampled_from(paths))
    content = path.read_bytes()
    place = data.draw(st.integers(0, len(content) - 1))
    kind = data.draw(st.sampled_from(["flip", "cut", "insert", "drop"]))
    changed = {
        "flip": lambda: content[:place] + bytes([content[place] ^ data.draw(st.integers(1, 255))]) + content[place + 1 :],
        "cut": lambda: content[: max(1, place)],
        "insert": lambda: content[:place] + data.draw(st.binary(min_size=1, max_size=3)) + content[place:],
        "drop": lambda: content[:place] + content[place + 1 :],
    }[kind]()  # fmt: skip
    target = faultless.parent / "damaged.jsonl"
    target.write_bytes(changed)
    found = read_lines(target, "x")
    before = read_lines(path, "x")
    whole_lines = changed.endswith(b"\n") and content.startswith(changed)
    if not found.problems:
        assert whole_lines or [one.fields for one in found.lines] == [one.fields for one in before.lines]


def epoch(lines, number):
    return next(line for line in lines if line["kind"] == "epoch" and line["epoch"] == number)


def of(lines, kind):
    return next(line for line in lines if line["kind"] == kind)


TRAINING = {
    "top1 above 1": (lambda x: epoch(x, 2)["test"].update(top1=1.5), "train.jsonl:3: test top1 1.5 is outside [0, 1]"),
    "top1 null": (lambda x: epoch(x, 2)["test"].update(top1=None), "test top1 None is outside [0, 1]"),
    "top1 as text": (lambda x: epoch(x, 2)["test"].update(top1="0.9"), "test top1 '0.9' is outside [0, 1]"),
    "no count": (lambda x: epoch(x, 2)["test"].update(top1=0.751), "is no whole number of 40 images"),
    "nll": (lambda x: epoch(x, 2)["test"].update(nll=-0.1), "impossible test nll -0.1"),
    "nan loss": (lambda x: epoch(x, 1).update(train_loss=float("nan")), "the training loss of a run that ended ok"),
    "images": (lambda x: epoch(x, 2)["test"].update(n=80), "test n 80, but 40 in an earlier epoch"),
    "no images": (lambda x: epoch(x, 1)["test"].update(n=0), "test n 0 is no number of images"),
    "no test": (lambda x: epoch(x, 2).update(test=None), "the last epoch has no test accuracy"),
    "out of order": (lambda x: [x[0], x[2], x[1], *x[3:]], "train.jsonl:2: epoch 2 stands where epoch 1 belongs"),
    "epoch missing": (lambda x: x[:1] + x[2:], "epoch 2 stands where epoch 1 belongs"),
    "last epoch missing": (lambda x: x[:2] + x[3:], "ended ok after 1 of 2 epochs"),
    "too many epochs": (lambda x: [*x[:3], {**x[2], "epoch": 3}, *x[3:]], "epoch 3 of 2"),
    "learning rate": (lambda x: epoch(x, 1).update(learning_rate=-1), "impossible learning rate -1"),
    "status": (lambda x: of(x, "end").update(status="great"), "the status 'great' is none of ok,"),
    "two begins": (lambda x: [x[0], *x], "train.jsonl:2: a second `begin`"),
    "no begin": (lambda x: x[1:], "train.jsonl:1: the first line is no `begin`"),
    "after the end": (lambda x: [*x, x[1]], "train.jsonl:6: a line after the end"),
    "other kind": (lambda x: [*x, {"kind": "metric"}], "a line of the kind 'metric' does not belong here"),
    "goes on from nowhere": (lambda x: [*x[:2], {**x[0], "kind": "resume", "epoch": 7}, *x[2:]], "goes on after epoch 7"),
    "other spec": (lambda x: of(x, "begin")["spec"].update(seed=5), "the spec gives the run id"),
    "other id": (lambda x: of(x, "begin").update(run_id="0" * 16), ", not '0000000000000000'"),
    "labels": (lambda x: of(x, "begin")["labels"].update(method="erm"), "the labels are not those of the spec"),
    "no data digest": (lambda x: of(x, "begin")["spec"]["data"].update(digest=None), "the spec has no data.digest"),
    "unknown key": (lambda x: of(x, "begin")["spec"].update(more=1), "the spec is not valid: more:"),
    "schema": (lambda x: of(x, "begin").update(schema=7), "train.jsonl:1: record schema 7; this version reads 1"),
    "hidden parameter": (
        lambda x: of(x, "begin")["spec"]["method"].update(neutral={"alpha": of(x, "begin")["spec"]["method"]["parameters"]["alpha"]}),
        "says that 'alpha' = 1.0 is a neutral default, which it is not",
    ),
    "parameter": (lambda x: of(x, "begin")["spec"]["method"]["parameters"].update(alpha=-3.0), "parameter alpha:"),
    "planned": (lambda x: of(x, "begin").update(planned=[7]), "the planned seeds do not name the run's own seed"),
    "diagnostic": (lambda x: of(x, "diagnostic").update(value=float("inf")), "a diagnostic needs a name and a finite value"),
}  # fmt: skip


@pytest.mark.parametrize("name", TRAINING)
def test_training_lines_that_cannot_be(root, name):
    change, expected = TRAINING[name]
    rewrite(attempt_of(root) / "train.jsonl", change)
    assert expected in said(root)


def metric(lines, name):
    return next(line for line in lines if line.get("name") == name)


EVALUATIONS = {
    "ece above 1": ("clean", lambda x: metric(x, "brier").update(name="ece_15", value=1.2), "ece_15 1.2 is outside [0, 1]"),
    "top1 not that of the last epoch": ("clean", lambda x: metric(x, "top1").update(value=0.9),
                                        "eval-clean-1.jsonl:2: top1 0.9, but 0.75 after the last epoch"),
    "nan": ("clean", lambda x: metric(x, "top1").update(value=float("nan")), "top1 is nan, which cannot be"),
    "nll": ("clean", lambda x: metric(x, "nll").update(value=-1.0), "nll -1.0 is below 0"),
    "brier": ("clean", lambda x: metric(x, "brier").update(value=2.5), "brier 2.5 is outside [0, 2]"),
    "text": ("clean", lambda x: metric(x, "nll").update(value="low"), "nll is 'low', which is no number"),
    "version": ("clean", lambda x: of(x, "begin").update(version="99"), "the file of this evaluation is eval-clean-99.jsonl"),
    "evaluator": ("clean", lambda x: of(x, "begin").update(evaluator="cleaner"), "unknown evaluator 'cleaner'"),
    "digest": ("clean", lambda x: of(x, "begin").update(digest="0" * 16), "the settings have the digest"),
    "settings": ("clean", lambda x: of(x, "begin")["settings"].update(split="validation"), "the settings have the digest"),
    "bad settings": ("clean", lambda x: of(x, "begin")["settings"].update(batch_size=0), "setting batch_size:"),
    "two values": ("clean", lambda x: [*x, {**metric(x, "top1"), "value": 0.7}], "top1 {} a second time, with another value"),
    "no begin": ("clean", lambda x: x[1:], "eval-clean-1.jsonl:1: the first line is no `begin`"),
    "severity missing": ("digits-corruptions", lambda x: x[:1] + x[2:], "1 of 5 corruptions are missing, first gaussian_noise 3"),
    "extra severity": ("digits-corruptions", lambda x: [*x[:-1], {**x[1], "detail": {"corruption": "contrast", "severity": 9}}, x[-1]],
                       "1 corruptions are not in the settings, first contrast 9"),
    "mean": ("digits-corruptions", lambda x: metric(x, "corruption_top1_mean").update(value=0.6),
             "corruption_top1_mean 0.6, but the recorded ones have 0.500000"),
}  # fmt: skip


@pytest.mark.parametrize("name", EVALUATIONS)
def test_evaluations_that_cannot_be(root, name):
    evaluator, change, expected = EVALUATIONS[name]
    rewrite(attempt_of(root) / f"eval-{evaluator}-1.jsonl", change)
    assert expected in said(root)


def test_a_version_that_is_not_known_here(root):
    folder = attempt_of(root)
    rewrite(folder / "eval-clean-1.jsonl", lambda lines: of(lines, "begin").update(version="99"))
    (folder / "eval-clean-1.jsonl").rename(folder / "eval-clean-99.jsonl")
    assert "clean version 99; this version has 1" in said(root)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b'{"kind":"end","kind":"end","status":"ok"', "is not one JSON object in the form that mixbench writes"),
        (b'{"kind":"end", "status":"ok"', "is not one JSON object in the form that mixbench writes"),
        (b'{"kind":"end","value":' + b"[" * 100_000, "is not one JSON object in the form that mixbench writes"),
        (b'{"kind":"end","value":' + b"9" * 10_000, "is not one JSON object in the form that mixbench writes"),
        (b'{"kind":"end","value":NaN', "is not one JSON object in the form that mixbench writes"),
        (b'{"kind":"end","value":"' + b"x" * 5_000_000, "the line has more than 4194304 bytes"),
    ],
)
def test_lines_in_another_form_with_a_right_checksum(tmp_path, text, expected):
    import zlib

    path = tmp_path / "x.jsonl"
    path.write_bytes(text + b',"crc":"%08x"}\n' % zlib.crc32(text))
    assert [str(one) for one in read_lines(path, "x.jsonl").problems] == [f"x.jsonl:1: {expected}"]


def test_runs_that_disagree_about_the_same_data(root, tmp_path):
    other = submitted_spec(seed=2)
    other = other.model_copy(update={"data": other.data.model_copy(update={"digest": "another"})})
    write_submitted(root, other, (2,))
    assert "its data digest are not those of" in said(root)
    fewer = tmp_path / "fewer"
    shutil.copytree(root, fewer)
    shutil.rmtree(fewer / other.run_id)
    path = attempt_of(fewer) / "predictions.npz"
    found = dict(np.load(path))
    swapped = {name: np.roll(array, 1) for name, array in found.items()}
    np.savez_compressed(path, **swapped)
    assert "its labels are not those of" in said(fewer)


def test_copies_and_what_is_told_but_no_fault(root):
    folder = attempt_of(root)
    shutil.copytree(folder, folder.with_name("20270102T000000.000000Z-0000000f"))
    assert "is a copy of" in said(root)
    shutil.rmtree(folder.with_name("20270102T000000.000000Z-0000000f"))
    rewrite(folder / "train.jsonl", lambda lines: of(lines, "begin").update(source_digest="other"))
    rewrite(folder / "eval-clean-1.jsonl", lambda lines: lines[:-1])
    verdict = verify_records(root)
    assert verdict.problems == []
    assert ["was made with another version of the source" in one.text or "not finished" in one.text for one in verdict.told] == [True, True]  # fmt: skip


def test_an_unfinished_run_is_told(root):
    rewrite(attempt_of(root) / "train.jsonl", lambda lines: lines[:-2])
    verdict = verify_records(root)
    assert verdict.problems == []
    assert [one.text for one in verdict.told] == ["the run is incomplete"]


def test_nothing_outside_is_read_and_nothing_hostile_is_opened(root, tmp_path):
    folder = attempt_of(root)
    secret = tmp_path / "secret.jsonl"
    secret.write_text("secret")
    (folder / "eval-far-1.jsonl").symlink_to(secret)
    (root / ("0" * 16)).symlink_to(tmp_path, target_is_directory=True)
    os.mkfifo(folder / "eval-pipe-1.jsonl")
    (folder / "checkpoint.pt").write_bytes(b"\x80\x04")
    (folder / "run.sh").write_text("")
    (folder / "deep" / "deeper").mkdir(parents=True)
    (root / "notes.txt").write_text("")
    with (folder / "eval-big-1.jsonl").open("wb") as file:
        file.truncate(65 * 2**20)
    problems = {one.file.rsplit("/", 1)[-1]: one.text for one in verify_records(root).problems}
    assert problems["eval-far-1.jsonl"] == problems["0" * 16] == "is a link; submit the file itself"
    assert problems["eval-pipe-1.jsonl"] == "is neither file nor folder"
    assert problems["checkpoint.pt"].startswith("may hold a pickle")
    assert problems["run.sh"] == "is no file of a record"
    assert problems["deep"].startswith("is a folder inside an attempt")
    assert problems["notes.txt"] == "does not lie in <run id>/<attempt>/"
    assert "more than the 67108864 that are read" in problems["eval-big-1.jsonl"]
    assert len(problems) == 8


def npz(path: Path, **members: bytes) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)


def npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def parts() -> dict[str, np.ndarray]:
    labels = (np.arange(IMAGES) % 10).astype(np.uint8)
    return {"top1": labels, "labels": labels, "probability": np.full(IMAGES, 0.5, np.float16)}


def test_predictions_that_do_not_fit_or_are_hostile(root, monkeypatch):
    path = attempt_of(root) / "predictions.npz"
    good = parts()

    def given(**changes: bytes) -> str:
        npz(path, **{**{name: npy(array) for name, array in good.items()}, **changes})
        return said(root)

    assert "40 of 40 right, but the last epoch's top1 says 30" in given()
    assert "39 images, but the last epoch was measured on 40" in given(
        **{name: npy(one[:39]) for name, one in good.items()}
    )
    assert "probabilities outside [0, 1]" in given(probability=npy(np.full(IMAGES, np.nan, np.float16)))
    wrong = (good["labels"] + 1) % 10
    sure = npy(np.full(IMAGES, 0.9, np.float16))
    assert "more than half of the probability, and another answer" in given(top1=npy(wrong), probability=sure)
    objects = io.BytesIO()
    np.save(objects, np.array([print] * IMAGES, dtype=object), allow_pickle=True)
    assert "top1 holds objects" in given(top1=objects.getvalue())
    huge = npy(good["top1"]).replace(b"(40,), }" + b" " * 11, b"(4" + b"0" * 12 + b",), }")
    assert len(huge) == len(npy(good["top1"]))
    assert "not the bytes that its header asks for" in given(top1=huge)
    assert "does not hold exactly the arrays" in given(more=npy(good["top1"]))
    assert "classes are not uint8 or uint16" in given(top1=npy(good["top1"].astype(np.float32)))
    monkeypatch.setattr(arrays, "LARGEST_ARRAY", 100)
    assert "more than the 100 that are read" in given()
    path.write_bytes(b"PK\x03\x04 no archive")
    assert "predictions.npz: cannot be read (BadZipFile)" in said(root)


def test_weights_that_are_no_safetensors(root):
    path = attempt_of(root) / "weights.safetensors"
    content = path.read_bytes()
    for changed, expected in (
        (content[:-4], "tensors do not fill it"),
        (b"\xff" * 8 + content[8:], "its header is too large"),
        (b"\x80\x04pickle", "is no safetensors file"),
        (b"", "is no safetensors file"),
        (content.replace(b"[0,8]", b"[0,4]"), "tensors overlap or leave gaps"),
    ):
        path.write_bytes(changed)
        assert expected in said(root), expected


def test_timing_sessions_that_cannot_be(root):
    [path] = (root / "speed").iterdir()
    original = path.read_bytes()
    for change, expected in (
        (lambda x: of(x, "sample").update(seconds=0.0), "impossible step time 0.0"),
        (lambda x: of(x, "sample").update(round=1), "is no round, or there a second time"),
        (lambda x: of(x, "sample").update(arm="other"), "which no `arm` line names"),
        (lambda x: of(x, "arm").update(passes_per_step=-1), "impossible passes_per_step -1"),
        (lambda x: of(x, "begin").pop("hardware") and None, "does not say its hardware"),
        (lambda x: x[1:], "needs one `begin`"),
    ):
        path.write_bytes(original)
        rewrite(path, change)
        assert expected in said(root), expected


def test_exit_codes_json_and_names_that_would_speak_to_a_terminal(root, tmp_path, capsys):
    (attempt_of(root) / "evil\x1b[31m\nname").write_text("")
    assert main(["verify", str(root)]) == 1
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert len(out.splitlines()) == 2
    assert "evil\\x1b[31m\\x0aname: is no file of a record" in out
    assert main(["verify", str(root), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["runs"], len(found["problems"]), found["told"]) == (2, 1, [])
    (tmp_path / "empty").mkdir()
    for name in ("empty", "nowhere"):
        assert main(["verify", str(tmp_path / name)]) == 2
    assert "no such folder" in capsys.readouterr().err
    assert str(Problem("a", 3, "x" * 1000)).endswith("x...")
    assert Verdict().problems == []
