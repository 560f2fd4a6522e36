from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from bench.records import RecordWriter, StorageError, read_record
from bench.records.line import decode
from bench.records.reader import damaged_since_begin

ROOT = Path(__file__).parents[2]


def write_example(path: Path) -> bytes:
    with RecordWriter(path) as writer:
        writer.append("begin", schema=1, run_id="0" * 16, spec={"seed": 3}, labels={"method": "gödel"})
        for epoch in range(3):
            writer.append("epoch", epoch=epoch, train_loss=1 / (epoch + 3), test={"top1": 0.1 * epoch})
        writer.append("end", status="ok", reason="", seconds=1.5)
    return path.read_bytes()


def test_lines_come_back_in_order(tmp_path):
    write_example(tmp_path / "deep" / "folder" / "train.jsonl")
    lines, torn, damaged = read_record(tmp_path / "deep" / "folder" / "train.jsonl")
    assert [line["kind"] for line in lines] == ["begin", "epoch", "epoch", "epoch", "end"]
    assert lines[2] == {"kind": "epoch", "epoch": 1, "train_loss": 0.25, "test": {"top1": 0.1}}
    assert not torn
    assert damaged == []


def test_every_truncation_is_read_and_continued(tmp_path):
    path = tmp_path / "train.jsonl"
    content = write_example(path)
    whole = read_record(path).lines
    for length in range(len(content) + 1):
        path.write_bytes(content[:length])
        lines, torn, damaged = read_record(path)
        complete = (
            content[: length + 1].count(b"}\n")
            if content[length : length + 1] == b"\n"
            else content[:length].count(b"\n")
        )
        assert lines == whole[:complete], length
        left_over = length > 0 and content[length - 1 : length] != b"\n" and content[length : length + 1] != b"\n"
        assert (torn, damaged) == (left_over, []), length
        with RecordWriter(path) as writer:
            writer.append("note", text="after")
        again = read_record(path)
        assert again.lines == [*whole[:complete], {"kind": "note", "text": "after"}], length
        assert again[1:] == (False, [complete + 1] if left_over else []), length


def test_random_bit_flips_are_detected(tmp_path):
    path = tmp_path / "train.jsonl"
    content = write_example(path)
    whole = read_record(path).lines
    chooser = random.Random(20260102)
    for _ in range(400):
        altered = bytearray(content)
        flips = {
            (chooser.randrange(len(content)), chooser.randrange(8)) for _ in range(chooser.choice([1, 1, 1, 2, 3]))
        }
        for position, bit in flips:
            altered[position] ^= 1 << bit
        path.write_bytes(altered)
        lines, torn, damaged = read_record(path)
        assert all(line in whole for line in lines)
        if bytes(altered).rstrip(b"\n") == content.rstrip(b"\n"):
            continue
        assert torn or damaged, flips
        assert len(lines) < len(whole), flips


def test_random_bytes_never_raise(tmp_path):
    path = tmp_path / "train.jsonl"
    chooser = random.Random(7)
    for length in (0, 1, 5, 64, 4096):
        path.write_bytes(chooser.randbytes(length))
        lines, torn, damaged = read_record(path)
        assert lines == []
        assert torn or damaged or length == 0


def test_a_missing_file_has_no_lines_but_an_unreadable_one_is_an_error(tmp_path):
    assert read_record(tmp_path / "none.jsonl") == ([], False, [])
    with pytest.raises(StorageError, match=r"^cannot read .*: Is a directory$"):
        read_record(tmp_path)


def test_a_refused_value_leaves_the_file_as_it_was(tmp_path):
    path = tmp_path / "train.jsonl"
    with RecordWriter(path) as writer:
        writer.append("epoch", epoch=0)
        before = path.read_bytes()
        with pytest.raises(TypeError):
            writer.append("epoch", epoch=object())
        assert path.read_bytes() == before
        writer.append("epoch", epoch=1)
    assert [line["epoch"] for line in read_record(path).lines] == [0, 1]


def test_a_path_that_cannot_be_written_is_one_clear_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"^cannot open .*train\.jsonl: (Not a directory|File exists)$"):
        RecordWriter(tmp_path / "file" / "train.jsonl")


def test_each_line_is_on_the_disk_when_append_returns(tmp_path, monkeypatch):
    synced: list[int] = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda descriptor: (synced.append(os.fstat(descriptor).st_size), real(descriptor)))
    path = tmp_path / "train.jsonl"
    with RecordWriter(path) as writer:
        synced.clear()
        for epoch in range(3):
            writer.append("epoch", epoch=epoch)
            assert synced[-1] == path.stat().st_size
        assert len(synced) == 3


def test_no_space_left_loses_no_finished_line(tmp_path):
    """A file-size limit stops a write halfway, as a full disk does; writing goes on once there is space."""
    path = tmp_path / "train.jsonl"

    program = """
import resource, signal, sys
from pathlib import Path
from bench.records import RecordWriter, StorageError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
with RecordWriter(Path(sys.argv[1])) as writer:
    count = 0
    try:
        while True:
            writer.append("epoch", epoch=count, text="x" * 100)
            count += 1
    except StorageError as error:
        print(count, error)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    writer.append("end", status="error")
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True, cwd=ROOT
    )
    count, message = done.stdout.strip().split(" ", 1)
    assert message == f"cannot write {path}: File too large"
    lines, torn, damaged = read_record(path)
    assert [line.get("epoch") for line in lines] == [*range(int(count)), None]
    assert int(count) > 3
    assert lines[-1] == {"kind": "end", "status": "error"}
    assert not torn
    assert damaged == [int(count) + 1]


def test_a_killed_writer_leaves_only_finished_lines(tmp_path):
    path = tmp_path / "train.jsonl"
    program = """
import sys, itertools
from pathlib import Path
from bench.records import RecordWriter
with RecordWriter(Path(sys.argv[1])) as writer:
    for epoch in itertools.count():
        writer.append("epoch", epoch=epoch)
        if epoch == 20:
            print("go", flush=True)
"""
    with subprocess.Popen([sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE, cwd=ROOT) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"go\n"
        child.kill()
    lines, _, damaged = read_record(path)
    assert damaged == []
    assert [line["epoch"] for line in lines] == list(range(len(lines)))
    assert len(lines) >= 21


def test_the_example_in_the_schema_is_a_valid_line():
    text = (ROOT / "results" / "README.md").read_text()
    example = next(line for line in text.splitlines() if line.startswith('{"kind"'))
    assert decode(example.encode()) == {"kind": "diagnostic", "name": "example", "value": 0.5}


def test_damage_after_the_last_begin_makes_a_finished_record_doubtful(tmp_path):
    path = tmp_path / "eval-clean-1.jsonl"
    with RecordWriter(path) as writer:
        writer.append("begin", digest="d")
        writer.append("metric", name="nll", value=1.0, detail={})
        writer.append("end", status="ok")
    assert not damaged_since_begin(path)
    content = path.read_bytes()
    path.write_bytes(content.replace(b"1.0", b"2.0"))
    assert damaged_since_begin(path)
    with RecordWriter(path) as writer:
        writer.append("begin", digest="d")
        writer.append("metric", name="nll", value=1.0, detail={})
        writer.append("end", status="ok")
    assert not damaged_since_begin(path)
    path.write_bytes(content[:-3])
    assert damaged_since_begin(path)
    assert not damaged_since_begin(tmp_path / "none.jsonl")
