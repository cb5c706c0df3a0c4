"""One call over HTTP: what is repeated, what is kept, and that no error or log holds the token (sdk/wire.py)."""

from __future__ import annotations

import asyncio
import logging
import traceback

import httpx
import pytest

from models.secret import Secret
from sdk import ApiProblem, ApiUnreachable, CallFailed, ExeatClient, Retry, UnexpectedAnswer
from sdk.wire import Wire, check_base_url
from tests.sdk.tiny_api import TOKEN, Server

QUICK = Retry(first=0.001, most=0.01)
UNAVAILABLE = (
    503,
    {"code": "unavailable", "title": "Service unavailable", "status": 503},
    {"Retry-After": "0"},
)


def everything_in(error: BaseException) -> str:
    """All that a log could show of an error: its text, its chain, and its attributes."""
    found, seen = "", []
    one: BaseException | None = error
    while one is not None and one not in seen:
        seen.append(one)
        found += "".join(traceback.format_exception(one)) + repr(vars(one)) + repr(one.args)
        one = one.__cause__ or one.__context__
    return found


@pytest.mark.parametrize("fault", ["drop", UNAVAILABLE, (502, b"<html>", {}), (504, {"code": "x"}, {})])
async def test_reads_are_repeated_up_to_a_bound(api: ExeatClient, server: Server, fault: object) -> None:
    """Twice the fault, then the answer; three times, then the error."""
    server.state.faults = [fault, fault]
    assert (await api.clients.page()).items == ()
    assert len(server.state.seen) == 3
    server.state.faults = [fault] * 5
    with pytest.raises(CallFailed):
        await api.clients.page()
    assert len(server.state.seen) == 6


@pytest.mark.parametrize("fault", ["drop", UNAVAILABLE])
async def test_writes_are_repeated_with_a_key_only(api: ExeatClient, server: Server, fault: object) -> None:
    """A POST without a key, a PUT, a PATCH and a DELETE are made once, whatever comes of it."""
    for call in (
        lambda: api.clients.create(name="x"),
        lambda: api.clients.replace("c", name="x"),
        lambda: api.clients.patch("c", name="x"),
        lambda: api.clients.delete("c"),
        lambda: api.credentials.revoke("c", "r"),
    ):
        server.state.faults, server.state.seen = [fault], []
        with pytest.raises(CallFailed):
            await call()
        assert len(server.state.seen) == 1
    server.state.faults, server.state.seen = [fault, fault], []
    client = await api.clients.create(name="x", idempotency_key="k 1")
    assert client.name == "x"
    assert [request.headers["idempotency-key"] for request in server.state.seen] == ["k 1"] * 3
    assert len({request.body for request in server.state.seen}) == 1


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 412, 422, 429, 500])
async def test_other_problems_are_final(api: ExeatClient, server: Server, status: int) -> None:
    """What another try would not change is not tried again."""
    server.state.faults = [(status, {"code": "c", "detail": "why", "requestId": "req_9"}, {})]
    with pytest.raises(ApiProblem) as problem:
        await api.clients.page()
    found = problem.value
    assert (found.status, found.code, found.detail, found.request_id) == (status, "c", "why", "req_9")
    assert len(server.state.seen) == 1


async def test_a_server_that_hangs_is_left_in_time(server: Server) -> None:
    """The timeout is for the whole attempt."""
    server.state.faults = ["hang"]
    async with ExeatClient(server.url, TOKEN, timeout=0.2, retry=Retry(attempts=1)) as api:
        with pytest.raises(ApiUnreachable, match=r"no answer within 0\.2 s"):
            await api.clients.page()


async def test_a_cancelled_call_is_cancelled(api: ExeatClient, server: Server) -> None:
    """Nothing is made of the cancellation."""
    server.state.faults = ["hang"]
    call = asyncio.ensure_future(api.clients.page())
    while not server.state.seen:  # noqa: ASYNC110 - another thread's
        await asyncio.sleep(0.01)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call


@pytest.mark.parametrize(
    "fault",
    [
        (200, b"<html>hello</html>", {}),
        (200, b"[1]", {}),
        (200, {"message": "Success"}, {}),
        (200, {"clients": {}, "message": "Success"}, {}),
        (200, {"clients": [1]}, {}),
        (200, {"clients": [{"clientId": 5, "clientName": "x"}]}, {}),
        (200, {"clients": [{"clientName": "x"}]}, {}),
        (200, {"clients": [], "nextCursor": 5}, {}),
        (200, b"", {}),
        (302, b"", {"Location": "/v1/health"}),
        (404, b"not here", {}),
        (404, {"error": "not here"}, {}),
    ],
)
async def test_answers_of_something_else_are_told_apart(
    api: ExeatClient, server: Server, fault: object
) -> None:
    """A redirect is not followed, and what is not API.md's is UnexpectedAnswer."""
    server.state.faults = [fault]
    with pytest.raises(UnexpectedAnswer):
        await api.clients.page()
    assert len(server.state.seen) == 1


async def test_no_cookie_is_kept(api: ExeatClient, server: Server) -> None:
    """One that the server sets does not come back."""
    empty = {"clients": [], "message": "Success"}
    server.state.faults = [(200, empty, {"Set-Cookie": "session=1; Path=/"})]
    await api.clients.page()
    await api.clients.page()
    assert "cookie" not in server.state.seen[-1].headers


