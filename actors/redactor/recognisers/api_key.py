"""Keys and tokens for programs: by the prefixes that their issuers give them, or by the name that stands before them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from actors.redactor.recognisers.patterns import Pattern, whole
from models.planes.texts import Span

_ISSUED: Final = Pattern(
    r"(?:(?:sk|pk|rk)[-_](?:live|test|proj|ant|or)[-_][A-Za-z0-9_-]{16,}|sk-[A-Za-z0-9_-]{20,}"
    r"|gh[pousr]_[A-Za-z0-9]{30,}|github_pat_[A-Za-z0-9_]{30,}|glpat-[A-Za-z0-9_-]{20,}"
    r"|xox[abeoprs]-[A-Za-z0-9-]{10,}|xapp-[A-Za-z0-9-]{10,}"
    r"|(?:AKIA|ASIA|AROA|AIDA)[A-Z0-9]{16}|AIza[A-Za-z0-9_-]{35}|ya29\.[A-Za-z0-9_-]{20,}"
    r"|SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}|npm_[A-Za-z0-9]{30,}|pypi-[A-Za-z0-9_-]{30,}"
    r"|hf_[A-Za-z0-9]{20,}|dop_v1_[a-f0-9]{40,}|shp(?:at|ca|pa|ss)_[A-Fa-f0-9]{32,}|whsec_[A-Za-z0-9+/=]{20,}"
    r"|eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{4,}\.[A-Za-z0-9_-]*)"
)
_PRIVATE: Final = Pattern(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----[A-Za-z0-9+/=\s:,-]*?-----END [A-Z ]*PRIVATE KEY-----"
)
_NAMED: Final = Pattern(
    r"(?i)(?:api|access|secret|private|auth|client|app|service|bearer|refresh)?[ _-]?"
    r"(?:key|secret|token|passwd|password|pwd|bearer)\"?(?:[ ]is|[ ]?[:=]|[ ])[ \"']{0,3}"
    r"(?P<key>[A-Za-z0-9_.+/~=-]{16,})"
)
_LONG: Final = Pattern(r"[^\s\"'<>,;]{10}")
"""In every one of them, and in few texts."""
_LEAST_KINDS: Final = 2


def find(text: str) -> Iterator[Span]:
    """API_KEY."""
    if _LONG.first(text) is None and "-----BEGIN" not in text:
        return
    yield from _ISSUED.spans(text, "API_KEY", 0.95)
    if "-----BEGIN" in text:
        yield from _PRIVATE.spans(text, "API_KEY", 1.0)
    for match in _NAMED.matches(text):
        start, end = match.span("key")
        if whole(text, start, end) and _is_random(match.group("key")):
            yield Span(start, end, "API_KEY", 0.7)


def _is_random(key: str) -> bool:
    """Words and paths have no digits among their letters; numbers have no letters."""
    kinds = any(one.isdigit() for one in key) + any(one.isalpha() for one in key)
    return kinds >= _LEAST_KINDS and "://" not in key and len(set(key)) >= 8
