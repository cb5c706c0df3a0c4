"""Turns a validation error into plain problems: where, and what is wrong, in API.md's names.

It never copies input into a message, and below `credentialSecret` it names known fields only, because a
secret in the wrong place would otherwise be echoed as a field name.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from models.resources.base import Value
from models.resources.secrets import SECRET_KINDS

Location = tuple[str | int, ...]

GUARDED: Final = "credentialSecret"
_SHOWN_BELOW_GUARDED: Final = {"env", "file"} | {
    field.alias for kind in SECRET_KINDS.values() for field in kind.model_fields.values()
}


_FIELD_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""What may be copied from a file into an error: a name of ours or one that resembles it."""


class Problem(NamedTuple):
    """One thing wrong with a resource: location in wire names and list indexes, and a message."""

    location: Location
    message: str


def problems(
    kind: type[BaseModel], error: ValidationError, *, below_secret: bool = False
) -> tuple[Problem, ...]:
    """Every problem of `error`, which came from validating `kind`; no message contains input.

    below_secret: `kind` is itself the shape of a `credentialSecret`.
    """
    found = []
    for line in error.errors(include_input=False, include_url=False):
        location = line["loc"]
        if line["type"] == "extra_forbidden":
            message = _about_unknown_field(kind, location)
        elif line["type"] == "value_error":
            message = str(line["ctx"]["error"])
        elif line["type"] == "missing":
            message = "is required"
        else:
            message = _reworded(line["type"], line["msg"], line.get("ctx", {}))
        if line["type"] != "extra_forbidden":
            location = _in_wire_names(kind, location)
        found.append(Problem(guarded(location, below=below_secret), message))
    return tuple(found)


def _reworded(kind: str, message: str, context: Mapping[str, Any]) -> str:
    """The library's message in our words: what the field must be, without its names for types and stages."""
    unit = "element" if kind in {"too_short", "too_long"} else "character"
    match kind:
        case "too_short" | "string_too_short":
            return f"must have at least {_counted(context['min_length'], unit)}"
        case "too_long" | "string_too_long":
            return f"must have at most {_counted(context['max_length'], unit)}"
        case "model_type" | "model_attributes_type" | "dict_type":
            return "must be a mapping of fields"
        case "timezone_aware":
            return "must say its time zone, such as Z"
        case _:
            return message.replace("Input should be", "must be", 1)


def _counted(number: int, unit: str) -> str:
    return f"{number} {unit}" if number == 1 else f"{number} {unit}s"


def as_error(found: Iterable[Problem]) -> ValidationError:
    """A validation error of `found` that holds no input; raised in a validator, it keeps its locations."""
    lines = [
        InitErrorDetails(type=PydanticCustomError("problem", message), loc=location, input=None)
        for location, message in found
    ]
    return ValidationError.from_exception_data("resource", lines, hide_input=True)


def dotted(location: Iterable[str | int]) -> str:
    """`("proxies", 0, "proxyTargetId")` -> `proxies[0].proxyTargetId`; an odd name shows as `?`."""
    text = ""
    for step in location:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            name = step if _FIELD_NAME.fullmatch(step) else "?"
            text += f".{name}" if text else name
    return text


def guarded(location: Location, *, below: bool = False) -> Location:
    """The location cut off at the first step below `credentialSecret` that is no known field."""
    for index, step in enumerate(location):
        if below and step not in _SHOWN_BELOW_GUARDED:
            return location[:index]
        below = below or step == GUARDED
    return location


def about_unknown(name: str, known: Iterable[str]) -> str:
    """The message for an unknown field, with the nearest known name if one is near."""
    near = difflib.get_close_matches(name[:80], known, n=1)
    return f"unknown field; did you mean {near[0]}?" if near else "unknown field"


def _in_wire_names(kind: type[BaseModel], location: Location) -> Location:
    """A default that fails is reported under the attribute's name; it is named as on the wire here."""
    field = kind.model_fields.get(str(location[0])) if location else None
    return (field.alias, *location[1:]) if field is not None and field.alias is not None else location


def _about_unknown_field(kind: type[BaseModel], location: Location) -> str:
    name = str(location[-1])
    parents = _models_at(kind, location[:-1])
    if any(name in parent.later for parent in parents):
        return "not available in this version"
    if any(name in parent.read_only for parent in parents):
        return "is read only; leave it out"
    return about_unknown(
        name, [field.alias or "" for parent in parents for field in parent.model_fields.values()]
    )


def _models_at(kind: type[BaseModel], location: Location) -> list[type[Value]]:
    """The model classes that may stand at `location` inside `kind`."""
    found = _models_in(kind)
    for step in location:
        if isinstance(step, int):
            continue
        found = [
            inner
            for model in found
            for field in model.model_fields.values()
            if field.alias == step
            for inner in _models_in(field.annotation)
        ]
    return found


def _models_in(annotation: Any) -> list[type[Value]]:
    if isinstance(annotation, type) and issubclass(annotation, Value):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _models_in(argument)]
