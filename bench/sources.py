"""Digests of the source code that a result depends on, found by following imports with `ast`."""

from __future__ import annotations

import ast
import functools
import hashlib
from pathlib import Path

import bench
import methods

HARNESS = ("train", "data", "backbones", "rng.py")
"""What of bench decides a training run's numbers."""


@functools.cache
def method_source_digest(method_file: Path) -> str:
    """Digest of a method's file, of all that it imports from methods, and of the trainer, data and backbones."""
    return _digest([*import_closure(method_file), *_harness_files()])


@functools.cache
def file_source_digest(file: Path) -> str:
    """Digest of a file and of what it imports from its own package folder and from methods (for evaluators)."""
    return _digest(import_closure(file))


def import_closure(file: Path) -> list[Path]:
    """The file and, recursively, what it imports from methods, from bench.evals and from its own package."""
    found: dict[Path, None] = {}
    waiting = [file.resolve()]
    while waiting:
        current = waiting.pop()
        if current in found:
            continue
        found[current] = None
        waiting.extend(_imported(current))
    return sorted(found)


@functools.cache
def _imported(file: Path) -> tuple[Path, ...]:
    roots = {"methods": Path(methods.__path__[0]).resolve(), "bench": Path(bench.__path__[0]).resolve()}
    names: list[str] = []
    package = _package(file)
    if package:
        roots.setdefault(package[0], file.parents[len(package) - 1])
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.extend(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            names.extend([module, *(f"{module}.{alias.name}" for alias in node.names)])
    paths: list[Path] = []
    for name in names:
        first, *rest = name.split(".")
        if first not in roots or not rest or (first == "bench" and rest[0] != "evals"):
            continue
        path = roots[first].joinpath(*rest).with_suffix(".py")
        if path.is_file():
            paths.append(path)
    return tuple(paths)


def _package(file: Path) -> list[str]:
    """Names of the packages that a file lies in, outermost first."""
    names: list[str] = []
    folder = file.parent
    while (folder / "__init__.py").is_file():
        names.insert(0, folder.name)
        folder = folder.parent
    return names


@functools.lru_cache(maxsize=1)
def _harness_files() -> tuple[Path, ...]:
    root = Path(bench.__path__[0]).resolve()
    files: list[Path] = []
    for name in HARNESS:
        path = root / name
        files.extend(sorted(path.rglob("*.py")) if path.is_dir() else [path])
    return tuple(files)


def _digest(files: list[Path]) -> str:
    total = hashlib.blake2b(digest_size=8)
    for name, content in sorted((file.name, _content_digest(file)) for file in files):
        total.update(f"{name} {content}\n".encode())
    return total.hexdigest()


@functools.cache
def _content_digest(file: Path) -> str:
    return hashlib.blake2b(file.read_bytes().replace(b"\r\n", b"\n"), digest_size=8).hexdigest()
