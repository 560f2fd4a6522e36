"""What methods there are, and their facts and parameters, read from source with `ast` and never imported."""

from __future__ import annotations

import ast
import functools
import importlib.metadata
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import annotated_types
from pydantic import BaseModel, ConfigDict, create_model

import methods
from bench.errors import BadInput, nearest

ENTRY_POINTS = "mixbench.methods"
NOT_METHODS = {"__init__", "api"}
CLASS_FACTS = ("version", "title", "paper", "family", "venue", "mixes", "proved")
_NAMES: dict[str, Any] = {
    **{name: getattr(annotated_types, name) for name in ("Ge", "Gt", "Le", "Lt")},
    "Annotated": Annotated,
    "Literal": Literal,
    "bool": bool,
    "int": int,
    "float": float,
    "str": str,
}


@dataclass(frozen=True)
class MethodFacts:
    """One implementation. module and class_name say what to import when it runs; the rest is for people and checks."""

    name: str
    module: str
    class_name: str
    path: Path
    version: str
    title: str
    paper: str
    family: str
    venue: str
    mixes: str
    proved: str
    summary: str
    parameters: type[BaseModel]
    neutral: dict[str, Any]
    """Defaults of parameters marked Annotated[..., "neutral"]: added later, hashed only when they differ."""


def method_names() -> list[str]:
    """All implementations: the files in methods/ and the installed entry points."""
    return sorted({*_own_files(), *_entry_points()})


def method_facts(name: str) -> MethodFacts:
    """Facts of one implementation; BadInput with the nearest name when there is none."""
    own = _own_files()
    if name in own:
        return read_facts(name, f"methods.{name}", own[name])
    if name in (points := _entry_points()):
        module, _, class_name = points[name].partition(":")
        found = importlib.util.find_spec(module)
        if found is None or found.origin is None:
            raise BadInput(f"method '{name}': the installed module '{module}' has no source file")
        return read_facts(name, module, Path(found.origin), class_name or None)
    raise BadInput(f"unknown method implementation '{name}'; {nearest(name, {*own, *points})}")


@functools.cache
def read_facts(name: str, module: str, path: Path, class_name: str | None = None) -> MethodFacts:
    """Facts of the method class in a source file (the one subclass of Method, or the named class)."""
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    except (SyntaxError, UnicodeDecodeError) as error:
        line = f":{error.lineno}" if isinstance(error, SyntaxError) else ""
        raise BadInput(f"{path}{line}: is not valid Python ({error})") from None
    node = _method_class(tree, path, class_name)
    facts = {
        target.id: _literal(statement.value, path)
        for statement in node.body
        if isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value is not None
        for target in (statement.targets if isinstance(statement, ast.Assign) else [statement.target])
        if isinstance(target, ast.Name) and target.id in CLASS_FACTS
    }
    parameters, neutral = _parameters(node, path)
    summary = (ast.get_docstring(node) or ast.get_docstring(tree) or "").split("\n\n")[0].replace("\n", " ")
    return MethodFacts(
        name=name,
        module=module,
        class_name=node.name,
        path=path,
        version=str(facts.get("version", "1")),
        title=str(facts.get("title") or name),
        paper=str(facts.get("paper", "")),
        family=str(facts.get("family", "none")),
        venue=str(facts.get("venue", "")),
        mixes=str(facts.get("mixes", "nothing")),
        proved=str(facts.get("proved", "")),
        summary=summary,
        parameters=create_model(
            f"{name} parameters", __config__=ConfigDict(strict=True, extra="forbid", frozen=True), **parameters
        ),
        neutral=neutral,
    )


@functools.lru_cache(maxsize=1)
def _own_files() -> dict[str, Path]:
    folder = Path(methods.__path__[0])
    return {path.stem: path for path in sorted(folder.glob("*.py")) if path.stem not in NOT_METHODS}


@functools.lru_cache(maxsize=1)
def _entry_points() -> dict[str, str]:
    return {point.name: point.value for point in importlib.metadata.entry_points(group=ENTRY_POINTS)}


def _method_class(tree: ast.Module, path: Path, class_name: str | None) -> ast.ClassDef:
    def derives(node: ast.ClassDef) -> bool:
        return any(
            isinstance(base, ast.Name | ast.Attribute) and ast.unparse(base).endswith("Method") for base in node.bases
        )

    found = [
        node
        for node in tree.body
        if isinstance(node, ast.ClassDef) and (node.name == class_name if class_name else derives(node))
    ]
    if len(found) != 1:
        raise BadInput(f"{path}: a method file needs exactly one class derived from Method, found {len(found)}")
    return found[0]


def _parameters(node: ast.ClassDef, path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    init = next((item for item in node.body if isinstance(item, ast.FunctionDef) and item.name == "__init__"), None)
    fields: dict[str, Any] = {}
    neutral: dict[str, Any] = {}
    if init is None:
        return fields, neutral
    if len(init.args.args) > 1 or init.args.vararg or init.args.kwarg:
        raise BadInput(f"{path}:{init.lineno}: {node.name} must take its parameters as keywords, after '*'")
    for argument, default in zip(init.args.kwonlyargs, init.args.kw_defaults, strict=True):
        if argument.annotation is None or default is None:
            raise BadInput(f"{path}:{argument.lineno}: parameter '{argument.arg}' needs a type and a default")
        annotation = _annotation(argument.annotation, path)
        value = _literal(default, path)
        fields[argument.arg] = (annotation, value)
        if "neutral" in getattr(annotation, "__metadata__", ()):
            neutral[argument.arg] = value
    return fields, neutral


def _annotation(node: ast.expr, path: Path) -> Any:
    names = {item.id for item in ast.walk(node) if isinstance(item, ast.Name)}
    if unknown := names - _NAMES.keys():
        raise BadInput(
            f"{path}:{node.lineno}: a parameter's type may use {', '.join(sorted(_NAMES))} and None, not "
            f"'{sorted(unknown)[0]}'"
        )
    allowed = (ast.Name, ast.Subscript, ast.Constant, ast.BinOp, ast.BitOr, ast.Tuple, ast.Call, ast.keyword, ast.Load)
    if bad := [item for item in ast.walk(node) if not isinstance(item, (*allowed, ast.UnaryOp, ast.USub))]:
        raise BadInput(f"{path}:{node.lineno}: a parameter's type is too complicated ({ast.unparse(bad[0])!r})")
    return eval(compile(ast.Expression(node), str(path), "eval"), {"__builtins__": {}}, _NAMES)  # names checked above


def _literal(node: ast.expr, path: Path) -> Any:
    try:
        return ast.literal_eval(node)
    except ValueError:
        raise BadInput(f"{path}:{node.lineno}: must be a literal value, it is read without running the file") from None
