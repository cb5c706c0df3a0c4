r"""User patterns: compiled within stated bounds, alone or as a set, and matched against bytes.

A pattern that exceeds a bound is refused when it is compiled, never at match time; a set whose automaton
gives up falls back to single searches, because "no match" must never mean "could not tell" (invariant 7).
Syntax is RE2's, with `.` also matching a line feed, so that a `%0A` cannot slip past a deny rule.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Final

from re2 import _re2

from models.errors import PatternError

MAX_BYTES: Final = 1024
"""Longest pattern, in bytes of UTF-8 (API.md section 2, how rules match)."""
MAX_REPEAT: Final = 100
"""Largest count in `{n}`, `{n,}` and `{n,m}`; RE2 itself refuses nested counts whose product exceeds 1,000."""
MAX_PROGRAM: Final = 100_000
r"""Largest compiled pattern, in RE2 instructions: `\pL{64}` has 77,000, an ordinary path pattern 40."""
MEMORY: Final = 8 << 20
"""RE2's max_mem for one pattern and for most sets, in bytes: program and cached automaton together."""
SET_MEMORY: Final = 64 << 20
"""max_mem for a set that 8 MiB does not hold: 1,000 patterns of up to about 500 instructions each."""

_UNANCHORED: Final = _re2.RE2.Anchor.UNANCHORED
_ANCHOR_BOTH: Final = _re2.RE2.Anchor.ANCHOR_BOTH
_SENTINEL: Final = rb"\z"

# RE2's own grammar, as far as braces are concerned (re2/parse.cc): what is literal inside \Q..\E, a class or
# an escape is stepped over. Only patterns that RE2 has accepted are scanned, so no alternative backtracks.
_ESCAPE = r"\\[pPx]\{[^}]*\}|\\."
_CLASS_ITEM = (
    rf"\[:\^?\w+:\]|\\[pP]\{{[^}}]*\}}|\\[pP].|\\[dDsSwW]|(?:{_ESCAPE}|[^\\])(?:-(?!\])(?:{_ESCAPE}|[^\\]))?"
)
_COUNT = r"(?:0|[1-9][0-9]{0,8})"
_TOKEN = re.compile(
    rf"\\Q.*?(?:\\E|\Z)|{_ESCAPE}|\[\^?(?:{_CLASS_ITEM})(?:(?!\])(?:{_CLASS_ITEM}))*\]"
    rf"|\{{(?P<low>{_COUNT})(?:,(?P<high>{_COUNT})?)?\}}|.",
    re.DOTALL,
)


def _keep_bytes(error: UnicodeError) -> tuple[str, int]:
    """Decodes what is not UTF-8 as Latin-1, byte by byte, and leaves the rest of the text alone."""
    assert isinstance(error, UnicodeDecodeError)  # registered for decoding only
    return error.object[error.start : error.end].decode("latin-1"), error.end


codecs.register_error("exeat-latin-1", _keep_bytes)


def subject(raw: bytes) -> bytes:
    """The bytes to match instead of `raw`: valid UTF-8, where every stray byte is the character of its number.

    RE2's `.` matches no invalid byte, so one stray byte would break `.*` of a deny rule. Valid sequences
    keep their meaning, so a stray byte elsewhere does not hide `é` from a pattern that names it.
    """
    if raw.isascii():
        return raw
    return raw.decode("utf-8", "exeat-latin-1").encode()


class Pattern:
    """One compiled pattern. Subjects are bytes made by `subject`; safe to share between threads."""

    __slots__ = ("_match", "program", "source")

    def __init__(self, source: bytes, *, ignore_case: bool = False) -> None:
        compiled = _re2.RE2(source, _options(MEMORY, ignore_case=ignore_case))
        if not compiled.ok():
            raise PatternError(f"RE2 refuses it: {compiled.error().decode('utf-8', 'replace')}")
        self.source = source
        self.program: int = compiled.ProgramSize()
        self._match: Callable[[Any, bytes, int, int], list[tuple[int, int]]] = compiled.Match

    def search(self, text: bytes) -> bool:
        """Whether the pattern matches anywhere in `text`."""
        return self._match(_UNANCHORED, text, 0, len(text))[0][0] >= 0

    def full(self, text: bytes) -> bool:
        """Whether the pattern matches all of `text`."""
        return self._match(_ANCHOR_BOTH, text, 0, len(text))[0][0] >= 0

    def __repr__(self) -> str:
        return f"Pattern({self.source.decode()!r})"


