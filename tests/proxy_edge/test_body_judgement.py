"""Bodies that rules judge: by the policy of the moment, aside when large, and never past a judgement that failed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from models.rules import Undecided
from proxy_edge.aside import LARGE
from tests.kit.edge import policy
from tests.kit.memory import bundle, settle
from tests.proxy_edge.body_talk import ADMIN, CAP, NO_ADMINS, USER, BodyTalk, code, head, post

SHADOW = {**NO_ADMINS, "ruleId": "shadow", "mode": "shadow"}


async def test_a_proxy_switched_off_meanwhile_refuses(
    body_talk: Callable[..., BodyTalk], tmp_path: Path
) -> None:
    """What the head was allowed before says nothing any more."""
    one = body_talk()
    await one.send(head(f"Content-Length: {len(USER)}"))
    one.edge.apply(bundle(tmp_path / "other", policy("http://target.test", proxyActive=False)))
    assert code(await one.send(USER)) == (403, "proxy-inactive")


async def test_a_large_body_is_judged_aside(body_talk: Callable[..., BodyTalk]) -> None:
    """Off the loop, with the same result: denied, refused or forwarded."""
    filler = b"a" * LARGE
    for body, expected in (
        (b'{"x":"%b","role":"admin"}' % filler, 403),
        (b'{"x":"%b","x":1}' % filler, 400),
        (b'{"x":"%b","role":"user"}' % filler, 0),
    ):
        one = body_talk()
        one.caller.data_received(post(body))
        assert one.transport.written == b""
        assert one.target() == b""
        answer = await one.ends()
        await settle()
        assert (code(answer)[0] if answer else 0) == expected
        assert one.target().endswith(body if not expected else b"")


async def test_a_judgement_that_takes_too_long_refuses(
    body_talk: Callable[..., BodyTalk], monkeypatch: pytest.MonkeyPatch
) -> None:
    """503, by the judge's own watch or by the exchange's deadline; never "no match". Only shadows are not waited for."""
    body = b'{"x":"%b","role":"user"}' % (b"a" * LARGE)
    one = body_talk()
    one.caller.data_received(post(body))
    one.caller.deadline_passed()
    assert code(one.transport.take()) == (503, "policy-unavailable")
    assert await one.has_its_permit()
    one = body_talk(SHADOW)
    one.caller.data_received(post(body))
    one.caller.deadline_passed()
    await settle()
    assert one.target().endswith(body)
    monkeypatch.setattr("proxy_edge.steps.body.JUDGE_SECONDS", -1.0)
    one = body_talk()
    one.caller.data_received(post(body))
    assert code(await one.ends()) == (503, "policy-unavailable")
    assert one.target() == b""


async def test_an_unexpected_error_in_the_judgement_denies(
    body_talk: Callable[..., BodyTalk], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the loop or aside: 500 to this caller, nothing sent, the permit back."""

    def broken(*_: object) -> None:
        raise RuntimeError("canary")

    monkeypatch.setattr(Undecided, "judge", broken)
    for body in (USER, b'["%b"]' % (b"a" * LARGE)):
        one = body_talk()
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
    body_talk: Callable[..., BodyTalk], wire: bytes, presence: str
) -> None:
    """It is judged without waiting: what must not exist does not."""
    one = body_talk({**NO_ADMINS, "bodyChecks": [{"jsonPath": {"pattern": ""}, "presence": presence}]})
    answer = await one.send(wire)
    if presence == "must_exist":
        assert b"POST /x HTTP/1.1" in one.target()
    else:
        assert code(answer) == (403, "rule-denied")
        assert b"connection: close" not in answer


async def test_the_next_request_on_the_connection_is_its_own(body_talk: Callable[..., BodyTalk]) -> None:
    """A denied body is consumed; what is pipelined behind it is another request."""
    one = body_talk(proxyMaxRequestsPerMinute=None)
    answer = await one.send(post(ADMIN) + post(USER))
    assert code(answer) == (403, "rule-denied")
    assert one.target().count(b"POST /x") == 1
    assert one.target().endswith(USER)


async def test_a_shadow_rule_tells_and_refuses_nothing(body_talk: Callable[..., BodyTalk]) -> None:
    """It sees what it can; what it cannot see goes on as if it were not there."""
    one = body_talk(SHADOW)
    await one.send(post(ADMIN))
    assert one.target().endswith(ADMIN)
    one.answer()
    assert (await one.record())["decision"]["scopes"][2]["shadow"] == ["shadow"]
    for wire in (
        post(b"no json"),
        post(ADMIN, "Content-Encoding: gzip"),
        head(f"Content-Length: {CAP + 1}") + b"x",
    ):
        one = body_talk(SHADOW)
        assert await one.send(wire) == b""
        assert one.target().endswith(wire.partition(b"\r\n\r\n")[2])
        one.caller.connection_lost(None)


async def test_a_stream_over_the_cap_goes_on_past_a_shadow_rule(body_talk: Callable[..., BodyTalk]) -> None:
    """What was held goes upstream then, and the rest as it comes."""
    one = body_talk(SHADOW)
    piece = b"x" * (CAP // 2)
    wire = [b"%x\r\n%b\r\n" % (len(piece), piece)] * 2
    await one.send(head("Transfer-Encoding: chunked"), *wire)
    assert one.target() == b""
    await one.send(b"1\r\ny\r\n")
    assert len(one.target()) > CAP
    await one.send(b"1\r\nz\r\n0\r\n\r\n")
    assert one.target().endswith(b"1\r\nz\r\n0\r\n\r\n")
