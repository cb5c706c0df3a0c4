"""Bodies that rules look into: read whole, judged, forwarded as judged, or refused with the permit given back."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy_edge.aside import LARGE
from tests.kit.edge import policy
from tests.kit.memory import bundle, settle
from tests.kit.raw import request
from tests.proxy_edge.body_talk import ADMIN, CAP, NO_ADMINS, USER, BodyTalk, code, head, post


def chunked(*pieces: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(one), one) for one in pieces) + b"0\r\n\r\n"


async def test_a_body_that_a_rule_denies_goes_nowhere(body_talk: Callable[..., BodyTalk]) -> None:
    """403 with the rule; nothing was dialled, the permit is back, and the record has the whole decision."""
    one = body_talk()
    answer = await one.send(post(ADMIN))
    assert code(answer) == (403, "rule-denied")
    body = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert (body["scope"], body["ruleId"]) == ("proxy", "no-admins")
    assert b"connection: close" not in answer
    assert one.memory.dialler.connections == []
    record = await one.record()
    assert record["decision"]["scopes"][2]["matched"] == ["no-admins"]
    assert await one.has_its_permit()


async def test_a_body_that_no_rule_denies_is_forwarded_as_it_came(body_talk: Callable[..., BodyTalk]) -> None:
    """Byte for byte, blanks and spelling of numbers included."""
    one = body_talk()
    await one.send(post(USER))
    assert one.target().endswith(b"content-length: %d\r\n\r\n%b" % (len(USER), USER))
    assert code(one.answer()) == (200, "proxy-access-granted")
    record = await one.record()
    assert record["decision"]["effect"] == "allow"
    assert record["bytesIn"] == len(USER)
    assert not await one.has_its_permit()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    body=st.sampled_from([ADMIN, USER, b"[]", b"nonsense", b'{"role":"user","role":"admin"}']),
    cuts=st.lists(st.integers(0, 200), max_size=6),
    in_chunks=st.booleans(),
    expects=st.booleans(),
)
def test_however_it_arrives_it_is_judged_as_a_whole(
    tmp_path_factory: pytest.TempPathFactory, body: bytes, cuts: list[int], *, in_chunks: bool, expects: bool
) -> None:
    """Any split, chunks or a length: nothing goes upstream before the decision, and then all of it."""
    lines = ["Expect: 100-continue"] if expects else []
    if in_chunks:
        size = max(1, len(body) // 3)
        pieces = [body[at : at + size] for at in range(0, len(body), size)]
        wire = head("Transfer-Encoding: chunked", *lines) + chunked(*pieces)
    else:
        wire = post(body, *lines)
    edges = sorted({0, len(wire), *(place % len(wire) for place in cuts)})

    async def main() -> tuple[bytes, bytes]:
        one = BodyTalk(tmp_path_factory.mktemp("edge"), NO_ADMINS)
        try:
            for start, end in itertools.pairwise(edges):
                assert one.target() == b""
                one.caller.data_received(wire[start:end])
            await settle()
            return one.transport.take(), one.target()
        finally:
            one.caller.connection_lost(None)
            one.close()

    got, sent = asyncio.run(main())
    if body in {USER, b"[]"}:
        assert got in {b"", b"HTTP/1.1 100 Continue\r\n\r\n"}
        rest = sent.partition(b"\r\n\r\n")[2]
        assert rest == (chunked(body) if in_chunks else body)
    else:
        assert code(got.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n"))[0] == (403 if body == ADMIN else 400)
        assert sent == b""


@pytest.mark.parametrize(
    "body",
    [
        b"x",
        b" ",
        b"\xef\xbb\xbf{}",
        b'{"a":1,"a":2}',
        b'["\\ud800"]',
        b"[NaN]",
        b"[" * 129 + b"]" * 129,
        b'"\xff"',
    ],
    ids=["text", "blank", "mark", "twice", "surrogate", "nan", "deep", "latin-1"],
)
async def test_what_is_not_strict_json_is_refused(body_talk: Callable[..., BodyTalk], body: bytes) -> None:
    """400, the connection closes, the permit is back."""
    one = body_talk()
    answer = await one.send(post(body))
    assert code(answer) == (400, "request-malformed")
    assert one.transport.closing
    assert await one.has_its_permit()


async def test_too_many_values_or_too_long_a_path_are_refused(body_talk: Callable[..., BodyTalk]) -> None:
    """400, before they cost what they would."""
    for body in (b"[" + b"1," * 100_000 + b"1]", b'{"%b":1}' % (b"a" * 9000)):
        one = body_talk()
        await one.send(post(body))
        answer = bytes(one.transport.written) + await one.ends()
        assert code(answer) == (400, "request-malformed")
        assert one.target() == b""


@pytest.mark.parametrize("coding", ["gzip", "br", "identity, gzip", "x"])
async def test_a_content_coding_is_refused_before_the_body(
    body_talk: Callable[..., BodyTalk], coding: str
) -> None:
    """A rule could not read it: 400 on the head alone."""
    one = body_talk()
    answer = await one.send(head("Content-Length: 10", f"Content-Encoding: {coding}", "Expect: 100-continue"))
    assert code(answer) == (400, "request-malformed")
    assert await one.has_its_permit()


async def test_identity_is_no_coding(body_talk: Callable[..., BodyTalk]) -> None:
    """In any case of letters."""
    one = body_talk()
    await one.send(post(USER, "Content-Encoding: Identity"))
    assert one.target().endswith(USER)


async def test_where_no_rule_looks_the_body_streams(body_talk: Callable[..., BodyTalk]) -> None:
    """Another method: encoded, huge and no JSON, it is forwarded as it comes."""
    one = body_talk()
    await one.send(
        request("PUT", "/api/api/x", f"Content-Length: {CAP * 2}", "Content-Encoding: gzip"), b"first"
    )
    assert one.target().endswith(b"\r\n\r\nfirst")


async def test_a_body_over_the_cap_is_refused_at_once(body_talk: Callable[..., BodyTalk]) -> None:
    """By its Content-Length before a byte of it, or as soon as chunks exceed it; 413 and the permit back."""
    one = body_talk()
    assert code(await one.send(head(f"Content-Length: {CAP + 1}", "Expect: 100-continue"))) == (
        413,
        "request-too-large",
    )
    assert await one.has_its_permit()
    one = body_talk()
    piece = b"x" * (CAP // 4)
    wire = [b"%x\r\n%b\r\n" % (len(piece), piece)] * 4
    assert await one.send(head("Transfer-Encoding: chunked"), *wire) == b""
    assert code(await one.send(b"1\r\nx\r\n")) == (413, "request-too-large")
    assert one.transport.ended
    assert one.target() == b""


@pytest.mark.parametrize("in_chunks", [False, True], ids=["length", "chunks"])
async def test_a_body_up_to_the_cap_is_read_without_a_stop(
    body_talk: Callable[..., BodyTalk], *, in_chunks: bool
) -> None:
    """Far beyond what waits for a target elsewhere: nothing pauses the caller, and all of it goes on."""
    body = b'{"x":"' + b"a" * (CAP - 8) + b'"}'
    assert len(body) == CAP
    one = body_talk()
    pieces = [body[at : at + 65536] for at in range(0, CAP, 65536)]
    if in_chunks:
        wire = [b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces] + [b"0\r\n\r\n"]
        await one.send(head("Transfer-Encoding: chunked"), *wire)
    else:
        await one.send(head(f"Content-Length: {CAP}"), *pieces)
    assert await one.ends() == b""
    await settle()
    assert one.target().partition(b"\r\n\r\n")[2] == (chunked(body) if in_chunks else body)
    assert code(one.answer()) == (200, "proxy-access-granted")


async def test_continue_is_answered_before_the_body_is_waited_for(body_talk: Callable[..., BodyTalk]) -> None:
    """After the head steps; a caller that the head denies learns that instead."""
    one = body_talk()
    expecting = head(f"Content-Length: {len(USER)}", "Expect: 100-continue")
    assert await one.send(expecting) == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert one.target() == b""
    assert await one.send(USER) == b""
    assert one.target().endswith(USER)
    one = body_talk(NO_ADMINS, {"effect": "deny", "path": {"pattern": "^/x"}})
    assert code(await one.send(expecting)) == (403, "rule-denied")


async def test_silence_inside_the_body_is_a_timeout(body_talk: Callable[..., BodyTalk]) -> None:
    """408 after the body's idle time, which every piece begins anew; the permit is back."""
    one = body_talk()
    await one.send(head("Content-Length: 100"), b"{")
    idle = one.edge.settings.body_idle_seconds
    assert one.caller.deadline == one.edge.now + idle
    one.edge.now += 7
    await one.send(b" ")
    assert one.caller.deadline == one.edge.now + idle
    one.caller.deadline_passed()
    assert code(one.transport.take()) == (408, "request-timeout")
    assert one.transport.ended
    assert await one.has_its_permit()


