from __future__ import annotations

import json
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.records.line import decode, encode, intact

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
NAMES = st.text(min_size=1).filter(lambda name: name not in ("crc", "kind", "nonfinite"))


@settings(deadline=None, derandomize=True)
@given(st.dictionaries(NAMES, VALUES, max_size=5))
def test_any_json_value_survives_exactly(fields):
    raw = encode("thing", fields)
    assert raw.endswith(b"\n")
    assert raw.count(b"\n") == 1
    assert raw.isascii()
    assert decode(raw[:-1]) == {"kind": "thing", **fields}


def test_checksum_is_what_the_schema_says():
    text = encode("metric", {"value": 0.1, "name": "top1"}).decode()
    assert text.startswith('{"kind":"metric","name":"top1","value":0.1,"crc":"')
    body = text[: text.rindex(',"crc"')]
    assert json.loads(text)["crc"] == f"{zlib.crc32(body.encode()):08x}"


def test_same_fields_in_any_order_give_the_same_bytes():
    assert encode("a", {"x": {"q": 1, "p": 2}, "b": 3}) == encode("a", {"b": 3, "x": {"p": 2, "q": 1}})


def test_nonfinite_numbers_become_null_and_a_flag():
    fields = {"train_loss": float("nan"), "test": {"nll": float("inf")}, "raw": [1.0, float("-inf")]}
    line = decode(encode("epoch", fields)[:-1])
    assert line == {
        "kind": "epoch",
        "train_loss": None,
        "test": {"nll": None},
        "raw": [1.0, None],
        "nonfinite": {"train_loss": "nan", "test.nll": "inf", "raw.1": "-inf"},
    }


def test_numpy_scalars_are_written_as_numbers():
    line = decode(encode("x", {"a": np.float32(0.5), "b": np.int64(3), "c": np.array(2.0), "d": np.bool_(True)})[:-1])
    assert line == {"kind": "x", "a": 0.5, "b": 3, "c": 2.0, "d": True}
    assert decode(encode("x", {"a": np.float64("nan")})[:-1]) == {"kind": "x", "a": None, "nonfinite": {"a": "nan"}}


@pytest.mark.parametrize("name", ["crc", "nonfinite", "kind"])
def test_reserved_names_are_refused(name):
    with pytest.raises(ValueError, match=f"'{name}' is a reserved field"):
        encode("x", {name: 1})


@pytest.mark.parametrize("value", [object(), b"bytes", {1, 2}, np.zeros(2)])
def test_other_objects_are_refused_with_their_path(value):
    with pytest.raises(TypeError, match=r"deep\.inner: a record line holds JSON values"):
        encode("x", {"deep": {"inner": value}})


def test_every_flip_of_every_bit_is_detected():
    raw = bytearray(encode("epoch", {"epoch": 3, "test": {"top1": 0.91}, "train_loss": 1.25})[:-1])
    for position in range(len(raw)):
        for bit in range(8):
            raw[position] ^= 1 << bit
            assert not intact(bytes(raw))
            assert decode(bytes(raw)) is None
            raw[position] ^= 1 << bit
    assert decode(bytes(raw)) is not None


@pytest.mark.parametrize("body", [b"[1,2", b'{"x":1', b'{"kind":3', b'{"kind":"a",', b"[" * 100_000])
def test_a_right_checksum_over_something_else_is_no_line(body):
    assert decode(body + b',"crc":"%08x"}' % zlib.crc32(body)) is None
