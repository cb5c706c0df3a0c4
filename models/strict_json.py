r"""JSON read strictly, for what is judged or rewritten: one reading of the bytes, or none at all.

RFC 8259, UTF-8 without a byte order mark, no name twice in an object, no lone surrogates, at most 128 levels
and a stated number of values. Numbers keep their spelling. It must never accept what two readers could read
differently, nor put a piece of the text into an error.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final, NoReturn, Self

import orjson

from models.errors import JsonRefused, JsonTooLarge

MAX_DEPTH: Final = 128
"""Containers inside each other."""
MAX_VALUES: Final = 100_000
"""Values in one text, containers included, empty ones twice: what bounds the memory that a hostile body takes."""

_INTEGER: Final = 19
"""Characters of an integer that surely fits 64 bits."""
_WINDOW: Final = 128 * 1024
"""Bytes that are counted in one call, so that a thread which reads megabytes lets the others have their turns."""
# All three are possessive: hostile text costs no more than its length.
_STRING: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_WHOLE: Final = re.compile(rb'(?:[^"]*+"[^"\\]*+(?:\\.[^"\\]*+)*+")*+[^"]*+', re.DOTALL)
_INSIDE: Final = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)
_SURROGATE: Final = re.compile(r"\\u[dD][89a-fA-F]")


class Number(float):
    """A number that Python's int and float would spell differently: over 64 bits, `-0`, `1.10`, `1e400`.

    As a float it is the nearest one, possibly infinite; as text, and when written by `dumps`, what it was.
    """

    __slots__ = ("text",)

    text: str

    def __new__(cls, text: str) -> Self:
        """text: of a number in RFC 8259's grammar."""
        made = super().__new__(cls, text)
        made.text = text
        return made

    def __str__(self) -> str:
        return self.text

    __repr__ = __str__


def loads(raw: bytes, most: int = MAX_VALUES) -> Any:
    """The value: dict, list, str, bool, None, int, float, or `Number` where those would not spell it alike.

    most: how many values it may have, counted as for MAX_VALUES. Raises JsonRefused, and JsonTooLarge for more values than that.
    """
    # Counted before anything is made of them: two bytes of text become up to a hundred in memory.
    if raw.count(b",") + raw.count(b"[") + raw.count(b"{") >= most and count_values(raw) > most:
        raise JsonTooLarge(f"more than {most} values")
    try:
        text = raw.decode()
        value = _decode(text)
    except (ValueError, RecursionError):
        # The exceptions of `json` carry the whole text; none of them may go on.
        value = _REFUSED
    if value is _REFUSED:
        raise JsonRefused("not strict JSON")
    if raw.count(b"[") + raw.count(b"{") > MAX_DEPTH:
        _check_depth(value)
    if "\\u" in text and _SURROGATE.search(text) is not None and _written(value) is None:
        # Half a surrogate pair is no character (RFC 8259 section 8.2): it cannot be written as UTF-8.
        raise JsonRefused("lone surrogate")
    return value


def dumps(value: Any) -> bytes:
    """The JSON text of what `loads` gave, or of parts of it: no blanks, numbers as they were spelled.

    Raises JsonRefused for what has no strict JSON text.
    """
    raw = _written(value)
    if raw is None:
        raise JsonRefused("has no JSON text")
    return raw


def count_values(raw: bytes) -> int:
    """How many values a JSON text has, empty containers counted twice, without reading it; of anything else, some number."""
    count, at, inside = 1, 0, False
    while at < len(raw):
        piece = raw[at : at + _WINDOW]
        if inside:
            end = _end(_INSIDE, piece)
            if piece[end : end + 1] == b'"':
                inside = False
                end += 1
            elif not end:
                break  # a lone backslash at the very end
            at += end
            continue
        end = _end(_WHOLE, piece)
        bare = _STRING.sub(b"", piece[:end])
        count += bare.count(b",") + bare.count(b"[") + bare.count(b"{")
        inside = end < len(piece)  # the last string goes on in the next window
        at += end + inside
    return count


def _end(pattern: re.Pattern[bytes], piece: bytes) -> int:
    found = pattern.match(piece)
    return 0 if found is None else found.end()


_REFUSED: Final = object()


def _spelled(value: object) -> orjson.Fragment:
    if type(value) is Number:
        return orjson.Fragment(value.text)
    raise TypeError


def _integer(text: str) -> int | Number:
    return int(text) if len(text) <= _INTEGER and text != "-0" else Number(text)


def _real(text: str) -> float:
    value = float(text)
    # Compared with how it would be written again; an infinity is written as null.
    return value if len(text) < 32 and orjson.dumps(value) == text.encode() else Number(text)


def _constant(_text: str) -> NoReturn:
    raise ValueError  # NaN, Infinity, -Infinity


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError  # a name twice: RFC 8259 section 4 leaves open which one counts
    return made


_decode: Final = json.JSONDecoder(
    object_pairs_hook=_object, parse_float=_real, parse_int=_integer, parse_constant=_constant
).decode


def _check_depth(value: object) -> None:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            child
            for one in level
            for child in (one.values() if isinstance(one, dict) else one if isinstance(one, list) else ())
            if isinstance(child, (dict, list))
        ]
        if not level:
            return
    raise JsonRefused("too deep")


def _written(value: object) -> bytes | None:
    try:
        return orjson.dumps(value, default=_spelled)
    except TypeError:
        return None
