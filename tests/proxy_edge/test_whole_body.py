"""Bodies that rules look into: read whole, judged, forwarded as judged, or refused with the permit given back."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.rules import Undecided
from proxy_edge.aside import LARGE
from proxy_edge.client import ClientConnection
from tests.kit.edge import policy
from tests.kit.memory import MemoryEdge, MemoryTransport, bundle, settle
from tests.kit.raw import get, request

NO_ADMINS: dict[str, Any] = {
    "ruleId": "no-admins",
    "effect": "deny",
    "methods": ["POST"],
    "bodyChecks": [{"jsonPath": {"pattern": r"\['role'\]$"}, "matchValue": {"pattern": "^admin$"}}],
}
SHADOW = {**NO_ADMINS, "ruleId": "shadow", "mode": "shadow"}
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CAP = 1 << 20


class Talk:
    """One caller of an edge in memory whose proxy has these rules and one call a minute."""

    def __init__(self, home: Path, *rules: dict[str, Any], **fields: Any) -> None:
        fields = {"proxyMaxRequestsPerMinute": 1, "proxyMaxBodyBytes": CAP, **fields}
        self.memory = MemoryEdge(home, policy("http://target.test", rules=list(rules), **fields))
        self.edge = self.memory.edge
        self.again()

    def again(self) -> None:
        """A new connection."""
        self.transport = MemoryTransport()
        self.caller = ClientConnection(self.edge)
        self.caller.connection_made(self.transport)

    async def send(self, *pieces: bytes) -> bytes:
        """What the caller has got after these pieces."""
        for piece in pieces:
            assert self.transport.reading, "the edge stopped reading for good"
            self.caller.data_received(piece)
        await settle()
        return self.transport.take()

    async def ends(self) -> bytes:
        """What the caller has got once its exchange is over, or waits for the target."""
        while True:
            exchange = self.caller.exchange
            if exchange is None or exchange.sent:
                return self.transport.take()
            await asyncio.sleep(0.001)

    def target(self) -> bytes:
        """All that targets have got."""
        return b"".join(bytes(transport.written) for _, transport in self.memory.dialler.connections)

    def answer(self, raw: bytes = OK) -> bytes:
        """The target answers; what the caller gets."""
        connection, _ = self.memory.dialler.connections[-1]
        connection.data_received(raw)
        return self.transport.take()

    async def record(self) -> dict[str, Any]:
        """The last one."""
        self.caller.connection_lost(None)
        await self.memory.drain()
        found: dict[str, Any] = json.loads(self.memory.records.read_bytes().splitlines()[-1])
        return found

    async def has_its_permit(self) -> bool:
        """Whether the one call of this minute is left: a GET, into which no rule looks, takes it."""
        self.again()
        await self.send(get("/api/api/x"))
        return b"GET /x HTTP/1.1\r\n" in self.target()

    def close(self) -> None:
        self.edge.pool.close()
        self.edge.aside.close()
        self.memory.permits.close()


@pytest.fixture
def talk(tmp_path: Path) -> Any:
    made: list[Talk] = []

    def make(*rules: dict[str, Any], **fields: Any) -> Talk:
        made.append(Talk(tmp_path / f"edge-{len(made)}", *(rules or (NO_ADMINS,)), **fields))
        return made[-1]

    yield make
    for one in made:
        one.close()


def post(body: bytes, *lines: str) -> bytes:
    return request("POST", "/api/api/x", *lines, body=body)


def head(*lines: str) -> bytes:
    return request("POST", "/api/api/x", *lines)


def code(answer: bytes) -> tuple[int, str]:
    name = answer.partition(b"exeat-proxy-code: ")[2].partition(b"\r\n")[0]
    return int(answer[9:12]), name.decode()


def chunked(*pieces: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(one), one) for one in pieces) + b"0\r\n\r\n"


ADMIN, USER = b'{"role":"admin"}', b'{"role": "user" , "n":1.50}'


async def test_a_body_that_a_rule_denies_goes_nowhere(talk: Callable[..., Talk]) -> None:
    """403 with the rule; nothing was dialled, the permit is back, and the record has the whole decision."""
    one = talk()
    answer = await one.send(post(ADMIN))
    assert code(answer) == (403, "rule-denied")
    body = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert (body["scope"], body["ruleId"]) == ("proxy", "no-admins")
    assert b"connection: close" not in answer
    assert one.memory.dialler.connections == []
    record = await one.record()
    assert record["decision"]["scopes"][2]["matched"] == ["no-admins"]
    assert await one.has_its_permit()


async def test_a_body_that_no_rule_denies_is_forwarded_as_it_came(talk: Callable[..., Talk]) -> None:
    """Byte for byte, blanks and spelling of numbers included."""
    one = talk()
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
        one = Talk(tmp_path_factory.mktemp("edge"), NO_ADMINS)
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
async def test_what_is_not_strict_json_is_refused(talk: Callable[..., Talk], body: bytes) -> None:
    """400, the connection closes, the permit is back."""
    one = talk()
    answer = await one.send(post(body))
    assert code(answer) == (400, "request-malformed")
    assert one.transport.closing
    assert await one.has_its_permit()


async def test_too_many_values_or_too_long_a_path_are_refused(talk: Callable[..., Talk]) -> None:
    """400, before they cost what they would."""
    for body in (b"[" + b"1," * 100_000 + b"1]", b'{"%b":1}' % (b"a" * 9000)):
        one = talk()
        await one.send(post(body))
        answer = bytes(one.transport.written) + await one.ends()
        assert code(answer) == (400, "request-malformed")
        assert one.target() == b""


@pytest.mark.parametrize("coding", ["gzip", "br", "identity, gzip", "x"])
async def test_a_content_coding_is_refused_before_the_body(talk: Callable[..., Talk], coding: str) -> None:
    """A rule could not read it: 400 on the head alone."""
    one = talk()
    answer = await one.send(head("Content-Length: 10", f"Content-Encoding: {coding}", "Expect: 100-continue"))
    assert code(answer) == (400, "request-malformed")
    assert await one.has_its_permit()


async def test_identity_is_no_coding(talk: Callable[..., Talk]) -> None:
    """In any case of letters."""
    one = talk()
    await one.send(post(USER, "Content-Encoding: Identity"))
    assert one.target().endswith(USER)


async def test_where_no_rule_looks_the_body_streams(talk: Callable[..., Talk]) -> None:
    """Another method: encoded, huge and no JSON, it is forwarded as it comes."""
    one = talk()
    await one.send(
        request("PUT", "/api/api/x", f"Content-Length: {CAP * 2}", "Content-Encoding: gzip"), b"first"
    )
    assert one.target().endswith(b"\r\n\r\nfirst")


async def test_a_body_over_the_cap_is_refused_at_once(talk: Callable[..., Talk]) -> None:
    """By its Content-Length before a byte of it, or as soon as chunks exceed it; 413 and the permit back."""
    one = talk()
    assert code(await one.send(head(f"Content-Length: {CAP + 1}", "Expect: 100-continue"))) == (
        413,
        "request-too-large",
    )
    assert await one.has_its_permit()
    one = talk()
    piece = b"x" * (CAP // 4)
    wire = [b"%x\r\n%b\r\n" % (len(piece), piece)] * 4
    assert await one.send(head("Transfer-Encoding: chunked"), *wire) == b""
    assert code(await one.send(b"1\r\nx\r\n")) == (413, "request-too-large")
    assert one.transport.ended
    assert one.target() == b""


@pytest.mark.parametrize("in_chunks", [False, True], ids=["length", "chunks"])
async def test_a_body_up_to_the_cap_is_read_without_a_stop(
    talk: Callable[..., Talk], *, in_chunks: bool
) -> None:
    """Far beyond what waits for a target elsewhere: nothing pauses the caller, and all of it goes on."""
    body = b'{"x":"' + b"a" * (CAP - 8) + b'"}'
    assert len(body) == CAP
    one = talk()
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


async def test_continue_is_answered_before_the_body_is_waited_for(talk: Callable[..., Talk]) -> None:
    """After the head steps; a caller that the head denies learns that instead."""
    one = talk()
    expecting = head(f"Content-Length: {len(USER)}", "Expect: 100-continue")
    assert await one.send(expecting) == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert one.target() == b""
    assert await one.send(USER) == b""
    assert one.target().endswith(USER)
    one = talk(NO_ADMINS, {"effect": "deny", "path": {"pattern": "^/x"}})
    assert code(await one.send(expecting)) == (403, "rule-denied")


async def test_silence_inside_the_body_is_a_timeout(talk: Callable[..., Talk]) -> None:
    """408 after the body's idle time, which every piece begins anew; the permit is back."""
    one = talk()
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