class PatternSet:
    """Patterns searched together in one pass; made by `compile_set` only.

    scan: RE2's own call, from a subject to the indexes that match in any order, with `sentinel` among them
    unless the automaton gave up. A caller that uses it must hand what lacks the sentinel to `resolve`.
    """

    __slots__ = ("_singles", "_sources", "scan", "sentinel")

    def __init__(self, compiled: Any, sources: tuple[bytes, ...]) -> None:
        self.scan: Callable[[bytes], list[int]] = compiled.Match
        self.sentinel: Final = len(sources)
        self._sources = sources
        self._singles: tuple[Pattern, ...] | None = None

    def match(self, text: bytes) -> list[int]:
        """The indexes of the patterns found anywhere in `text`, ascending."""
        return self.resolve(self.scan(text), text)

    def resolve(self, found: list[int], text: bytes) -> list[int]:
        """What `match` answers, from what `scan` answered for the same text.

        Without the sentinel the scan ran out of memory (RE2::Set::Match reports that as "nothing matched"
        and has no other way); then every pattern is searched alone, which RE2 can always finish.
        """
        if self.sentinel in found:
            return sorted(index for index in found if index != self.sentinel)
        singles = self._singles
        if singles is None:
            # Not kept from the start: four kilobytes a pattern for what hardly ever happens.
            singles = self._singles = tuple(Pattern(source) for source in self._sources)
        return [index for index, single in enumerate(singles) if single.search(text)]

    def __len__(self) -> int:
        return len(self._sources)


def compile_pattern(pattern: str, *, field: str = "", ignore_case: bool = False) -> Pattern:
    """Compiles one user pattern, or raises PatternError naming `field`.

    ignore_case: as if the pattern began with `(?i)`; for header names.
    """
    try:
        source = pattern.encode()
    except UnicodeEncodeError:
        raise PatternError("the pattern is not valid Unicode", field=field) from None
    if len(source) > MAX_BYTES:
        raise PatternError(f"the pattern has more than {MAX_BYTES} bytes", field=field)
    try:
        compiled = Pattern(source, ignore_case=ignore_case)
    except PatternError as error:
        raise PatternError(error.message, field=field) from None
    count = largest_count(pattern)
    if count > MAX_REPEAT:
        raise PatternError(f"the counted repetition {count} is over {MAX_REPEAT}", field=field)
    if compiled.program > MAX_PROGRAM:
        raise PatternError(f"the pattern needs more than {MAX_PROGRAM} instructions", field=field)
    return compiled


@lru_cache(maxsize=4096)
def pattern_size(pattern: str) -> int:
    """RE2 instructions of a pattern within our bounds; remembered, because finding out takes up to 70 ms.

    Raises PatternError.
    """
    return compile_pattern(pattern).program


def compile_set(
    patterns: Sequence[str],
    *,
    field: str = "",
    fields: Sequence[str] = (),
    memory: Sequence[int] = (MEMORY, SET_MEMORY),
) -> PatternSet:
    """Compiles patterns to be searched together; raises PatternError for a bad one or when all are too much.

    field: names the whole, fields: name each. memory: values of max_mem to try in turn, in bytes.
    """
    names = fields or [f"{field}[{index}]" for index in range(len(patterns))]
    sources = tuple(
        compile_pattern(pattern, field=name).source for pattern, name in zip(patterns, names, strict=True)
    )
    for max_mem in memory:
        compiled = _re2.Set(_UNANCHORED, _options(max_mem))
        added = [compiled.Add(source) for source in (*sources, _SENTINEL)]
        # A set that did not compile must be dropped here: its Match ends the process.
        if added == list(range(len(added))) and compiled.Compile():
            return PatternSet(compiled, sources)
    raise PatternError("the patterns are too large together", field=field)


def largest_count(pattern: str) -> int:
    """The largest bound of a counted repetition in a pattern that RE2 accepts; 0 when there is none."""
    if "{" not in pattern:
        return 0
    return max(
        int(bound)
        for token in _TOKEN.finditer(pattern)
        for bound in (token["low"], token["high"], "0")
        if bound
    )


def _options(max_mem: int, *, ignore_case: bool = False) -> Any:
    """The one set of options; every one that differs from RE2's defaults is here, and why."""
    options = _re2.RE2.Options()
    options.max_mem = max_mem
    options.log_errors = False  # RE2 would write user patterns to standard error
    options.dot_nl = True  # see the module docstring; `(?-s)` in a pattern switches it off
    options.never_capture = True  # no one asks for groups, and they cost instructions
    options.case_sensitive = not ignore_case
    return options
