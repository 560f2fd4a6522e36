"""Templates, styles and scripts put together into one file that loads nothing."""

from __future__ import annotations

import base64
import hashlib
import json
from functools import cache
from importlib.resources import files
from typing import Any

_ASSETS = files("bench.page") / "assets"
STYLES = ("page.css", "tables.css", "charts.css", "print.css")
VENDORED = ("plotly-basic.min.js", "dataTables.min.js")
SCRIPTS = ("state.js", "tables.js", "runs.js", "filters.js", "charts.js", "printing.js", "start.js")
_ENDS_SCRIPT = ("</script", "<!--")


def render(values: dict[str, Any], data: dict[str, Any]) -> str:
    """The page. values: what the templates show; data: what the scripts read, as JSON.

    Texts are escaped by Jinja2 in the templates and by `json_text` in the data. A content security policy names the
    page's scripts by their hashes and allows no connection, so that a name which slipped through could do nothing.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("bench.page", "assets/templates"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    scripts = [script_text()]
    return environment.get_template("page.html.jinja").render(
        **values,
        policy=policy(scripts),
        style="\n".join(_asset("css", name) for name in STYLES),
        scripts=scripts,
        data=json_text(data),
    )


def script_text() -> str:
    """All scripts of the page as one text."""
    return "\n;\n".join([*(_asset("vendor", name) for name in VENDORED), *(_asset("js", name) for name in SCRIPTS)])


def policy(scripts: list[str]) -> str:
    """The content security policy: only these scripts, inline styles, images inside the page, no connection."""
    hashes = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(one.encode()).digest()).decode()}'" for one in scripts)
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data: blob:; connect-src 'none'; "
        "base-uri 'none'; form-action 'none'"
    )


def json_text(value: Any) -> str:
    """JSON that may stand within a script element: without <, >, & and line separators as such."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


@cache
def _asset(folder: str, name: str) -> str:
    """An asset's text with newlines as a browser counts them. ValueError for what would end its own element."""
    text = (_ASSETS / folder / name).read_text(encoding="utf-8").replace("\r\n", "\n").replace("\r", "\n")
    if folder != "css" and any(end in text.lower() for end in _ENDS_SCRIPT):
        raise ValueError(f"{name}: holds text that would end its script element")
    return text