async def test_a_caller_who_leaves_gives_its_permit_back(talk: Callable[..., Talk]) -> None:
    """Inside its body, and while a thread judges it: nothing was sent."""
    one = talk()
    await one.send(head("Content-Length: 100"), b"{")
    assert (await one.record())["code"] == "client-aborted"
    assert await one.has_its_permit()
    one = talk()
    one.caller.data_received(post(b'["%b"]' % (b"a" * LARGE)))
    assert one.caller.exchange is not None
    assert (await one.record())["decision"] is None
    assert await one.has_its_permit()


async def test_broken_framing_inside_the_body_is_refused(talk: Callable[..., Talk]) -> None:
    """What came before it is never judged by itself."""
    one = talk()
    await one.send(head("Transfer-Encoding: chunked"), b"2\r\n{}\r\n")
    assert code(await one.send(b"zz\r\n")) == (400, "request-malformed")
    assert await one.has_its_permit()


@pytest.mark.parametrize("size", [0, LARGE], ids=["small", "large"])
async def test_a_policy_that_changes_meanwhile_judges_anew(
    talk: Callable[..., Talk], tmp_path: Path, size: int
) -> None:
    """Its rules hold when the body is there, and its limits count."""
    one = talk()
    body = b'{"role":"user","x":"%b"}' % (b"a" * size)
    await one.send(head(f"Content-Length: {len(body)}"), body[:-1])
    strict = [{**NO_ADMINS, "bodyChecks": [{"jsonPath": {"pattern": "role"}}], "ruleId": "no-roles"}]
    one.edge.apply(bundle(tmp_path / "other", policy("http://target.test", rules=strict)))
    answer = await one.send(body[-1:]) + await one.ends()
    assert code(answer) == (403, "rule-denied")
    assert b'"no-roles"' in answer
    assert one.target() == b""


