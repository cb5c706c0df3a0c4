"""Ambiguous requests on real sockets go no further: heads, bodies and targets that two readers could read differently."""

from __future__ import annotations

import pytest

from tests.e2e.refused_requests.refusals import CASES, Bench, assert_refused, mark, problem
from tests.kit.raw import get

# -- ambiguous heads and bodies -----------------------------------------------------------------------


@pytest.mark.parametrize("name", CASES)
def test_malformed_requests_go_no_further(bench: Bench, name: str) -> None:
    """400 request-malformed, closed, and no complete request at the target."""
    word = mark()
    assert_refused(bench, CASES[name].replace("@", word).encode("latin-1"), word)


@pytest.mark.parametrize("name", CASES)
def test_what_was_asked_before_is_answered(bench: Bench, name: str) -> None:
    """A malformed request behind a good one takes nothing from it, and ends the connection after its answer."""
    word, good = mark(), mark()
    with bench.client() as client:
        client.send(get(f"/api/api/{good}") + CASES[name].replace("@", word).encode("latin-1"))
        assert client.answer().status == 200
        answer = client.answer()
        assert (answer.status, problem(answer)) == (400, "request-malformed")
        assert client.closed()
    assert len(bench.seen(good)) == 1
    assert [seen.target for seen in bench.seen(f"/{word}/") if seen.complete] == []


def test_nothing_is_read_behind_a_malformed_request(bench: Bench) -> None:
    """What follows it may be the smuggled half: it is never served."""
    for name in (
        "two Content-Length that differ",
        "space before the colon of Content-Length",
        "chunk '0x3\\r\\nabc\\r\\n0\\r\\n\\r\\n'",
    ):
        word, smuggled = mark(), mark()
        data = CASES[name].replace("@", word).encode("latin-1") + get(f"/api/api/{smuggled}")
        assert_refused(bench, data, word)
        assert bench.seen(smuggled) == []


TARGETS = [
    "/../x", "/..", "/.", "/./x", "/a/..", "/a/../b", "/a/./b", "/%2e%2e/x", "/%2E%2e/x", "/.%2e/x", "/%2e", "/a/%2e/b",
    "/%252e%252e/x", "/%25252e./x", "/..;a=b/x", "/..;/x", "/.;x", "/%2e%2e%3bx/y", "/..%2fx", "/..%2Fx", "/a%2f..%2fb",
    "/..%5cx", "/..\\x", "/%c0%ae%c0%ae/x", "/%e0%80%ae./x", "/..%c0%afx", "/..%20/x", "/%20../x", "/..%09", "/..%00/x",
    "/a%2fb", "/a%2Fb", "/%2f", "/a//b", "//", "//a", "/a//", "/a///b",
    "/%", "/%2", "/%zz", "/%2g", "/a%%41", "/%u0041", "/a?b=%", "/a?b=%zz", "/a?%4",
    "/a\\b", "/\\", "/a%5cb", "/a%5Cb", "/a?b\\c",
    "/a#b", "/#", "/a?b#c", "/a?b=c#",
    "/a%00", "/%00", "/a%00b", "/%2500", "/a?b=%00",
    "/\xc3\xa4", "/a\x7f", "/a\x00b", "/a?\xff",
]  # fmt: skip


@pytest.mark.parametrize("target", TARGETS)
def test_ambiguous_targets_go_no_further(bench: Bench, target: str) -> None:
    """Dot segments in any encoding, escaped or doubled slashes, bad escapes, backslash, fragment, NUL, raw bytes."""
    word = mark()
    path, question, query = target.partition("?")
    assert_refused(bench, get(f"/api/api/{word}{path}{question}{query}"), word)


@pytest.mark.parametrize("target", ["//api/api/@/x", "/api//api/@/x", "/./api/api/@/x", "/x/../api/api/@/x", "/api/./api/@/x",
                                    "/api%2fapi/@/x", "/%61pi%2Fapi/@/x", "/api\\api/@/x", "/API/api/@/x"])  # fmt: skip
def test_no_second_way_leads_to_a_proxy(bench: Bench, target: str) -> None:
    """Whatever is wrong before the proxy's name is refused too, as malformed or as unknown."""
    word = mark()
    with bench.client() as client:
        client.send(get(target.replace("@", word)))
        assert client.answer().status in {400, 404}
    assert bench.seen(word) == []


def test_an_escaped_letter_is_the_letter(bench: Bench) -> None:
    """One form of every path: what is only spelled unusually is served, and judged in its usual spelling."""
    word = mark()
    with bench.client() as client:
        client.send(get(f"/%61pi/%61p%69/{word}/%7e%41?q=%7E"))
        assert client.answer().status == 200
        client.send(get("/api/api/%64enied"))
        assert client.answer().status == 403
    assert [seen.target for seen in bench.seen(word)] == [f"/{word}/~A?q=~"]


# -- who owns a connection ---------------------------------------------------------------------------------


def test_a_malformed_request_may_arrive_byte_by_byte(bench: Bench) -> None:
    """The refusal does not depend on how it came; what the caller still sends does not reset the answer."""
    word = mark()
    data = CASES["Content-Length, then Transfer-Encoding"].replace("@", word).encode()
    with bench.client() as client:
        for byte in data:
            client.send(bytes([byte]))
        assert problem(client.answer()) == "request-malformed"
        assert client.closed()
    assert bench.seen(word) == []
