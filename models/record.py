"""The request record: what is known before the first byte goes upstream, what is known at the answer, and both joined.

`Opening` and `Closing` are what a worker keeps in its ring, `Record` is the wire form of API.md section 4.
Nothing here may hold a secret: the caller hands in a query whose secret values are already withheld.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any, Literal, TypeAlias

import msgspec

from models.clock import iso_ms

UNKNOWN: Literal["unknown"] = "unknown"
"""The status of a record whose worker died before the answer."""

USER_AGENT_BYTES = 512
"""A longer User-Agent is cut here; path and query are never cut, the request line bounds them."""

_CACHED_DECISION_BYTES = 8192

Labels: TypeAlias = tuple[tuple[str, str], ...]
"""Per limit: (meter id, window). They belong to the proxy, so a request only refers to them."""

Marks: TypeAlias = tuple[int, ...]
"""Nanoseconds on a clock that never goes back: begin, then the end of each stage reached, then the end."""

_ALL_MARKS = 8
_UPSTREAM_STAGE = 5

Exchange: TypeAlias = tuple[str, int | None]
"""The target's side: (host, status or None without an answer)."""


class Opening(msgspec.Struct, array_like=True, gc=False):
    """What is known of a request before its first byte goes upstream; bytes as the hot path has them.

    received_at: milliseconds since the epoch. query: secret values withheld. decision: a Decision of
    `models.rules`, its msgpack encoding as `msgspec.Raw` (cheapest), or None when the rules were not
    reached. limits, quota: labels, and per label calls remaining and seconds to reset, flat, or none of
    them. A new field goes to the end and has a default: openings of an older version are still in rings.
    """

    request_id: str
    client_id: str
    proxy_id: str
    region: str
    credential_id: str | None
    received_at: int
    method: bytes
    path: bytes
    query: bytes
    decision: Any
    limits: Labels
    quota: tuple[int, ...]
    client_address: str
    user_agent: bytes
    revision: int


class Closing(msgspec.Struct, array_like=True, gc=False):
    """What the answer adds: status sent to the caller (None when it left first), proxy code, times, sizes.

    marks: of all stages that were reached; one that ended early has fewer, and from its last stage to its end
    belongs to none. scrubbed: occurrences of the injected secret
    that were taken out of the answer. filters: (filter id, action, count) of each that was applied, in order.
    redactions: (entity, count). A new field goes to the end and has a default, as in `Opening`.
    """

    status: int | None
    code: str | None
    marks: Marks
    upstream: Exchange | None
    bytes_in: int
    bytes_out: int
    scrubbed: int = 0
    filters: tuple[tuple[str, str, int], ...] = ()
    redactions: tuple[tuple[str, int], ...] = ()


class Timings(msgspec.Struct, gc=False):
    """Milliseconds per stage; None where a request did not get so far."""

    canonicalise: float | None = None
    authenticate: float | None = None
    rules: float | None = None
    limits: float | None = None
    lease: float | None = None
    upstream: float | None = None
    response: float | None = None


class LimitState(msgspec.Struct, gc=False, rename="camel"):
    """What a limit had left after the request."""

    meter_id: str
    window: str
    remaining: int


class FilterState(msgspec.Struct, gc=False, rename="camel"):
    """What a filter did: nodes retained, destroyed or masked, or spans redacted."""

    filter_id: str
    action: str
    count: int


class Upstream(msgspec.Struct, gc=False, rename="camel"):
    """The target's answer as far as there was one."""

    host: str
    status: int | None
    duration_ms: float | None


class Record(msgspec.Struct, gc=False, rename="camel", omit_defaults=True):
    """The wire record, field by field as in API.md section 4; the field order is part of the NDJSON form.

    status: of the answer, None when the caller left before one, `unknown` when the worker died.
    scrubbed: an extension, present only when something was scrubbed.
    """

    request_id: str
    client_id: str
    proxy_id: str
    region: str
    credential_id: str | None
    received_at: str
    duration_ms: float | None
    timings: Timings
    method: str
    path: str
    query: str
    status: int | Literal["unknown"] | None
    code: str | None
    decision: msgspec.Raw
    limits: list[LimitState]
    filters: Sequence[FilterState]
    redactions: Mapping[str, int]
    upstream: Upstream | None
    bytes_in: int | None
    bytes_out: int | None
    client_address: str
    user_agent: str
    revision: int
    scrubbed: int = 0