async def test_nothing_is_read_from_the_environment(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that the environment names is not used."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    async with ExeatClient(server.url, TOKEN, retry=QUICK) as api:
        assert (await api.clients.page()).items == ()


async def test_logs_have_neither_url_nor_token(
    api: ExeatClient, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    """The HTTP library stays quiet although everything is logged."""
    caplog.set_level(logging.DEBUG)
    await api.clients.page()
    server.state.faults = ["drop"] * 3
    with pytest.raises(ApiUnreachable):
        await api.clients.page()
    assert not [record for record in caplog.records if record.name.startswith(("http", "sdk"))]
    assert TOKEN not in caplog.text


async def test_no_error_holds_the_token(server: Server) -> None:
    """Refused, echoed, dropped, hanging, away, or of another kind: not in its text, chain or attributes."""
    echo = {"code": TOKEN, "title": TOKEN, "detail": f"bad {TOKEN}", "requestId": TOKEN}
    echo |= {"errors": [{"field": TOKEN, "message": TOKEN}, 5], "references": [TOKEN]}
    faults = [(401, echo, {}), "drop", "hang", (200, TOKEN.encode(), {}), (200, {"clients": [TOKEN]}, {})]
    async with ExeatClient(server.url, TOKEN, timeout=0.2, retry=Retry(attempts=1)) as api:
        for fault in faults:
            server.state.faults = [fault]
            with pytest.raises(CallFailed) as error:
                await api.clients.page()
            assert TOKEN not in everything_in(error.value)
        server.end()
        with pytest.raises(ApiUnreachable, match="ConnectError") as error:
            await api.clients.page()
        assert TOKEN not in everything_in(error.value)
        assert error.value.__context__ is None


@pytest.mark.parametrize(
    "url",
    ["", "api.example", "ftp://api.example", "http://", "http://u:hunter2@h", "http://h?hunter2", "http://h#x",
     "http://h:0", "http://h:99999", "http://h /", "http://hé/", "http://[::1"],
)  # fmt: skip
def test_urls_that_cannot_be_used_are_refused(url: str) -> None:
    """Without being repeated."""
    with pytest.raises(ValueError, match="base URL") as error:
        Wire(url, TOKEN)
    assert "hunter2" not in everything_in(error.value)


def test_v1_is_added_once() -> None:
    """With or without it, with a path before it."""
    assert check_base_url("http://h:7700") == "http://h:7700/v1"
    assert check_base_url("http://h:7700/v1/") == "http://h:7700/v1"
    assert check_base_url("https://h/exeat/") == "https://h/exeat/v1"
    assert check_base_url("http://[::1]:7700") == "http://[::1]:7700/v1"


@pytest.mark.parametrize("token", ["", "two words", "hunter2\n", "hunter2é", "\ud800", "x" * 513])
def test_tokens_that_cannot_be_sent_are_refused(token: str) -> None:
    """Before anything is sent, and without being repeated."""
    for given in (token, Secret(token)):
        with pytest.raises(ValueError, match="one word of printable ASCII") as error:
            Wire("http://h", given)
        assert "hunter2" not in str(error.value)


async def test_bad_arguments_are_refused_before_anything_is_sent(api: ExeatClient, server: Server) -> None:
    """Ids that would lead elsewhere, keys and paths that are none, bodies that are not JSON."""
    for call in (
        lambda: api.clients.get("../users"),
        lambda: api.clients.get("a/b"),
        lambda: api.clients.get(".."),
        lambda: api.clients.get(""),
        lambda: api.proxies.get("c", "a?b"),
        lambda: api.clients.create(name="x", idempotency_key=""),
        lambda: api.clients.create(name="x", idempotency_key="a\nb"),
        lambda: api.clients.create(name="x" * 5, idempotency_key="é"),
        lambda: api.clients.create(name="\ud800"),
        lambda: api.clients.create({"clientName": object()}),
        lambda: api.call("GET", "clients"),
        lambda: api.call("GET", "/clients?limit=1"),
        lambda: api.call("GET", "/clients\r\nX: y"),
    ):
        with pytest.raises(ValueError):  # noqa: PT011 - each has a message of its own
            await call()
    assert server.state.seen == []


async def test_another_transport_can_be_given() -> None:
    """For TLS settings of one's own, and for tests without a socket."""

    def answer(request: httpx.Request) -> httpx.Response:
        assert str(request.url) == "https://api.example/v1/clients?limit=3"
        assert request.headers["authorization"] == TOKEN
        return httpx.Response(200, json={"clients": [], "message": "Success"})

    async with ExeatClient("https://api.example", TOKEN, transport=httpx.MockTransport(answer)) as api:
        assert (await api.clients.page(limit=3)).items == ()


def test_pauses_are_bounded() -> None:
    """They double, with chance, up to the most; a server's wish counts up to the most."""
    retry = Retry(attempts=9, first=0.1, most=2.0)
    assert [retry.pause(attempt, None, 1.0) for attempt in (1, 2, 3, 6, 9)] == [0.1, 0.2, 0.4, 2.0, 2.0]
    assert retry.pause(1, None, 0.0) == 0.05
    assert retry.pause(1, "1", 0.0) == 1.0
    assert retry.pause(1, "99999999999999", 0.0) == 2.0
    assert retry.pause(3, "0", 0.0) == 0.4
    assert retry.pause(2, "Mon, 23 Nov 2026 10:00:00 GMT", 1.0) == 0.2
