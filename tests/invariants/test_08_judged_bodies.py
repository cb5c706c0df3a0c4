"""Invariant 8: a body that was judged is sent byte for byte; one with two readings is not judged at all."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.invariants.judged import COMMON, Desk, Sent, quoted
from tests.kit.edge import CALLER_KEY

KEYS = st.text(st.sampled_from("ab'\\\"\n\x01é😀$[]."), max_size=3)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**30), 10**30),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text("ab'\\\"\n é😀<&", max_size=4),
)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)
WRITTEN = st.sampled_from([{}, {"indent": 1}, {"ensure_ascii": False}, {"separators": (" , ", "\t:\r\n")}])


def normalized(value: Any, path: str = "$") -> Iterator[tuple[str, str]]:
    """Path and text of every node, from RFC 9535 section 2.7 and API.md, written down once more."""
    yield (
        path,
        value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":")),
    )
    if isinstance(value, dict):
        for name, child in value.items():
            # JSON's escapes are those of a normalized path, but for the quote.
            inner = json.dumps(name, ensure_ascii=False)[1:-1].replace('\\"', '"').replace("'", "\\'")
            yield from normalized(child, f"{path}['{inner}']")
    elif isinstance(value, list):
        for index, child in enumerate(value):
            yield from normalized(child, f"{path}[{index}]")


@settings(COMMON, max_examples=200)
@given(value=JSON, written=WRITTEN, framing=st.sampled_from(["length", "chunked"]), pick=st.integers(0, 100))
def test_a_body_that_was_judged_is_sent_byte_for_byte(
    desk: Desk, value: Any, written: dict[str, Any], framing: str, pick: int
) -> None:
    """However it is spelled; and a rule that names any node of what was sent would have denied it."""
    body = json.dumps(value, **written).encode()
    raw = b"POST /api/plain/x HTTP/1.1\r\nHost: edge.test\r\nAuthorization: %b\r\n" % CALLER_KEY.encode()
    if framing == "length":
        raw += b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    else:
        half = len(body) // 2
        pieces = [piece for piece in (body[:half], body[half:]) if piece]
        raw += b"Transfer-Encoding: chunked\r\n\r\n"
        raw += b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    looks = {"bodyChecks": [{"jsonPath": {"pattern": "never there"}}]}
    with desk.ruled("plain", looks):
        sent = desk.put(raw)
    assert isinstance(sent, Sent)
    assert sent.body == body
    nodes = list(normalized(json.loads(sent.body)))
    path, text = nodes[pick % len(nodes)]
    check = {"jsonPath": {"pattern": f"^{quoted(path)}$"}, "matchValue": {"pattern": f"^{quoted(text)}$"}}
    if len(quoted(path)) < 1000 and len(quoted(text)) < 1000:
        assert desk.denies("plain", {"bodyChecks": [check]}, raw), (path, text)


@pytest.mark.parametrize(
    "body",
    [
        b'{"a":1,"a":2}',
        b'\xef\xbb\xbf{"a":1}',
        b'{"a":1}{"a":2}',
        b"[NaN]",
        b'"\\ud800"',
        b"a=1",
        b'{"a":"\xff"}',
    ],
    ids=repr,
)
def test_a_body_that_two_readers_could_read_differently_is_not_judged(desk: Desk, body: bytes) -> None:
    """What rules would look into, and what the target might take for something else, is refused."""
    raw = b"POST /api/plain/x HTTP/1.1\r\nHost: e\r\nAuthorization: %b\r\nContent-Length: %d\r\n\r\n%b"
    with desk.ruled("plain", {"bodyChecks": [{"jsonPath": {"pattern": "never there"}}]}):
        answer = desk.put(raw % (CALLER_KEY.encode(), len(body), body))
    assert isinstance(answer, bytes)
    assert answer.startswith(b"HTTP/1.1 400 ")