async def test_a_caller_who_leaves_gives_its_permit_back(body_talk: Callable[..., BodyTalk]) -> None:
    """Inside its body, and while a thread judges it: nothing was sent."""
    one = body_talk()
    await one.send(head("Content-Length: 100"), b"{")
    assert (await one.record())["code"] == "client-aborted"
    assert await one.has_its_permit()
    one = body_talk()
    one.caller.data_received(post(b'["%b"]' % (b"a" * LARGE)))
    assert one.caller.exchange is not None
    assert (await one.record())["decision"] is None
    assert await one.has_its_permit()


async def test_broken_framing_inside_the_body_is_refused(body_talk: Callable[..., BodyTalk]) -> None:
    """What came before it is never judged by itself."""
    one = body_talk()
    await one.send(head("Transfer-Encoding: chunked"), b"2\r\n{}\r\n")
    assert code(await one.send(b"zz\r\n")) == (400, "request-malformed")
    assert await one.has_its_permit()


@pytest.mark.parametrize("size", [0, LARGE], ids=["small", "large"])
async def test_a_policy_that_changes_meanwhile_judges_anew(
    body_talk: Callable[..., BodyTalk], tmp_path: Path, size: int
) -> None:
    """Its rules hold when the body is there, and its limits count."""
    one = body_talk()
    body = b'{"role":"user","x":"%b"}' % (b"a" * size)
    await one.send(head(f"Content-Length: {len(body)}"), body[:-1])
    strict = [{**NO_ADMINS, "bodyChecks": [{"jsonPath": {"pattern": "role"}}], "ruleId": "no-roles"}]
    one.edge.apply(bundle(tmp_path / "other", policy("http://target.test", rules=strict)))
    answer = await one.send(body[-1:]) + await one.ends()
    assert code(answer) == (403, "rule-denied")
    assert b'"no-roles"' in answer
    assert one.target() == b""


