"""Which files a result depends on, and that the digest follows them."""

from __future__ import annotations

from pathlib import Path

import pytest

import bench
import methods
from bench import sources
from bench.config.catalogue import method_facts, method_names
from bench.sources import file_source_digest, import_closure, method_source_digest

METHODS = Path(methods.__path__[0]).resolve()
EVALS = Path(bench.__path__[0]).resolve() / "evals"


def names(file: Path) -> set[str]:
    return {path.relative_to(METHODS.parent).as_posix() for path in import_closure(file)}


def test_a_method_depends_on_itself_its_operations_and_the_contract():
    found = names(METHODS / "alignmix.py")
    assert {"methods/alignmix.py", "methods/api.py", "methods/ops/sinkhorn.py", "methods/ops/keys.py"} <= found
    assert "methods/ops/boxes.py" not in found
    assert "methods/mixup.py" not in found


def test_an_evaluator_depends_on_what_it_imports_from_evals():
    found = names(EVALS / "clean.py")
    assert {"bench/evals/clean.py", "bench/evals/api.py", "bench/evals/measures.py"} <= found
    assert "bench/evals/fgsm.py" not in found


def test_methods_have_different_digests():
    digests = [method_source_digest(method_facts(name).path) for name in method_names()]
    assert len(set(digests)) == len(digests)


def test_line_ends_do_not_matter_and_content_does(tmp_path):
    unix, windows, other = (tmp_path / name / "m.py" for name in ("a", "b", "c"))
    for path, text in ((unix, b"x = 1\n"), (windows, b"x = 1\r\n"), (other, b"x = 2\n")):
        path.parent.mkdir()
        path.write_bytes(text)
    assert file_source_digest(unix) == file_source_digest(windows) != file_source_digest(other)


def test_the_harness_part_covers_the_trainer(monkeypatch):
    files = {path.name for path in sources._harness_files()}
    assert {"training.py", "optimizer.py", "adapter.py", "resident.py", "rng.py"} <= files


def test_relative_imports_and_a_strangers_package_are_followed(tmp_path):
    package = tmp_path / "theirs"
    (package / "parts").mkdir(parents=True)
    for folder in (package, package / "parts"):
        (folder / "__init__.py").write_text("")
    (package / "parts" / "masks.py").write_text("from methods.ops.keys import Key\n")
    (package / "more.py").write_text("")
    method = package / "mine.py"
    method.write_text("from .parts.masks import f\nfrom theirs import more\nimport torch\n")
    names = {path.name for path in import_closure(method)}
    assert names == {"mine.py", "masks.py", "more.py", "keys.py"}


@pytest.mark.parametrize("name", method_names())
def test_no_method_imports_another_or_the_harness(name):
    """Method files know api and ops only; import-linter cannot be told without listing each new method."""
    for path in import_closure(METHODS / f"{name}.py"):
        relative = path.relative_to(METHODS).as_posix()
        assert relative in (f"{name}.py", "api.py") or relative.startswith("ops/"), relative
