"""The paths of filters: JSONPath (RFC 9535), as far as it names places by their position alone.

Names, indexes, wildcards, descendants and unions of those. Slices, filter expressions and functions are refused
when a path is read, never treated as a path that matches nothing.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, NamedTuple

import jsonpath_rfc9535 as jsonpath
from jsonpath_rfc9535 import selectors as parsed
from jsonpath_rfc9535.segments import JSONPathRecursiveDescentSegment

from models.errors import ConfigurationError

MOST_BYTES: Final = 1024
"""Longest path, in bytes of UTF-8."""
MOST_SEGMENTS: Final = 32
"""In one path: `$.a[0]` has two."""
MOST_SELECTORS: Final = 64
"""In one path, over all of its segments: `$.a['b',0]` has three."""


class Segment(NamedTuple):
    """One step of a path. descends: `..`, so that it selects among children of every descendant, too.

    names, indexes, every (`*`): what it selects, together; a negative index counts from the end.
    """

    descends: bool
    names: tuple[str, ...]
    indexes: tuple[int, ...]
    every: bool


Path = tuple[Segment, ...]
"""A path that was read; empty for `$`."""


def parse_path(text: str, *, field: str = "") -> Path:
    """Reads one path. Raises ConfigurationError, which names `field` and does not repeat the path."""
    try:
        return _parsed(text)
    except _Refused as refused:
        raise ConfigurationError(str(refused), field=field) from None


class _Refused(Exception):
    """Why a path is not taken."""


@lru_cache(maxsize=4096)
def _parsed(text: str) -> Path:
    """Remembered, because a path is read when it is written, when it arrives, and when it is compiled."""
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise _Refused("the path is not valid Unicode") from None
    if size > MOST_BYTES:
        raise _Refused(f"the path has more than {MOST_BYTES} bytes")
    try:
        query = jsonpath.compile(text)
    except jsonpath.JSONPathIndexError:
        raise _Refused("an index of the path is out of range") from None
    except (jsonpath.JSONPathError, RecursionError) as error:
        raise _Refused(_syntax(text, error)) from None
    if len(query.segments) > MOST_SEGMENTS:
        raise _Refused(f"the path has more than {MOST_SEGMENTS} segments")
    if sum(len(segment.selectors) for segment in query.segments) > MOST_SELECTORS:
        raise _Refused(f"the path has more than {MOST_SELECTORS} selectors")
    return tuple(
        _segment(isinstance(segment, JSONPathRecursiveDescentSegment), segment.selectors)
        for segment in query.segments
    )


def _segment(descends: bool, selectors: tuple[parsed.JSONPathSelector, ...]) -> Segment:
    names: dict[str, None] = {}
    indexes: dict[int, None] = {}
    every = False
    for one in selectors:
        match one:
            case parsed.NameSelector():
                names[one.name] = None
            case parsed.IndexSelector():
                indexes[one.index] = None
            case parsed.WildcardSelector():
                every = True
            case _:
                kind = "slices" if isinstance(one, parsed.SliceSelector) else "filter expressions"
                raise _Refused(f"{kind} are not available in paths; names, indexes, * and .. are")
    return Segment(descends, tuple(names), tuple(indexes), every)


def _syntax(text: str, error: Exception) -> str:
    """Where a path stops to be one."""
    if not text.startswith("$"):
        return "is no JSONPath: it must begin with $"
    token = getattr(error, "token", None)
    place = f" at character {token.index + 1}" if token is not None else ""
    hint = "" if text.isascii() else "; a name with letters beyond ASCII is written ['name']"
    return f"is no JSONPath (RFC 9535){place}{hint}"
