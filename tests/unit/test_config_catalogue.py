"""Reading methods without importing them."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys

import pytest

from bench.config.catalogue import method_facts, method_names, read_facts
from bench.errors import BadInput
from tools.method_cards import main as cards

GOOD = '''
from methods.api import Method
class Mine(Method):
    """One line.

    More."""
    version = "3"
    title = "Mine"
    def __init__(self, *, alpha: Annotated[float, Ge(0), Lt(2)] = 1.0, kind: Literal["a", "b"] = "a",
                 late: Annotated[float, "neutral"] = 0.0) -> None:
        pass
'''


def facts_of(tmp_path, text: str):
    path = tmp_path / "mine.py"
    path.write_text(text)
    return read_facts("mine", "mine", path)


def test_facts_and_parameters_are_read(tmp_path):
    facts = facts_of(tmp_path, GOOD)
    assert (facts.title, facts.version, facts.summary, facts.class_name) == ("Mine", "3", "One line.", "Mine")
    assert facts.parameters().model_dump() == {"alpha": 1.0, "kind": "a", "late": 0.0}
    assert facts.neutral == {"late": 0.0}
    for bad in ({"alpha": 2.0}, {"alpha": "1"}, {"kind": "c"}, {"beta": 1}):
        with pytest.raises(ValueError, match="validation error"):
            facts.parameters(**bad)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("class A: pass", "exactly one class derived from Method, found 0"),
        ("class A(Method): pass\nclass B(Method): pass", "found 2"),
        ("class A(Method):\n  def __init__(self, alpha: float = 1.0): pass", "as keywords, after"),
        ("class A(Method):\n  def __init__(self, *, alpha = 1.0): pass", "needs a type and a default"),
        ("class A(Method):\n  def __init__(self, *, alpha: float): pass", "needs a type and a default"),
        ("class A(Method):\n  def __init__(self, *, alpha: Tensor = 1.0): pass", "not 'Tensor'"),
        ("class A(Method):\n  def __init__(self, *, alpha: float = f()): pass", "must be a literal value"),
        ("class A(Method):\n  def __init__(self, *, alpha: (lambda: 1)() = 1): pass", "too complicated"),
        ("def broken(:", "is not valid Python"),
    ],
)
def test_a_file_that_breaks_the_rules_is_refused(tmp_path, text, message):
    with pytest.raises(BadInput) as caught:
        facts_of(tmp_path, text)
    assert message in str(caught.value)
    assert "mine.py" in str(caught.value)


@pytest.mark.parametrize("name", method_names())
def test_what_is_read_equals_what_is_imported(name):
    facts = method_facts(name)
    method_class = getattr(importlib.import_module(facts.module), facts.class_name)
    signature = inspect.signature(method_class.__init__).parameters
    expected = {key: value.default for key, value in signature.items() if key not in ("self", "args", "kwargs")}
    assert facts.parameters().model_dump() == expected
    for fact in ("version", "title", "paper", "family"):
        assert getattr(facts, fact) == getattr(method_class, fact)


def test_reading_imports_neither_torch_nor_timm():
    code = (
        "import sys; from bench.cli.main import main; main(['list', '-v']); main(['show', 'quickstart']); "
        "assert not {'torch', 'timm', 'pandas', 'scipy', 'matplotlib'} & set(sys.modules), 'heavy import'"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_tables_need_no_torch():
    code = (
        "import sys; import bench.report, bench.sweep.sweep, bench.cli.table_command; "
        "assert not {'torch', 'timm', 'matplotlib'} & set(sys.modules), 'heavy import'"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_method_cards_say_what_the_sources_say():
    assert cards(["--check"]) == 0
