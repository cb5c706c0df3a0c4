"""URLs with a scheme or `www.`, and names of hosts under a known top-level domain."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from actors.redactor.recognisers.patterns import Pattern, whole
from models.planes.texts import Span

_URL: Final = Pattern(r"(?i)(?:[a-z][a-z0-9+.-]{1,15}://|www\.)[^\s<>\"`{}|\\^]+")
_HOST: Final = Pattern(
    r"(?i)(?:[\p{L}\p{N}](?:[\p{L}\p{N}_-]*[\p{L}\p{N}])?\.)+[a-z]{2,24}(?P<path>/[^\s<>\"`{}|\\^]*)?"
)
_CLOSING: Final = ".,;:!?'’”»)]*_"
_OPENED_BY: Final = {")": "(", "]": "["}

_GENERIC: Final = (
    "com org net edu gov mil int info biz name pro mobi museum aero coop jobs travel tel cat asia xxx io ai "
    "app dev cloud online site website store shop blog tech xyz club live news media agency company solutions "
    "services systems digital email network global world group space page link design studio"
)
_COUNTRIES: Final = (
    "ac ad ae ag am ar at au az ba bd be bg bh br by bz ca ch ci ck cl cn co cr cu cy cz de dk do dz ec ee eg "
    "es et eu fi fj fo fr gb ge gg gh gi gl gr gt hk hn hr hu id ie il im in iq ir is it je jm jo jp ke kg kh "
    "kr kw kz lb li lk lt lu lv ma mc me mk mm mn mo mt mu mv mx my ng ni nl no np nz om pa pe pg ph pk pr pt "
    "qa ro ru rw sa se sg si sk sn su sv th tj tn tr tv tw tz ua ug uk us uy uz ve vn yu za zm zw"
)
_OPEN: Final = frozenset(_GENERIC.split())
_COUNTRY: Final = frozenset(_COUNTRIES.split())
"""Without those that are more often the end of a file's name or of an abbreviation."""


def find(text: str) -> Iterator[Span]:
    """URL, and DOMAIN_NAME for a host alone."""
    if "." not in text and "://" not in text:
        return
    for match in _URL.matches(text):
        start, end = match.span()
        end = _trimmed(text, start, end)
        if end - start > 6:
            yield Span(start, end, "URL", 0.95)
    for match in _HOST.matches(text):
        start, end = match.span()
        path = match.group("path")
        host = text[start : end - len(path)]
        if not whole(text, start, end) or not _is_host(host):
            continue
        if not path:
            yield Span(start, end, "DOMAIN_NAME", 0.8)
        else:
            yield Span(start, _trimmed(text, start, end), "URL", 0.8)


def _trimmed(text: str, start: int, end: int) -> int:
    """Where a URL ends that a sentence goes on behind."""
    while end > start and text[end - 1] in _CLOSING:
        opened = _OPENED_BY.get(text[end - 1])
        if opened and text.count(opened, start, end) >= text.count(text[end - 1], start, end):
            break
        end -= 1
    return end


def _is_host(host: str) -> bool:
    """Files (`notes.md`) and the seams of sentences (`done.In`) look like hosts, too."""
    *labels, top = host.split(".")
    if not all(len(label) > 1 or len(labels) > 1 for label in labels) or len(labels[-1]) < 2:
        return False
    if top in _OPEN or (top.isupper() and top.lower() in _OPEN):
        return True
    return top in _COUNTRY and (len(labels) > 1 or len(labels[0]) > 2)
