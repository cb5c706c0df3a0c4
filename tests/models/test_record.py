"""The record's wire form: exactly API.md section 4, one line, whatever the request held."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.decision import Decision, ScopeOutcome
from models.record import Closing, Opening, join, lines

FIELDS = [
    "requestId",
    "clientId",
    "proxyId",
    "region",
    "credentialId",
    "receivedAt",
    "durationMs",
    "timings",
    "method",
    "path",
    "query",
    "status",
    "code",
    "decision",
    "limits",
    "filters",
    "redactions",
    "upstream",
    "bytesIn",
    "bytesOut",
    "clientAddress",
    "userAgent",
    "revision",
]

OUTCOMES = (
    ScopeOutcome("proxyCredential", "allow", "rule_1", ("rule_1", "rule_2"), ("rule_9",)),
    ScopeOutcome("targetCredential", "allow", "default"),
    ScopeOutcome("proxy", "deny", "rule_3", ("rule_3",)),
    ScopeOutcome("target", "allow", "default"),
)
DECISION = Decision("deny", OUTCOMES)
AS_JSON = {
    "effect": "deny",
    "scopes": [
        {
            "scope": "proxyCredential",
            "effect": "allow",
            "by": "rule_1",
            "matched": ["rule_1", "rule_2"],
            "shadow": ["rule_9"],
        },
        {"scope": "targetCredential", "effect": "allow", "by": "default", "matched": [], "shadow": []},
        {"scope": "proxy", "effect": "deny", "by": "rule_3", "matched": ["rule_3"], "shadow": []},
        {"scope": "target", "effect": "allow", "by": "default", "matched": [], "shadow": []},
    ],
}


def line(opening: Opening, closing: Closing | None) -> bytes:
    """Of one record, without its newline."""
    return lines([join(opening, closing)]).removesuffix(b"\n")


def an_opening(**changed: object) -> Opening:
    made = Opening(
        request_id="req_1",
        client_id="cli_1",
        proxy_id="prx_1",
        region="us-east-1",
        credential_id="cred_1",
        received_at=1_700_000_000_007,
        method=b"GET",
        path=b"/v1/a%20b",
        query=b"limit=1",
        decision=DECISION.packed,
        limits=(("meter_1", "minute"), ("meter_2", "day")),
        quota=(59, 12, 4, 3600),
        client_address="192.0.2.7",
        user_agent=b"agent/1.0",
        revision=42,
    )
    return msgspec.structs.replace(made, **changed)


def a_closing(**changed: object) -> Closing:
    made = Closing(
        status=403,
        code="rule-denied",
        marks=(5_000_000, 5_010_000, 5_030_000, 5_060_000, 5_100_000, 5_150_000, 6_050_000, 6_250_000),
        upstream=("api.example.com", 201),
        bytes_in=3,
        bytes_out=250,
    )
    return msgspec.structs.replace(made, **changed)


def test_wire_form_is_the_one_of_the_contract() -> None:
    """Every field of API.md section 4 is there under its name, with its value, and no other field."""
    record = json.loads(line(an_opening(), a_closing()))
    assert list(record) == FIELDS
    assert record == {
        "requestId": "req_1",
        "clientId": "cli_1",
        "proxyId": "prx_1",
        "region": "us-east-1",
        "credentialId": "cred_1",
        "receivedAt": "2023-11-14T22:13:20.007Z",
        "durationMs": 1.25,
        "timings": {
            "canonicalise": 0.01,
            "authenticate": 0.02,
            "rules": 0.03,
            "limits": 0.04,
            "lease": 0.05,
            "upstream": 0.9,
            "response": 0.2,
        },
        "method": "GET",
        "path": "/v1/a%20b",
        "query": "limit=1",
        "status": 403,
        "code": "rule-denied",
        "decision": AS_JSON,
        "limits": [
            {"meterId": "meter_1", "window": "minute", "remaining": 59},
            {"meterId": "meter_2", "window": "day", "remaining": 4},
        ],
        "filters": [],
        "redactions": {},
        "upstream": {"host": "api.example.com", "status": 201, "durationMs": 0.9},
        "bytesIn": 3,
        "bytesOut": 250,
        "clientAddress": "192.0.2.7",
        "userAgent": "agent/1.0",
        "revision": 42,
    }


def test_orphan_has_status_unknown() -> None:
    """A record without a closing says `unknown`, and has neither code nor times."""
    record = json.loads(line(an_opening(), None))
    assert list(record) == FIELDS
    assert record["status"] == "unknown"
    for absent in ("code", "durationMs", "upstream", "bytesIn", "bytesOut"):
        assert record[absent] is None
    assert set(record["timings"].values()) == {None}


@pytest.mark.parametrize(
    "decision",
    [DECISION.packed, DECISION, msgspec.to_builtins(DECISION), msgspec.msgpack.decode(DECISION.packed)],
    ids=["packed", "object", "by name", "by position"],
)
def test_decision_has_one_form_however_it_arrives(decision: object) -> None:
    """Packed, as an object, or decoded from a ring by name or by position: the wire form is the same."""
    assert json.loads(line(an_opening(decision=decision), a_closing()))["decision"] == AS_JSON


def test_decision_longer_than_the_cache_takes_is_whole() -> None:
    """A decision of a thousand rules is written in full."""
    many = tuple(f"rule_{number}" for number in range(1000))
    decision = Decision("deny", (ScopeOutcome("proxyCredential", "deny", many[0], many), *OUTCOMES[1:]))
    record = json.loads(line(an_opening(decision=decision.packed), a_closing()))
    assert record["decision"]["scopes"][0]["matched"] == list(many)


def test_request_refused_before_the_rules_has_no_decision() -> None:
    """None stays null."""
    assert json.loads(line(an_opening(decision=None), a_closing()))["decision"] is None


def test_filters_and_redactions_are_listed_as_they_were_applied() -> None:
    """In their order, a filter that found nothing included."""
    closing = a_closing(
        filters=(("flt_2", "destroy", 3), ("flt_1", "redact", 0)), redactions=(("PERSON", 2), ("URL", 1))
    )
    record = json.loads(line(an_opening(), closing))
    assert list(record) == FIELDS
    assert record["filters"] == [
        {"filterId": "flt_2", "action": "destroy", "count": 3},
        {"filterId": "flt_1", "action": "redact", "count": 0},
    ]
    assert record["redactions"] == {"PERSON": 2, "URL": 1}


def test_a_closing_of_an_older_version_is_read() -> None:
    """It lies in a ring that this version found; new fields are at the end."""
    packed = msgspec.msgpack.encode(a_closing())
    fields = msgspec.msgpack.decode(packed)
    older = msgspec.msgpack.encode(fields[: Closing.__struct_fields__.index("filters")])
    assert msgspec.msgpack.decode(older, type=Closing) == a_closing()


def test_scrubbed_is_said_only_where_something_was() -> None:
    """The extension field appears with its count when the answer held the secret."""
    assert json.loads(line(an_opening(), a_closing(scrubbed=2)))["scrubbed"] == 2


def test_long_user_agent_is_cut_and_long_query_is_not() -> None:
    """512 bytes of the user agent are kept, and all of path and query."""
    long = b"x" * 8192
    record = json.loads(line(an_opening(user_agent=long, path=b"/" + long, query=long), a_closing()))
    assert len(record["userAgent"]) == 512
    assert record["path"] == "/" + long.decode()
    assert record["query"] == long.decode()


anything = st.binary(max_size=600)


@given(method=anything, path=anything, query=anything, user_agent=anything, address=st.text(max_size=20))
def test_any_request_is_one_line(
    method: bytes, path: bytes, query: bytes, user_agent: bytes, address: str
) -> None:
    """Whatever bytes a request holds, its record is one line of JSON that starts with its id."""
    text = line(
        an_opening(method=method, path=path, query=query, user_agent=user_agent, client_address=address),
        a_closing(),
    )
    assert b"\n" not in text
    assert text.startswith(b'{"requestId":"req_1"')
    assert json.loads(text)["clientAddress"] == address


@given(
    path=anything,
    received_at=st.integers(0, 4_102_444_800_000),
    limits=st.lists(st.tuples(st.text(), st.text()), max_size=3),
    quota=st.lists(st.integers(0, 2**40), max_size=6),
    marks=st.lists(st.integers(0, 2**62), max_size=8),
    status=st.none() | st.integers(100, 999),
    upstream=st.none() | st.tuples(st.text(), st.none() | st.integers(100, 999)),
)
def test_any_record_survives_the_ring_unaltered(
    path: bytes,
    received_at: int,
    limits: list[tuple[str, str]],
    quota: list[int],
    marks: list[int],
    status: int | None,
    upstream: tuple[str, int | None] | None,
) -> None:
    """What is decoded from msgpack makes the same line as what was encoded."""
    opened = an_opening(path=path, received_at=received_at, limits=tuple(limits), quota=tuple(quota))
    closed = a_closing(status=status, upstream=upstream, marks=tuple(marks))
    encode, decode = msgspec.msgpack.encode, msgspec.msgpack.decode
    again = decode(encode(opened), type=Opening), decode(encode(closed), type=Closing)
    assert line(*again) == line(opened, closed)
    assert line(again[0], None) == line(opened, None)
