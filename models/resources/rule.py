"""Rules: who may send what, on a credential, target or proxy (API.md section 2, how rules match).

Values only: patterns are compiled here to refuse bad ones early, and compiled again, as sets, where they
are judged.
"""

from __future__ import annotations

import difflib
from typing import Annotated, ClassVar, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from models.resources.base import Effect, Flag, Pattern, Presence, ResourceId, Sequence, Value, whole

# fmt: off
METHODS: Final = frozenset({
    "ACL", "BIND", "CHECKOUT", "COPY", "DELETE", "GET", "HEAD", "LINK", "LOCK", "M-SEARCH", "MERGE",
    "MKACTIVITY", "MKCALENDAR", "MKCOL", "MOVE", "NOTIFY", "OPTIONS", "PATCH", "POST", "PROPFIND", "PROPPATCH",
    "PURGE", "PUT", "QUERY", "REBIND", "REPORT", "SEARCH", "SOURCE", "SUBSCRIBE", "TRACE", "UNBIND", "UNLINK",
    "UNLOCK", "UNSUBSCRIBE",
})
# fmt: on
"""What the edge's parser (llhttp) knows, but CONNECT, which the edge refuses. A misspelt method in a deny
rule would never match, so it is an error."""


def _check_method(value: str) -> str:
    method = value.upper()
    if method not in METHODS:
        near = difflib.get_close_matches(method[:32], METHODS, n=1)
        raise ValueError("is no method the edge accepts" + (f"; did you mean {near[0]}?" if near else ""))
    return method


Method = Annotated[str, AfterValidator(_check_method)]


class PathCheck(Value):
    """A pattern over the canonical path after the proxy id."""

    pattern: Pattern
    presence: Presence = "must_exist"


class FieldCheck(Value):
    """A header or query check: patterns over name and value; without `value` any value matches."""

    name: Pattern
    value: Pattern | None = None
    presence: Presence = "must_exist"


class Matcher(Value):
    """A pattern that has an object of its own on the wire."""

    pattern: Pattern


class BodyCheck(Value):
    """A check of a JSON body: patterns over normalized paths and over values; without `match_value` any value matches."""

    json_path: Matcher
    match_value: Matcher | None = None
    presence: Presence = "must_exist"


def _left_out(value: object) -> object:
    """Null is what every optional field may be: left out."""
    return () if value is None else value


Checks = Annotated[tuple[FieldCheck, ...], Sequence, Field(max_length=32), BeforeValidator(_left_out)]
BodyChecks = Annotated[tuple[BodyCheck, ...], Sequence, Field(max_length=32), BeforeValidator(_left_out)]


class Rule(Value):
    """One statement of a scope. All of its checks must hold; without checks it matches everything."""

    later: ClassVar[frozenset[str]] = frozenset({"claimChecks"})
    read_only: ClassVar[frozenset[str]] = frozenset(
        {"clientId", "ruleCreatedAt", "ruleUpdatedAt", "revision"}
    )

    id: ResourceId = Field(alias="ruleId")
    effect: Effect
    priority: Annotated[int, whole(0, 1000)] = 0
    methods: Annotated[tuple[Method, ...], Sequence, Field(min_length=1, max_length=64)] | None = None
    path: PathCheck | None = None
    header_checks: Checks = ()
    query_checks: Checks = ()
    body_checks: BodyChecks = ()
    mode: Literal["enforce", "shadow"] = "enforce"
    active: Flag = True
    notes: str | None = Field(default=None, max_length=4096)


Rules = Annotated[tuple[Rule, ...], Sequence, Field(max_length=1000)]