async def test_a_proxy_switched_off_meanwhile_refuses(talk: Callable[..., Talk], tmp_path: Path) -> None:
    """What the head was allowed before says nothing any more."""
    one = talk()
    await one.send(head(f"Content-Length: {len(USER)}"))
    one.edge.apply(bundle(tmp_path / "other", policy("http://target.test", proxyActive=False)))
    assert code(await one.send(USER)) == (403, "proxy-inactive")


async def test_a_large_body_is_judged_aside(talk: Callable[..., Talk]) -> None:
    """Off the loop, with the same result: denied, refused or forwarded."""
    filler = b"a" * LARGE
    for body, expected in (
        (b'{"x":"%b","role":"admin"}' % filler, 403),
        (b'{"x":"%b","x":1}' % filler, 400),
        (b'{"x":"%b","role":"user"}' % filler, 0),
    ):
        one = talk()
        one.caller.data_received(post(body))
        assert one.transport.written == b""
        assert one.target() == b""
        answer = await one.ends()
        await settle()
        assert (code(answer)[0] if answer else 0) == expected
        assert one.target().endswith(body if not expected else b"")


async def test_a_judgement_that_takes_too_long_refuses(
    talk: Callable[..., Talk], monkeypatch: pytest.MonkeyPatch
) -> None:
    """503, by the judge's own watch or by the exchange's deadline; never "no match". Only shadows are not waited for."""
    body = b'{"x":"%b","role":"user"}' % (b"a" * LARGE)
    one = talk()
    one.caller.data_received(post(body))
    one.caller.deadline_passed()
    assert code(one.transport.take()) == (503, "policy-unavailable")
    assert await one.has_its_permit()
    one = talk(SHADOW)
    one.caller.data_received(post(body))
    one.caller.deadline_passed()
    await settle()
    assert one.target().endswith(body)
    monkeypatch.setattr("proxy_edge.steps.body.JUDGE_SECONDS", -1.0)
    one = talk()
    one.caller.data_received(post(body))
    assert code(await one.ends()) == (503, "policy-unavailable")
    assert one.target() == b""


