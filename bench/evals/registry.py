"""Which evaluators there are, read from source without importing them, and arms: an evaluator with its settings."""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import annotated_types
from pydantic import BaseModel, ConfigDict, create_model

from bench.config.validation import validated
from bench.config.yaml_file import YamlFile, read_yaml
from bench.errors import BadInput, nearest
from bench.evals.ood_ops.names import set_identity
from bench.spec import canonical_json

if TYPE_CHECKING:
    from bench.evals.api import Evaluator

SPEED_SETTINGS = {"batch_size"}
PATH_SETTINGS = {"files"}
"""Settings that say how fast or where, not what."""
CONTENT_SETTINGS = {"boxes"}
"""Settings that name a small file, which counts by its content."""
SET_SETTINGS = {"near", "far"}
"""Settings that list image sets, some of them folders: these count by name and files, not by place."""
_FOLDER = Path(__file__).parent
_TYPES: dict[str, Any] = {
    **{name: getattr(annotated_types, name) for name in ("Ge", "Gt", "Le", "Lt")},
    **{kind.__name__: kind for kind in (bool, int, float, str, tuple)},
    "Annotated": Annotated,
    "Literal": Literal,
}


@dataclass(frozen=True)
class EvaluatorFacts:
    """One evaluator; name is the file's stem, settings a pydantic model of the constructor's keywords, needs the method
    labels of which it wants another run's network."""

    name: str
    version: str
    title: str
    class_name: str
    path: Path
    settings: type[BaseModel]
    needs: tuple[str, ...] = ()


@dataclass(frozen=True)
class EvalArm:
    """A file of configs/eval: an evaluator with all its settings, defaults filled in."""

    name: str
    title: str
    evaluator: str
    version: str
    settings: dict[str, Any]

    @property
    def digest(self) -> str:
        """16 hex digits of what decides the numbers: evaluator, version, settings.

        Recorded numbers may be continued only where it is equal. Neither batch_size nor the place of files is in it,
        nor a setting marked Annotated[..., "neutral"], added later, at its default.
        """
        fields = evaluator_facts(self.evaluator).settings.model_fields
        neutral = {key for key, field in fields.items() if "neutral" in field.metadata}
        settings = {
            key: value
            for key, value in self.settings.items()
            if key not in SPEED_SETTINGS and not (key in neutral and value == fields[key].default)
        }
        settings |= {key: settings[key] is not None for key in PATH_SETTINGS & settings.keys()}
        settings |= {key: _content(settings[key]) for key in CONTENT_SETTINGS & settings.keys()}
        settings |= {key: [set_identity(text) for text in settings[key]] for key in SET_SETTINGS & settings.keys()}
        plain = {"evaluator": self.evaluator, "version": self.version, "settings": settings}
        return hashlib.blake2b(canonical_json(plain).encode(), digest_size=8).hexdigest()

    @property
    def needs(self) -> tuple[str, ...]:
        """Method labels of which the evaluator wants another run's network."""
        return evaluator_facts(self.evaluator).needs

    def build(self) -> Evaluator:
        """The evaluator itself. BadInput where settings do not go together."""
        facts = evaluator_facts(self.evaluator)
        module = importlib.import_module(f"bench.evals.{self.evaluator}")
        return getattr(module, facts.class_name)(**self.settings)


def evaluator_names() -> list[str]:
    """Stems of the files in this folder that hold an evaluator."""
    return sorted(_all_facts())


def evaluator_facts(name: str) -> EvaluatorFacts:
    """Facts of one evaluator; BadInput with the nearest name when there is none."""
    known = _all_facts()
    if name not in known:
        raise BadInput(f"unknown evaluator '{name}'; {nearest(name, known)}")
    return known[name]


def read_arm(path: Path) -> EvalArm:
    """An arm from its YAML file: `evaluator: NAME` and settings. BadInput names file, line and key."""
    return arm_from(read_yaml(path))


def arm_from(file: YamlFile) -> EvalArm:
    """An arm from the values of a YAML file; its name is the file's stem."""
    values = dict(file.values)
    title = values.pop("title", None)
    name = values.pop("evaluator", None)
    if not isinstance(name, str):
        raise BadInput(f"{file.path}: needs 'evaluator: NAME'; NAME is one of {', '.join(evaluator_names())}")
    if name not in _all_facts():
        raise BadInput(f"{file.where('evaluator')}: unknown evaluator '{name}'; {nearest(name, _all_facts())}")
    facts = _all_facts()[name]
    settings = validated(facts.settings, values, file.where)
    return EvalArm(file.path.stem, str(title or facts.title), name, facts.version, settings.model_dump())


def _content(given: str | None) -> str | None:
    """A digest of a file's content; None without a file, "missing" where it cannot be read."""
    if given is None:
        return None
    try:
        return hashlib.blake2b(Path(given).expanduser().read_bytes(), digest_size=8).hexdigest()
    except OSError:
        return "missing"


@functools.lru_cache(maxsize=1)
def _all_facts() -> dict[str, EvaluatorFacts]:
    found: dict[str, EvaluatorFacts] = {}
    for path in sorted(_FOLDER.glob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
        for node in tree.body:
            bases = (
                [base.id for base in node.bases if isinstance(base, ast.Name)] if isinstance(node, ast.ClassDef) else []
            )
            if isinstance(node, ast.ClassDef) and "Evaluator" in bases:
                found[path.stem] = _facts(path, node)
    return found


def _facts(path: Path, node: ast.ClassDef) -> EvaluatorFacts:
    words = {
        item.target.id: ast.literal_eval(item.value)
        for item in node.body
        if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name) and item.value is not None
        if item.target.id in ("version", "title", "needs")
    }
    fields: dict[str, Any] = {}
    init = next((item for item in node.body if isinstance(item, ast.FunctionDef) and item.name == "__init__"), None)
    if init is not None:
        for argument, default in zip(init.args.kwonlyargs, init.args.kw_defaults, strict=True):
            if argument.annotation is None or default is None:
                raise BadInput(f"{path}:{argument.lineno}: setting '{argument.arg}' needs a type and a default")
            code = compile(ast.Expression(argument.annotation), str(path), "eval")
            fields[argument.arg] = (eval(code, {"__builtins__": {}}, _TYPES), ast.literal_eval(default))
    config = ConfigDict(strict=True, extra="forbid", frozen=True)
    settings: type[BaseModel] = create_model(f"{path.stem} settings", __config__=config, **fields)
    version, title = words.get("version", "1"), words.get("title", path.stem)
    return EvaluatorFacts(path.stem, version, title, node.name, path, settings, words.get("needs", ()))
