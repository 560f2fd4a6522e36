"""Build docs/ as a site with zensical: `python tools/docs_site.py [FOLDER]` (default: build/docs).

FOLDER/source gets a copy of docs/ and of the files outside it that mkdocs.yml names; FOLDER/site the site. Fails where
a link leads nowhere, or where a page would load anything from another host.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
_LOADED = re.compile(
    r"""<(?:script|img|iframe|source|video|audio|embed)\b[^>]*\bsrc=["']?(?:https?:)?//[^"'\s>]+"""
    r"""|<link\b(?=[^>]*\brel=["']?(?:stylesheet|preload|preconnect|icon|modulepreload))[^>]*\bhref=["']?(?:https?:)?//[^"'\s>]+"""
    r"""|(?:url\(|@import\s)["']?(?:https?:)?//[^"')\s]+""",
    re.IGNORECASE,
)


def main(folder: Path) -> int:
    """Build the site; returns an exit code."""
    settings = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    shutil.rmtree(folder, ignore_errors=True)
    source = folder / "source"
    shutil.copytree(ROOT / "docs", source)
    outside = {place: _flat(place) for place in _places(settings["nav"]) if place.startswith("../")}
    for place, name in outside.items():
        shutil.copyfile(source_of(place), source / name)
    for page in source.rglob("*.md"):
        text = page.read_text(encoding="utf-8")
        for place, name in outside.items():
            text = text.replace(f"]({place}", f"]({name}")
        page.write_text(text, encoding="utf-8")
    settings |= {"nav": _expanded(settings["nav"], outside), "docs_dir": "source", "site_dir": "site"}
    config = folder / "mkdocs.yml"
    config.write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")
    command = [sys.executable, "-m", "zensical", "build", "--strict", "-f", str(config)]
    built = subprocess.run(command, stderr=subprocess.PIPE, text=True)
    if built.returncode:
        print(built.stderr.strip().splitlines()[-1] if built.stderr.strip() else "zensical failed", file=sys.stderr)
        return 1
    loads = loaded_from_elsewhere(folder / "site")
    for line in loads:
        print(f"loads from another host: {line}", file=sys.stderr)
    if not loads:
        print(f"{folder / 'site' / 'index.html'}")
    return 1 if loads else 0


def source_of(place: str) -> Path:
    """The file in the repository that a place in `nav` stands for."""
    return (ROOT / "docs" / place).resolve()


def loaded_from_elsewhere(site: Path) -> list[str]:
    """What pages and style sheets of a site load from other hosts, as "file: text"."""
    files = [path for path in sorted(site.rglob("*")) if path.suffix in (".html", ".css", ".svg")]
    return [
        f"{path.relative_to(site)}: {found.group()}"
        for path in files
        for found in _LOADED.finditer(path.read_text(encoding="utf-8"))
    ]


def _places(nav: list[Any]) -> list[str]:
    found: list[str] = []
    for entry in nav:
        for value in entry.values() if isinstance(entry, dict) else [entry]:
            found += _places(value) if isinstance(value, list) else [value]
    return found


def _flat(place: str) -> str:
    """../results/README.md as results-README.md."""
    return place.removeprefix("../").replace("/", "-")


def _expanded(nav: list[Any], outside: dict[str, str]) -> list[Any]:
    expanded: list[Any] = []
    for entry in nav:
        ((title, value),) = entry.items()
        if isinstance(value, list):
            value = _expanded(value, outside)
        elif value.endswith("/"):
            value = [f"{value}{path.name}" for path in sorted((ROOT / "docs" / value).glob("*.md"))]
        expanded.append({title: outside.get(value, value) if isinstance(value, str) else value})
    return expanded


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "build" / "docs"))
