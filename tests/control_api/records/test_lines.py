"""One line of a batch: what is a record, what is not, and what is kept of it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_api.records.layout import RECORDS, mark
from control_api.records.lines import LARGEST_BYTES, entry_id, entry_of, read_line
from models.decision import DEFAULT, Decision, ScopeOutcome
from models.record import Closing, Opening, join, lines
from tests.kit.recorded import AT, US, record

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
SCOPES = ("proxyCredential", "targetCredential", "proxy", "target")


def as_line(**fields: Any) -> bytes:
    """A record with these fields, as a line."""
    return msgspec.json.encode(record("req_1", **fields))


def changed(**fields: Any) -> bytes:
    """A record whose JSON has these values."""
    return msgspec.json.encode({**msgspec.json.decode(as_line()), **fields})


@given(
    path=TEXT,
    agent=st.binary(max_size=20),
    rules=st.lists(st.sampled_from(["rule_1", "rule_2"]), max_size=3),
    at_ms=st.integers(0, 253_402_214_400_000),
    status=st.none() | st.integers(100, 999),
    marks=st.lists(st.integers(0, 10**12), max_size=8).map(sorted),
    ended=st.booleans(),
    judged=st.booleans(),
)
def test_what_an_edge_writes_is_kept_as_it_is(
    path: str,
    agent: bytes,
    rules: list[str],
    at_ms: int,
    status: int | None,
    marks: list[int],
    ended: bool,
    judged: bool,
) -> None:
    """Any record that models.record writes comes out byte for byte."""
    one, two, three, four = (
        ScopeOutcome(scope, "deny", DEFAULT, tuple(rules), ("rule_9",)) for scope in SCOPES
    )
    opening = Opening(
        request_id="req_1",
        client_id="cli_one",
        proxy_id="prx_one",
        region=US,
        credential_id=None,
        received_at=at_ms,
        method=b"GET",
        path=path.encode(),
        query=b"",
        decision=Decision("deny", (one, two, three, four)).packed if judged else None,
        limits=(("meter", "minute"),),
        quota=(1, 2),
        client_address="192.0.2.7",
        user_agent=agent,
        revision=1,
    )
    closing = (
        Closing(status, "rule-denied", tuple(marks), ("api.example.com", None), 1, 2, 3) if ended else None
    )
    written = lines([join(opening, closing)]).removesuffix(b"\n")

    found = read_line(written, US)

    assert found.text == written
    assert (found.request_id, found.client_id, found.proxy_id) == ("req_1", "cli_one", "prx_one")
    assert found.received_ms == at_ms
    assert found.status == (status if ended else "unknown")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        pytest.param(b"", "no record", id="empty"),
        pytest.param(b"{", "no record", id="cut"),
        pytest.param(b"[]", "no record", id="list"),
        pytest.param(b"{}", "no record", id="fields-missing"),
        pytest.param(as_line() + as_line(), "no record", id="two-in-one"),
        pytest.param(changed(bytesIn="1"), "no record", id="text-for-number"),
        pytest.param(changed(revision=None), "no record", id="nothing-for-number"),
        pytest.param(changed(status="lost"), "no record", id="status-of-another-word"),
        pytest.param(
            changed(decision={"effect": "allow", "scopes": []}), "no record", id="decision-without-scopes"
        ),
        pytest.param(changed(decision=[[[]]]), "no record", id="decision-of-another-type"),
        pytest.param(as_line().replace(b"/v1/things", b"/\xff\xfe"), "no record", id="not-utf-8"),
        pytest.param(b'{"x":' + b"[" * 100_000, "no record", id="deep"),
        pytest.param(changed(region="eu-west-1"), "another region", id="region"),
        pytest.param(changed(requestId=""), "an id", id="no-id"),
        pytest.param(changed(requestId="a/b"), "an id", id="id-with-slash"),
        pytest.param(changed(clientId="$where"), "an id", id="client"),
        pytest.param(changed(proxyId="x" * 129), "an id", id="long-proxy"),
        pytest.param(changed(credentialId="a\0"), "an id", id="credential"),
        pytest.param(changed(receivedAt="2027-01-15"), "a time", id="date"),
        pytest.param(changed(receivedAt="2027-02-30T08:00:00.000Z"), "a time", id="no-such-day"),
        pytest.param(changed(receivedAt="1969-12-31T23:59:59.999Z"), "a time", id="before-1970"),
        pytest.param(changed(status=99), "a status", id="small-status"),
        pytest.param(changed(status=1000), "a status", id="large-status"),
        pytest.param(changed(code="Rule denied"), "a code", id="code"),
        pytest.param(changed(durationMs=-0.1), "duration", id="negative-duration"),
        pytest.param(changed(bytesOut=-1), "a size", id="negative-size"),
        pytest.param(changed(bytesIn=LARGEST_BYTES + 1), "a size", id="large-size"),
    ],
)
def test_what_is_no_record_is_refused_without_repeating_it(text: bytes, problem: str) -> None:
    """A ValueError in our words."""
    with pytest.raises(ValueError, match=r"^(is|has) ") as refused:
        read_line(text, US)
    assert problem.removeprefix("no ") in str(refused.value)
    assert "req_1" not in str(refused.value)


def test_what_is_not_known_is_not_kept() -> None:
    """A field of another version is left out, in the record as in its decision."""
    more = changed(more="x")
    decision = msgspec.json.decode(as_line())["decision"] | {"more": "x"}
    assert read_line(more, US).text == as_line()
    assert read_line(changed(decision=decision), US).text == as_line()


def test_an_entry_has_what_may_be_asked_for() -> None:
    """Indexed fields name the client with the value; what is None is left out."""
    found = entry_of(read_line(as_line(), US), "b#1")
    assert set(found) == {"line", "batch", *RECORDS.indexes}
    assert found["status"] == mark("cli_one", 200) != mark("cli_one", 201)
    bare = entry_of(read_line(as_line(status=None, code=None, credential_id=None), US), "b#1")
    assert set(bare) == {"line", "batch", "client"}
    assert read_line(as_line(), US).received_ms == AT
    assert entry_id("a", "b") != entry_id("b", "a")
    assert mark("ab", "c") != mark("a", "bc")