_pack = msgspec.msgpack.Encoder().encode
_to_json = msgspec.json.Encoder().encode
_to_ndjson = msgspec.json.Encoder().encode_lines
_MILLISECONDS = tuple(f"{number:03}Z" for number in range(1000))
_NO_TIMINGS: tuple[float, ...] = ()
_NO_FILTERS: tuple[FilterState, ...] = ()
_NO_REDACTIONS: Mapping[str, int] = {}
_SCOPE_FIELDS = ("scope", "effect", "by", "matched", "shadow")


def join(opening: Opening, closing: Closing | None) -> Record:
    """The wire record; without a closing it is an orphan's: status `unknown`, and neither code nor times."""
    decision = opening.decision
    packed = bytes(decision) if type(decision) is msgspec.Raw else _pack(decision)
    judged = (_decision if len(packed) <= _CACHED_DECISION_BYTES else _decision.__wrapped__)(packed)
    limits = [
        LimitState(meter, window, remaining)
        for (meter, window), remaining in zip(opening.limits, opening.quota[::2], strict=False)
    ]
    received_at = opening.received_at
    try:
        method, path = opening.method.decode(), opening.path.decode()
        query, user_agent = opening.query.decode(), opening.user_agent[:USER_AGENT_BYTES].decode()
    except UnicodeDecodeError:
        method, path, query = _text(opening.method), _text(opening.path), _text(opening.query)
        user_agent = _text(opening.user_agent[:USER_AGENT_BYTES])
    if closing is None:
        status: int | Literal["unknown"] | None = UNKNOWN
        code = duration_ms = upstream = bytes_in = bytes_out = None
        timings, scrubbed = _NO_TIMINGS, 0
        filters, redactions = _NO_FILTERS, _NO_REDACTIONS
    else:
        status, code, marks = closing.status, closing.code, closing.marks
        duration_ms = (marks[-1] - marks[0]) / 1e6 if marks else None
        reached = marks if len(marks) == _ALL_MARKS else marks[:-1]
        timings = tuple([(later - earlier) / 1e6 for earlier, later in pairwise(reached)])
        upstream = None
        if closing.upstream is not None:
            host, answered = closing.upstream
            spent = timings[_UPSTREAM_STAGE] if len(timings) > _UPSTREAM_STAGE else None
            upstream = Upstream(host, answered, spent)
        bytes_in, bytes_out, scrubbed = closing.bytes_in, closing.bytes_out, closing.scrubbed
        filters, redactions = _NO_FILTERS, _NO_REDACTIONS
        if closing.filters:
            filters = tuple([FilterState(*one) for one in closing.filters])
        if closing.redactions:
            redactions = dict(closing.redactions)
    return Record(
        opening.request_id,
        opening.client_id,
        opening.proxy_id,
        opening.region,
        opening.credential_id,
        _second(received_at // 1000) + _MILLISECONDS[received_at % 1000],
        duration_ms,
        Timings(*timings),
        method,
        path,
        query,
        status,
        code,
        judged,
        limits,
        filters,
        redactions,
        upstream,
        bytes_in,
        bytes_out,
        opening.client_address,
        user_agent,
        opening.revision,
        scrubbed,
    )


def lines(records: Sequence[Record]) -> bytes:
    """The records as NDJSON: each a line that starts with `{"requestId":"`, with its newline. Raises what one of them raises."""
    return _to_ndjson(records)


@lru_cache(maxsize=64)
def _second(seconds: int) -> str:
    """`iso_ms` of a whole second as far as its dot: requests of one second share it."""
    return iso_ms(seconds * 1000)[:-4]


@lru_cache(maxsize=512)
def _decision(packed: bytes) -> msgspec.Raw:
    """The JSON of a msgpack decision. Few of them differ, so nearly every record finds its own here."""
    value = msgspec.msgpack.decode(packed)
    if isinstance(value, list):  # array_like structs arrive by position
        value = dict(zip(("effect", "scopes"), value, strict=True))
    if value is not None:
        value["scopes"] = [
            dict(zip(_SCOPE_FIELDS, scope, strict=True)) if isinstance(scope, list) else scope
            for scope in value["scopes"]
        ]
    return msgspec.Raw(_to_json(value))


def _text(value: bytes) -> str:
    """Text of bytes that need not be UTF-8: what does not decode is shown as an escape, never dropped."""
    return value.decode("utf-8", "backslashreplace")
