"""YAML without surprises, and one clear line for every broken file."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.config.yaml_file import parse_scalar, read_yaml
from bench.errors import BadInput


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001), ("1.5E+2", 150.0), ("-.5", -0.5), ("010", 10), ("off", "off"), ("no", "no"), ("yes", "yes"),
        ("true", True), ("False", False), ("null", None), ("~", None), ("", None), ("2001-01-01", "2001-01-01"),
        ("1_000", "1_000"), ("0x10", "0x10"), ("12:30:45", "12:30:45"), (".inf", float("inf")), ("[a, 1]", ["a", 1]),
        ("'1'", "1"), ("-3", -3), ("+3", 3),
    ],
)  # fmt: skip
def test_scalars_follow_yaml_1_2(text, value):
    assert parse_scalar(text) == value
    assert type(parse_scalar(text)) is type(value)


def write(folder: Path, text: str | bytes) -> Path:
    path = folder / "file.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_lines_of_nested_keys(tmp_path):
    file = read_yaml(write(tmp_path, "a: 1\n\nb:\n  c: 2\n"))
    assert file.values == {"a": 1, "b": {"c": 2}}
    assert file.where("a").endswith(":1")
    assert file.where("b", "c").endswith(":4")
    assert file.where("b", "unknown").endswith(":3")
    assert file.where("unknown") == str(file.path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\na: 2\n", "file.yaml:2: 'a' stands twice (first on line 1)"),
        ("a:\n  b: 1\n  b: 2\n", "'a.b' stands twice"),
        ("- a\n- b\n", "must hold 'key: value' lines"),
        ("a: [1, 2\n", "is not valid YAML"),
        ("a: !!python/object/apply:os.system ['true']\n", "could not determine a constructor"),
        ("1: a\n", "a key must be a plain word"),
        (b"\xff\xfe\x00", "is not a UTF-8 text file"),
        ("a: \t- b\n\tc", "is not valid YAML"),
    ],
)
def test_broken_files_give_one_line(tmp_path, text, message):
    with pytest.raises(BadInput) as caught:
        read_yaml(write(tmp_path, text))
    assert message in str(caught.value)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(BadInput, match="cannot be read"):
        read_yaml(tmp_path / "none.yaml")
    with pytest.raises(BadInput, match="cannot be read"):
        read_yaml(tmp_path)


def test_an_empty_file_is_an_empty_mapping(tmp_path):
    assert read_yaml(write(tmp_path, "# nothing\n")).values == {}
