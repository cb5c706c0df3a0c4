"""How documents become bytes and back, the same for every adapter: msgpack, after a check of every value.

What one adapter could not keep exactly is refused by all, before anything is written. An error names the
top-level field and never holds a value.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from models.errors import StoreUnavailable
from store.interface import Document

LARGEST: Final = 15 * 1024 * 1024
"""Bytes of one encoded document; below MongoDB's 16 MiB with room for its envelope."""
DEEPEST: Final = 64
"""Levels of lists and mappings in a document; below MongoDB's 100."""
LONGEST_NAME: Final = 1024
"""Bytes of an id, key or indexed string in UTF-8."""
LEAST_INT: Final = -(2**63)
MOST_INT: Final = 2**63 - 1

_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(Document).decode


def encode(document: Mapping[str, Any]) -> bytes:
    """The document's bytes. Raises ValueError for what is neither JSON nor bytes, or beyond a limit above.

    Integers have 64 bits with a sign, floats are finite, strings and field names have no lone surrogate.
    Tuples are read back as lists.
    """
    plain = dict(document)
    for name, value in plain.items():
        problem = _problem_of_text(name) or _problem(value, DEEPEST - 1)
        if problem:
            raise ValueError(f"field {_shown(name)} {problem}")
    body = _encode(plain)
    if len(body) > LARGEST:
        raise ValueError(f"document has {len(body)} bytes, more than {LARGEST}")
    return body


def decode(body: bytes) -> Document:
    """The document of `encode`. Raises StoreUnavailable when the bytes are damaged."""
    try:
        return _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise StoreUnavailable("a stored document is damaged") from None


def name_bytes(text: str, what: str) -> bytes:
    """An id, key or indexed string as UTF-8, whose order is the order of ids. Raises ValueError."""
    problem = _problem_of_text(text)
    if problem:
        raise ValueError(f"{what} {problem}")
    encoded = text.encode()
    if len(encoded) > LONGEST_NAME:
        raise ValueError(f"{what} has more than {LONGEST_NAME} bytes")
    return encoded


def index_value(value: object, field: str) -> bytes | int:
    """An indexed value in a form that compares exactly: bytes of a string, or the integer. Raises ValueError."""
    if type(value) is str:
        return name_bytes(value, f"indexed field {field}")
    if type(value) is not int:
        raise ValueError(f"indexed field {field} must be a string or an integer")
    return whole(value, f"indexed field {field}")


def index_values(document: Mapping[str, Any], indexes: tuple[str, ...]) -> tuple[bytes | int | None, ...]:
    """The values of the indexed fields, None where there is none. Raises ValueError."""
    values = ((field, document.get(field)) for field in indexes)
    return tuple(None if value is None else index_value(value, field) for field, value in values)


def whole(value: object, what: str) -> int:
    """An integer of 64 bits with a sign. Raises ValueError."""
    if type(value) is not int or not LEAST_INT <= value <= MOST_INT:
        raise ValueError(f"{what} must be an integer of at most 64 bits")
    return value


def _problem(value: object, levels: int) -> str:
    """What is wrong with a value, or nothing. Exact types: a subclass would come back as another type."""
    kind = type(value)
    if kind is str:
        return _problem_of_text(value)
    if value is None or kind is bool or kind is bytes:
        return ""
    if kind is int:
        return "" if LEAST_INT <= value <= MOST_INT else "has an integer beyond 64 bits"  # type: ignore[operator]  # an int, by its exact type
    if kind is float:
        return "" if math.isfinite(value) else "has a number that is not finite"  # type: ignore[arg-type]  # a float, by its exact type
    if kind is not dict and kind is not list and kind is not tuple:
        return f"has a value of type {kind.__name__}"
    if levels <= 0:
        return f"is nested deeper than {DEEPEST} levels"
    if isinstance(value, dict):
        for name, inner in value.items():
            problem = _problem_of_text(name) or _problem(inner, levels - 1)
            if problem:
                return problem
        return ""
    return next(filter(None, (_problem(inner, levels - 1) for inner in value)), "")  # type: ignore[attr-defined]  # a list or tuple


def _problem_of_text(value: object) -> str:
    if type(value) is not str:
        return "has a name that is not a string"
    if value.isascii():
        return ""
    try:
        value.encode()
    except UnicodeEncodeError:
        return "has a lone surrogate"  # the error itself would carry the text
    return ""


def _shown(name: object) -> str:
    return repr(name)[:64]
