"""Turn pydantic's findings into one line that a person can act on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from pydantic import BaseModel, ValidationError

from bench.errors import BadInput, nearest

Model = TypeVar("Model", bound=BaseModel)


def validated(
    model: type[Model],
    values: dict[str, Any],
    where: Callable[[str], str],
    what: Callable[[str], str] = lambda key: key,
) -> Model:
    """`values` as a `model`; else BadInput about the first problem.

    where(key): the file and line that gave a top-level key. what(key): the key's full name for the message.
    """
    prepared = {
        key: tuple(cast("list[Any]", value)) if isinstance(value, list) else value for key, value in values.items()
    }
    try:
        return model.model_validate(prepared)
    except ValidationError as error:
        problems = error.errors(include_url=False)
        first = next((p for p in problems if p["type"] == "extra_forbidden"), problems[0])
        raise BadInput(_line(model, dict(first), where, what)) from None


def _line(
    model: type[BaseModel], problem: dict[str, Any], where: Callable[[str], str], what: Callable[[str], str]
) -> str:
    location = [str(part) for part in problem["loc"]]
    key = location[0] if location else ""
    name = ".".join([what(key), *location[1:]]) if key else ""
    place = f"{where(key)}: "
    if problem["type"] == "extra_forbidden":
        known = set(model.model_fields) if len(location) == 1 else set[str]()
        hint = f"; {nearest(key, known)}" if known else ""
        return f"{place}unknown key '{name}'{hint}"
    if problem["type"] == "missing":
        return f"{place}'{name}' is missing"
    if problem["type"] == "value_error":
        message = str(problem["msg"]).removeprefix("Value error, ")
        about = message.split(maxsplit=1)[0].rstrip(":")
        if not key and about in model.model_fields:  # of several keys together, the one that it names first
            place = f"{where(about)}: "
        return f"{place}{name + ': ' if name else ''}{message}"
    given = problem.get("input")
    message = str(problem["msg"])
    message = message.replace("Input should be", "must be").replace("a valid ", "a ")
    for type_name, word in (("integer", "whole number"), ("string", "text"), ("boolean", "true or false")):
        message = message.replace(f"a {type_name}", word if type_name != "integer" else f"a {word}")
    hint = ""
    expected = problem.get("ctx", {}).get("expected")
    if problem["type"] == "literal_error" and isinstance(given, str) and expected:
        hint = f"; {nearest(given, [word.strip(chr(39)) for word in expected.replace(' or ', ', ').split(', ')])}"
    return f"{place}'{name}' {message}, not {given!r}{hint}"
