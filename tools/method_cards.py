"""Write docs/methods/*.md, one card a method, from the method's source and its arms: `python tools/method_cards.py`.

With --check nothing is written; the exit code is 1 when a card is not what its source says.
"""

from __future__ import annotations

import ast
import inspect
import sys
from pathlib import Path
from typing import Any

from bench.config.catalogue import MethodFacts, method_facts, method_names
from bench.config.folders import ConfigFolders
from bench.config.yaml_file import read_yaml
from tools.methods_page import measured, ratio, read_board, read_facts

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "methods"


def main(arguments: list[str]) -> int:
    """Write or check all cards."""
    cards = {FOLDER / f"{name}.md": card(method_facts(name)) for name in method_names()}
    if "--check" in arguments:
        wrong = [path for path, text in cards.items() if not path.is_file() or path.read_text(encoding="utf-8") != text]
        wrong += [path for path in FOLDER.glob("*.md") if path not in cards]
        for path in wrong:
            print(f"{path}: is not what its source says; run `make cards`", file=sys.stderr)
        return 1 if wrong else 0
    FOLDER.mkdir(parents=True, exist_ok=True)
    for path, text in cards.items():
        path.write_text(text, encoding="utf-8")
    return 0


def card(facts: MethodFacts) -> str:
    """The card of one method as Markdown."""
    lines = [f"# {facts.title}", "", f"`{facts.name}`, {facts.family}. {facts.paper}".rstrip() + "", ""]
    lines += [_docstring(facts), ""]
    lines += [f"Mixes {facts.mixes}. Proved against: {facts.proved or 'nothing yet'}.", ""]
    share, label_test, passes = measured(read_facts().get(facts.name))
    cost = ratio(read_board().get(facts.name))
    lines += ["## Measured", "", "| share kept % | label test | passes | time / erm [95 %] |", "|--:|--:|--:|--:|"]
    lines += [f"| {share} | {label_test} | {passes} | {cost} |", "", "[What these are](../methods.md)", ""]
    if facts.parameters.model_fields:
        lines += ["## Parameters", "", "| parameter | type and range | default |", "|---|---|---|"]
        for name, (annotation, default) in _signature(facts).items():
            lines.append(f"| `{name}` | `{annotation.replace('|', chr(92) + '|')}` | `{default}` |")
        lines.append("")
    lines += ["## Arms", "", "| arm | title | changes |", "|---|---|---|"]
    for name, values in arms(facts.name).items():
        changes = ", ".join(
            f"`{key}: {value}`"
            for key, value in values.items()
            if key not in ("implementation", "title", "search", "host_sync")
        )
        lines.append(f"| `{name}` | {values.get('title', facts.title)} | {changes or 'none'} |")
    return "\n".join(lines) + "\n"


def arms(implementation: str) -> dict[str, dict[str, Any]]:
    """The arms of an implementation: name to the values of its file."""
    folders = ConfigFolders()
    found = {name: read_yaml(folders.get("method", name, "")).values for name in folders.names("method")}
    return {name: values for name, values in found.items() if values.get("implementation") == implementation}


def _class(facts: MethodFacts) -> ast.ClassDef:
    tree = ast.parse(facts.path.read_text(encoding="utf-8"))
    return next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == facts.class_name)


def _docstring(facts: MethodFacts) -> str:
    return inspect.cleandoc(ast.get_docstring(_class(facts)) or "")


def _signature(facts: MethodFacts) -> dict[str, tuple[str, str]]:
    body = _class(facts).body
    init = next(node for node in body if isinstance(node, ast.FunctionDef) and node.name == "__init__")
    pairs = zip(init.args.kwonlyargs, init.args.kw_defaults, strict=True)
    return {a.arg: (ast.unparse(a.annotation or a), ast.unparse(d) if d is not None else "") for a, d in pairs}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