async def test_waiting_for_the_body_is_time_of_the_rules(body_talk: Callable[..., BodyTalk]) -> None:
    """The record's timings add up, and no other stage has what the caller took."""
    one = body_talk()
    await one.send(head(f"Content-Length: {len(USER)}"))
    passed = asyncio.Event()
    asyncio.get_running_loop().call_later(0.05, passed.set)
    await passed.wait()
    await one.send(USER)
    one.answer()
    record = await one.record()
    timings = record["timings"]
    assert timings["rules"] >= 45
    assert sum(timings.values()) == pytest.approx(record["durationMs"], abs=0.1)
    assert timings["limits"] + timings["lease"] < 40


async def test_a_body_that_leaves_slowly_is_waited_for(body_talk: Callable[..., BodyTalk]) -> None:
    """The wait for the answer begins when the request has left; one that stands still is given up."""
    one = body_talk()
    await one.send(post(USER))
    connection, transport = one.memory.dialler.connections[0]
    left = iter([500, 400, 400])
    transport.get_write_buffer_size = lambda: next(left)  # type: ignore[method-assign]  # a slow target
    for _ in range(2):
        one.caller.deadline_passed()
        assert one.transport.take() == b""
        assert one.caller.deadline == one.edge.now + one.edge.settings.body_idle_seconds
    connection.pause_writing()
    connection.resume_writing()
    assert one.caller.deadline == one.edge.now + 30
    one.caller.deadline_passed()
    assert code(one.transport.take()) == (504, "target-timeout")