async def test_an_unexpected_error_in_the_judgement_denies(
    talk: Callable[..., Talk], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the loop or aside: 500 to this caller, nothing sent, the permit back."""

    def broken(*_: object) -> None:
        raise RuntimeError("canary")

    monkeypatch.setattr(Undecided, "judge", broken)
    for body in (USER, b'["%b"]' % (b"a" * LARGE)):
        one = talk()
        answer = await one.send(post(body)) + await one.ends()
        assert code(answer) == (500, "internal-error")
        assert b"canary" not in answer
        assert await one.has_its_permit()


@pytest.mark.parametrize("presence", ["must_exist", "must_not_exist"])
@pytest.mark.parametrize(
    "wire",
    [head(), head("Content-Length: 0"), head("Transfer-Encoding: chunked") + b"0\r\n\r\n"],
    ids=["none", "length", "chunks"],
)
async def test_a_request_without_a_body_has_no_node(
    talk: Callable[..., Talk], wire: bytes, presence: str
) -> None:
    """It is judged without waiting: what must not exist does not."""
    one = talk({**NO_ADMINS, "bodyChecks": [{"jsonPath": {"pattern": ""}, "presence": presence}]})
    answer = await one.send(wire)
    if presence == "must_exist":
        assert b"POST /x HTTP/1.1" in one.target()
    else:
        assert code(answer) == (403, "rule-denied")
        assert b"connection: close" not in answer


async def test_the_next_request_on_the_connection_is_its_own(talk: Callable[..., Talk]) -> None:
    """A denied body is consumed; what is pipelined behind it is another request."""
    one = talk(proxyMaxRequestsPerMinute=None)
    answer = await one.send(post(ADMIN) + post(USER))
    assert code(answer) == (403, "rule-denied")
    assert one.target().count(b"POST /x") == 1
    assert one.target().endswith(USER)


async def test_a_shadow_rule_tells_and_refuses_nothing(talk: Callable[..., Talk]) -> None:
    """It sees what it can; what it cannot see goes on as if it were not there."""
    one = talk(SHADOW)
    await one.send(post(ADMIN))
    assert one.target().endswith(ADMIN)
    one.answer()
    assert (await one.record())["decision"]["scopes"][2]["shadow"] == ["shadow"]
    for wire in (
        post(b"no json"),
        post(ADMIN, "Content-Encoding: gzip"),
        head(f"Content-Length: {CAP + 1}") + b"x",
    ):
        one = talk(SHADOW)
        assert await one.send(wire) == b""
        assert one.target().endswith(wire.partition(b"\r\n\r\n")[2])
        one.caller.connection_lost(None)


async def test_a_stream_over_the_cap_goes_on_past_a_shadow_rule(talk: Callable[..., Talk]) -> None:
    """What was held goes upstream then, and the rest as it comes."""
    one = talk(SHADOW)
    piece = b"x" * (CAP // 2)
    wire = [b"%x\r\n%b\r\n" % (len(piece), piece)] * 2
    await one.send(head("Transfer-Encoding: chunked"), *wire)
    assert one.target() == b""
    await one.send(b"1\r\ny\r\n")
    assert len(one.target()) > CAP
    await one.send(b"1\r\nz\r\n0\r\n\r\n")
    assert one.target().endswith(b"1\r\nz\r\n0\r\n\r\n")


async def test_waiting_for_the_body_is_time_of_the_rules(talk: Callable[..., Talk]) -> None:
    """The record's timings add up, and no other stage has what the caller took."""
    one = talk()
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


async def test_a_body_that_leaves_slowly_is_waited_for(talk: Callable[..., Talk]) -> None:
    """The wait for the answer begins when the request has left; one that stands still is given up."""
    one = talk()
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
