"""Requests on real sockets, in front of a real edge and a real target: what is ambiguous goes no further.

Each is refused with the right status, the connection is closed and nothing was completed upstream; what is
right is answered in order, one answer for each request.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.kit.edge import CALLER_KEY, EdgeProcess, policy, running_edge, until
from tests.kit.hand import HandUpstream
from tests.kit.raw import RawAnswer, RawClient, get, request
from tests.kit.upstream import Seen, Upstream

RULES = [{"ruleId": "no-denied", "effect": "deny", "path": {"pattern": "^/denied"}}]
HEAD_SECONDS = 1.0
_numbers = itertools.count(1)


@dataclass
class Bench:
    """One edge; `api` leads to a correct target, `hand` to one that the test drives itself."""

    edge: EdgeProcess
    upstream: Upstream
    hand: HandUpstream

    def client(self) -> RawClient:
        return RawClient(self.edge.port, 20.0)

    def seen(self, mark: str) -> list[Seen]:
        """What reached the target under `mark`."""
        return [seen for seen in self.upstream.seen if mark in seen.target]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with Upstream() as upstream, HandUpstream() as hand:
        document = policy(upstream.url, rules=RULES)
        document["targets"].append({"targetId": "hand", "targetName": "Hand", "targetBaseURL": hand.url})
        document["proxies"].append(
            {
                **document["proxies"][0],
                "proxyId": "hand-proxy",
                "proxyAlias": "hand",
                "proxyTargetId": "hand",
                "rules": [],
            }
        )
        environment = {"EXEAT_HEAD_SECONDS": str(HEAD_SECONDS)}
        home = tmp_path_factory.mktemp("refused")
        with running_edge(home, document, environment=environment) as edge:
            yield Bench(edge, upstream, hand)


def mark() -> str:
    """A word that no other request has."""
    return f"case-{next(_numbers)}"


def problem(answer: RawAnswer) -> str:
    """The code of a refusal, which body and header must agree on."""
    document = json.loads(answer.body)
    assert answer.get("content-type") == "application/problem+json"
    assert answer.get("exeat-proxy-code") == document["code"]
    assert answer.status == document["status"]
    return str(document["code"])


def assert_refused(
    bench: Bench, data: bytes, word: str, status: int = 400, code: str = "request-malformed"
) -> None:
    """`data` is answered with the refusal, the connection closed, and nothing completed upstream."""
    with bench.client() as client:
        client.send(data)
        answer = client.answer()
        assert (answer.status, problem(answer)) == (status, code)
        assert answer.get("connection") == "close"
        assert client.closed()
    with bench.client() as client:  # whatever was on its way to the target has arrived before this one
        client.send(get(f"/api/api/after-{word}-end"))
        assert client.answer().status == 200
    assert [seen.target for seen in bench.seen(f"/{word}/") if seen.complete] == []


# -- ambiguous heads and bodies -----------------------------------------------------------------------

PATH = "/api/api/@/x"
POST = f"POST {PATH} HTTP/1.1\r\n"
GET = f"GET {PATH} HTTP/1.1\r\n"
HOST = "Host: edge.test\r\n"
KEY = f"X-API-Key: {CALLER_KEY}\r\n"
CHUNKED = POST + HOST + KEY + "Transfer-Encoding: chunked\r\n\r\n"
DONE = "3\r\nabc\r\n0\r\n\r\n"

CASES = {
    "space before the colon": GET + HOST + KEY + "A : b\r\n\r\n",
    "space before the colon of Content-Length": POST + HOST + KEY + "Content-Length : 3\r\n\r\nabc",
    "space before the colon of Transfer-Encoding": POST + HOST + KEY + "Transfer-Encoding : chunked\r\n\r\n" + DONE,
    "tab before the colon": GET + HOST + KEY + "A\t: b\r\n\r\n",
    "Content-Length, then Transfer-Encoding": POST + HOST + KEY + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n" + DONE,
    "Transfer-Encoding, then Content-Length": POST + HOST + KEY + "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n" + DONE,
    "two Content-Length alike": POST + HOST + KEY + "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
    "two Content-Length that differ": POST + HOST + KEY + "Content-Length: 3\r\nContent-Length: 30\r\n\r\nabc",
    "a list of Content-Length": POST + HOST + KEY + "Content-Length: 3, 3\r\n\r\nabc",
    **{
        f"Content-Length {digits!r}": POST + HOST + KEY + f"Content-Length: {digits}\r\n\r\nabc"
        for digits in ("+3", "-3", "3 3", "", "0x3", "3.0", "\u0663".encode().decode("latin-1"), "\xb3", "3a",
                       "99999999999999999999")
    },
    "bare LF after the request line": f"GET {PATH} HTTP/1.1\n" + HOST + KEY + "\r\n",
    "bare LF after a field": GET + HOST + KEY + "A: b\n\r\n",
    "bare LF at the end of the head": GET + HOST + KEY + "\n",
    "bare LF everywhere": (GET + HOST + KEY + "\r\n").replace("\r", ""),
    "bare LF before the request": "\n" + GET + HOST + KEY + "\r\n",
    "bare CR in place of CRLF": (GET + HOST + KEY + "\r\n").replace("\n", "") + "\r\n\r\n",
    "NUL in a value": GET + HOST + KEY + "A: b\0c\r\n\r\n",
    "CR in a value": GET + HOST + KEY + "A: b\rc\r\n\r\n",
    "LF in a value": GET + HOST + KEY + "A: b\nc: d\r\n\r\n",
    "control character in a value": GET + HOST + KEY + "A: b\x08c\r\n\r\n",
    "no Host": GET + KEY + "\r\n",
    "no Host on 1.0": GET.replace("1.1", "1.0") + KEY + "\r\n",
    "an empty Host": GET + "Host:\r\n" + KEY + "\r\n",
    "a blank Host": GET + "Host:  \r\n" + KEY + "\r\n",
    "two Hosts": GET + HOST + "Host: other.test\r\n" + KEY + "\r\n",
    "two Hosts alike": GET + HOST + HOST + KEY + "\r\n",
    "a Host with a path": GET + "Host: edge.test/x\r\n" + KEY + "\r\n",
    "folding": GET + HOST + KEY + "A: b\r\n c\r\n\r\n",
    "folding with a tab": GET + HOST + KEY + "A: b\r\n\tc\r\n\r\n",
    "folding of an empty value": GET + HOST + KEY + "A:\r\n b\r\n\r\n",
    "folded Content-Length": POST + HOST + KEY + "Content-Length:\r\n 3\r\n\r\nabc",
    "a folded first field": GET + " A: b\r\n" + HOST + KEY + "\r\n",
    **{
        f"Transfer-Encoding {coding!r}": POST + HOST + KEY + f"Transfer-Encoding: {coding}\r\n\r\n" + DONE
        for coding in ("gzip", "gzip, chunked", "chunked, gzip", "xchunked", "chunkedx", ", chunked", "chunked,",
                       "chunked, chunked", "identity", "", '"chunked"', "chunked;a=b", "\x0bchunked", "chunked\x0c",
                       "chunked\t")
    },
    "two Transfer-Encoding": POST + HOST + KEY + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n" + DONE,
    "two Transfer-Encoding, one other": POST + HOST + KEY + "Transfer-Encoding: x\r\nTransfer-Encoding: chunked\r\n\r\n" + DONE,
    "Transfer-Encoding on 1.0": CHUNKED.replace("1.1", "1.0") + DONE,
    **{
        f"chunk {chunk!r}": CHUNKED + chunk
        for chunk in ("0x3\r\nabc\r\n0\r\n\r\n", "3 \r\nabc\r\n0\r\n\r\n", " 3\r\nabc\r\n0\r\n\r\n",
                      "3\t\r\nabc\r\n0\r\n\r\n", "3\r\nabc0\r\n\r\n", "3\r\nabcXX0\r\n\r\n", "3\r\nabc\n0\r\n\r\n",
                      "3\nabc\r\n0\r\n\r\n", "3\r\nabc\r\n0\n\r\n", "3\r\nabc\r\n0\r\n\n", "3\r\nabc\r\n0\n\n",
                      "+3\r\nabc\r\n0\r\n\r\n", "-3\r\nabc\r\n0\r\n\r\n", "\r\nabc\r\n0\r\n\r\n",
                      "ffffffffffffffff1\r\nabc\r\n0\r\n\r\n", "3;a\nb\r\nabc\r\n0\r\n\r\n",
                      "3\r\nabc\r\n0\r\nA : b\r\n\r\n", "3\r\nabc\r\n0\r\nContent-Length: 3\r\n\r\n",
                      "3\r\nabc\r\n0\r\nA: b\r\n c\r\n\r\n")
    },
    "HTTP/0.9": f"GET {PATH}\r\n",
    "HTTP/0.9 in words": GET.replace("1.1", "0.9") + HOST + KEY + "\r\n",
    "HTTP/2.0": GET.replace("1.1", "2.0") + HOST + KEY + "\r\n",
    "HTTP/1.2": GET.replace("1.1", "1.2") + HOST + KEY + "\r\n",
    "HTTP/11": GET.replace("1.1", "11") + HOST + KEY + "\r\n",
    "http/1.1": GET.replace("HTTP", "http") + HOST + KEY + "\r\n",
    "RTSP": GET.replace("GET", "OPTIONS").replace("HTTP", "RTSP") + HOST + KEY + "\r\n",
    "ICE": GET.replace("GET", "SOURCE").replace("HTTP/1.1", "ICE/1.0") + HOST + KEY + "\r\n",
    "the h2 preface": "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a TLS hello": "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "absolute form": f"GET http://edge.test{PATH} HTTP/1.1\r\n" + HOST + KEY + "\r\n",
    "absolute form elsewhere": "GET http://169.254.169.254/@/x HTTP/1.1\r\n" + HOST + KEY + "\r\n",
    "absolute form in https": f"GET https://edge.test{PATH} HTTP/1.1\r\n" + HOST + KEY + "\r\n",
    "CONNECT": "CONNECT edge.test:443 HTTP/1.1\r\n" + HOST + KEY + "\r\n",
    "CONNECT to a path": f"CONNECT {PATH} HTTP/1.1\r\n" + HOST + KEY + "\r\n",
    "OPTIONS *": "OPTIONS * HTTP/1.1\r\n" + HOST + KEY + "\r\n",
    "no path": "GET api/api/@/x HTTP/1.1\r\n" + HOST + KEY + "\r\n",
    "two blanks before the target": GET.replace("GET ", "GET  ") + HOST + KEY + "\r\n",
    "two blanks before the version": GET.replace(" HTTP", "  HTTP") + HOST + KEY + "\r\n",
    "a blank after the version": GET.replace("\r\n", " \r\n") + HOST + KEY + "\r\n",
    "a blank before the method": " " + GET + HOST + KEY + "\r\n",
    "a blank in the target": GET.replace("/x", "/x y") + HOST + KEY + "\r\n",
    "tabs in the request line": GET.replace(" ", "\t") + HOST + KEY + "\r\n",
    "a method nobody knows": GET.replace("GET", "BREW") + HOST + KEY + "\r\n",
    "a method in lower case": GET.replace("GET", "get") + HOST + KEY + "\r\n",
    "a status line": "HTTP/1.1 200 OK\r\n" + HOST + KEY + "\r\n",
    "noise": "\xff\xfe\x00noise\r\n\r\n",
}  # fmt: skip


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


# -- too large, too slow --------------------------------------------------------------------------------

LARGE = {
    "a request line over 8 KiB": f"GET /api/api/@/{'x' * 8192} HTTP/1.1\r\n" + HOST + KEY + "\r\n",
    "a request line without end": "GET /api/api/@/" + "x" * 8192,
    "a head over 64 KiB": GET + HOST + KEY + f"A: {'b' * 65536}\r\n\r\n",
    "a head over 64 KiB of blanks": GET + HOST + KEY + f"A: {' ' * 65536}b\r\n\r\n",
    "a head over 64 KiB without end": GET + HOST + KEY + "A: b\r\n" * 99 + "C: " + "b" * 65536,
    "more than 100 fields": GET + HOST + KEY + "A: b\r\n" * 99 + "\r\n",
    "chunk extensions over 16 KiB": CHUNKED + "3;" + "e" * 16384 + "\r\nabc\r\n0\r\n\r\n",
    "trailers over 16 KiB": CHUNKED + "3\r\nabc\r\n0\r\nA: " + "b" * 16384 + "\r\n\r\n",
}


@pytest.mark.parametrize("name", LARGE)
def test_too_large_a_head_is_431(bench: Bench, name: str) -> None:
    """Refused and closed at the limit, without waiting for an end."""
    word = mark()
    assert_refused(bench, LARGE[name].replace("@", word).encode(), word, 431, "request-head-too-large")


@pytest.mark.parametrize(
    "data",
    [
        f"GET /api/api/@/{'x' * 8000} HTTP/1.1\r\n" + HOST + KEY + "\r\n",
        GET + HOST + KEY + f"A: {'b' * 60000}\r\n\r\n",
        GET + HOST + KEY + "A: b\r\n" * 98 + "\r\n",
        CHUNKED + "3;" + "e" * 8000 + "\r\nabc\r\n0\r\nA: " + "b" * 8000 + "\r\n\r\n",
    ],
    ids=["request line", "head", "fields", "extensions and trailers"],
)
def test_what_is_just_small_enough_passes(bench: Bench, data: str) -> None:
    """The limits are those of API.md section 3, not smaller."""
    word = mark()
    with bench.client() as client:
        client.send(data.replace("@", word).encode())
        assert client.answer().status == 200
    assert [seen.complete for seen in bench.seen(word)] == [True]


def test_a_head_that_never_ends_is_408(bench: Bench) -> None:
    """Also the second one on a connection; the first is answered."""
    word = mark()
    with bench.client() as client:
        client.send(get(f"/api/api/{word}") + b"GET /api/api/late HTTP/1.1\r\nHost: e")
        assert client.answer().status == 200
        answer = client.answer()
        assert (answer.status, problem(answer)) == (408, "request-timeout")
        assert client.closed()
    assert bench.seen("late") == []


# -- Upgrade --------------------------------------------------------------------------------------------

UPGRADE = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__")


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_an_upgrade_with_a_body_is_one_request(bench: Bench, framing: str) -> None:
    """Forwarded without Upgrade; its body is a body, also where it looks like a request, and what follows follows."""
    word, inner, after = mark(), mark(), mark()
    body = get(f"/api/api/{inner}")
    with bench.client() as client:
        if framing == "length":
            data = request("POST", f"/api/api/{word}", *UPGRADE, body=body)
        else:
            head = request("POST", f"/api/api/{word}", *UPGRADE, "Transfer-Encoding: chunked")
            data = head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
        client.send(data + get(f"/api/api/{after}"))
        assert [client.answer().status, client.answer().status] == [200, 200]
    (seen,) = bench.seen(word)
    assert (seen.complete, seen.body) == (True, body)
    assert not {"upgrade", "connection", "http2-settings"} & {name for name, _ in seen.headers}
    assert bench.seen(inner) == []
    assert len(bench.seen(after)) == 1


@pytest.mark.parametrize("lines", [UPGRADE, ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"),
                                   ("Upgrade: h2c",), ("Connection: close, Upgrade", "Upgrade: h2c")])  # fmt: skip
def test_an_upgrade_without_a_body_is_ignored(bench: Bench, lines: tuple[str, ...]) -> None:
    """The answer is the target's, in HTTP/1.1 (RFC 9110 section 7.8)."""
    word = mark()
    with bench.client() as client:
        client.send(get(f"/api/api/{word}", *lines))
        assert client.answer().status == 200
    (seen,) = bench.seen(word)
    assert seen.get("upgrade") is None


# -- in order -------------------------------------------------------------------------------------------

KINDS = {
    "granted": ("/api/api/{}", 200),
    "denied": ("/api/api/denied/{}", 403),
    "unknown": ("/api/nobody/{}", 404),
    "health": ("/health", 200),
}


@pytest.mark.parametrize("count", [3, 17, 18, 100, 1000])
def test_pipelined_requests_are_answered_in_order(bench: Bench, count: int) -> None:
    """Granted, denied, unknown and our own, mixed in one write: one answer each, in the order of the requests."""
    word = mark()
    kinds = list(itertools.islice(itertools.cycle([*KINDS, "granted", "granted"]), count))
    data = b"".join(get(KINDS[kind][0].format(f"{word}-{at}")) for at, kind in enumerate(kinds))
    with bench.client() as client:
        client.send(data)
        for at, kind in enumerate(kinds):
            answer = client.answer()
            assert answer.status == KINDS[kind][1]
            if kind == "granted":
                assert json.loads(answer.body)["target"] == f"/{word}-{at}"
        client.send(get("/health"))
        assert client.answer().status == 200
    assert [seen.target for seen in bench.seen(word)] == [
        f"/{word}-{at}" for at, kind in enumerate(kinds) if kind == "granted"
    ]


def test_pipelined_bodies_of_both_framings(bench: Bench) -> None:
    """Bodies full of requests stay bodies."""
    word, inner = mark(), mark()
    trap = get(f"/api/api/{inner}") + b"0\r\n\r\n"
    data = b""
    for at in range(20):
        if at % 2:
            data += request("PUT", f"/api/api/{word}-{at}", body=trap)
        else:
            head = request("POST", f"/api/api/{word}-{at}", "Transfer-Encoding: chunked")
            data += head + b"%X;x=y\r\n%b\r\n000\r\nX: y\r\n\r\n" % (len(trap), trap)
    with bench.client() as client:
        client.send(data)
        for at in range(20):
            answer = client.answer()
            assert (json.loads(answer.body)["target"], json.loads(answer.body)["length"]) == (
                f"/{word}-{at}",
                len(trap),
            )
    assert [(seen.method, seen.body) for seen in bench.seen(word)] == [("POST", trap), ("PUT", trap)] * 10
    assert bench.seen(inner) == []


def test_a_slow_answer_holds_back_those_behind_it(bench: Bench) -> None:
    """A denial and our own page wait their turn, and the next granted one is not sent before."""
    with bench.client() as client:
        client.send(
            get("/api/hand/one")
            + get("/api/api/denied")
            + get("/health")
            + get("/api/hand/two")
            + get("/api/nobody")
        )
        with bench.hand.accept() as peer:
            assert peer.head().target == "/one"
            assert peer.silent(0.2)
            client.socket.setblocking(False)
            with pytest.raises(BlockingIOError):
                client.socket.recv(1)
            client.socket.settimeout(20)
            peer.answer(b"first")
            assert client.answer().body == b"first"
            assert (client.answer().status, client.answer().status) == (403, 200)
            assert peer.head().target == "/two"
            peer.answer(b"second")
            assert client.answer().body == b"second"
            assert client.answer().status == 404


@pytest.mark.parametrize(
    "last", ["Connection: close", "Connection: Close, x", "connection: keep-alive, CLOSE"]
)
def test_nothing_is_served_behind_a_close(bench: Bench, last: str) -> None:
    """RFC 9112 section 9.6: the connection ends with that answer, and what follows it is not served."""
    word = mark()
    with bench.client() as client:
        client.send(get(f"/api/api/{word}", last) + get(f"/api/api/{word}-behind"))
        answer = client.answer()
        assert (answer.status, answer.get("connection")) == (200, "close")
        assert client.closed()
    assert [seen.target for seen in bench.seen(word)] == [f"/{word}"]


# -- HEAD, Expect, HTTP/1.0 ---------------------------------------------------------------------------------


def test_head_is_answered_without_a_body(bench: Bench) -> None:
    """Granted, denied, unknown, our own: each with its length and without its body, so the next one is found."""
    with bench.client() as client:
        for path, status in (KIND for KIND in KINDS.values()):
            client.send(request("HEAD", path.format("head")) + get("/api/api/next"))
            answer = client.answer(head=True)
            assert answer.status == status
            assert int(answer.get("content-length") or 0) > 0
            assert json.loads(client.answer().body)["target"] == "/next"


def test_continue_comes_from_the_edge_before_the_target_hears_anything_of_it(bench: Bench) -> None:
    """After the head steps; the target gets no Expect and the body that then comes."""
    with bench.client() as client:
        client.send(request("POST", "/api/hand/expect", "Content-Length: 4", "Expect: 100-continue"))
        assert client.read_until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        with bench.hand.accept() as peer:
            head = peer.head()
            assert (head.get("expect"), head.get("content-length")) == (None, "4")
            client.send(b"body")
            assert peer.read(4) == b"body"
            peer.answer(b"done")
            assert client.answer().body == b"done"


def test_a_thousand_requests_wait_for_a_slow_one(bench: Bench) -> None:
    """The edge stops reading when its queue is full, loses none, and answers all in order in the end."""
    word = mark()
    paths = [KINDS[kind][0].format(f"{word}-{at}") for at, kind in enumerate(list(KINDS) * 250)]
    statuses = [KINDS[kind][1] for kind in list(KINDS) * 250]
    with bench.client() as client:
        client.send(get("/api/hand/slow") + b"".join(map(get, paths)))
        with bench.hand.accept() as peer:
            assert peer.head().target == "/slow"
            assert bench.seen(word) == []
            peer.answer(b"at last")
            assert client.answer().body == b"at last"
        assert [client.answer().status for _ in paths] == statuses
    assert len(bench.seen(word)) == 250


@pytest.mark.parametrize(
    ("path", "key", "status"),
    [("/api/api/denied", CALLER_KEY, 403), ("/api/api/x", "wrong-key-0123456789", 401), ("/api/nobody", CALLER_KEY, 404),
     ("/api/api/../x", CALLER_KEY, 400)],
)  # fmt: skip
def test_a_refused_request_gets_no_continue(bench: Bench, path: str, key: str, status: int) -> None:
    """The refusal is the first thing that comes, and the connection ends: the body may or may not follow."""
    with bench.client() as client:
        client.send(request("POST", path, "Content-Length: 4", "Expect: 100-continue", key=key))
        head = client.read_until(b"\r\n")
        assert head.startswith(b"HTTP/1.1 %d " % status)
        client.read_until(b"}")
        assert client.closed()


def test_http_1_0_callers(bench: Bench) -> None:
    """Closed after one answer, or kept where asked for; never a chunk, never a 100."""
    with bench.client() as client:
        client.send(request("GET", "/api/api/ten", version="1.0"))
        answer = client.answer()
        assert (answer.status, answer.get("connection"), answer.get("transfer-encoding")) == (
            200,
            "close",
            None,
        )
        assert client.closed()
    with bench.client() as client:
        for at in range(3):
            data = request(
                "POST",
                f"/api/api/ten-{at}",
                "Connection: keep-alive",
                "Expect: 100-continue",
                body=b"x",
                version="1.0",
            )
            client.send(data)
            answer = client.answer()
            assert (answer.status, answer.get("connection")) == (200, "keep-alive")
    with bench.client() as client:
        client.send(request("GET", "/api/hand/ten", version="1.0"))
        with bench.hand.accept() as peer:
            assert peer.head().raw.startswith(b"GET /ten HTTP/1.1\r\n")
            peer.send(
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n"
            )
            answer = client.answer()
            assert (answer.body, answer.get("transfer-encoding"), answer.get("connection")) == (
                b"abcdef",
                None,
                "close",
            )


def test_blank_lines_between_requests(bench: Bench) -> None:
    """RFC 9112 section 2.2: some old clients send one after a body."""
    with bench.client() as client:
        client.send(
            b"\r\n" + request("POST", "/api/api/blank", body=b"x") + b"\r\n\r\n" + get("/api/api/blank")
        )
        assert (client.answer().status, client.answer().status) == (200, 200)


# -- who owns a connection ---------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/health", "/ready"])
def test_pages_of_the_edge_share_a_connection_with_proxy_traffic(bench: Bench, path: str) -> None:
    """A balancer's pooled connection is never the wrong one."""
    with bench.client() as client:
        for _ in range(2):
            client.send(get(path, key=None))
            answer = client.answer()
            assert (answer.status, answer.get("content-type")) == (200, "application/json")
            client.send(get("/api/api/shared"))
            assert client.answer().status == 200
        client.send(request("POST", path, body=b"x", key=None))
        assert problem(client.answer()) == "proxy-unknown"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("query", ["", "?a=b"])
def test_metrics_belong_to_sanic_which_closes(bench: Bench, method: str, query: str) -> None:
    """One answer; what is pipelined behind it is served by nobody."""
    word = mark()
    with bench.client() as client:
        client.send(request(method, f"/metrics{query}", key=None) + get(f"/api/api/{word}"))
        answer = client.answer(head=method == "HEAD")
        assert answer.status == 200
        assert (answer.get("content-type") or "").startswith("text/plain")
        assert client.closed()
    assert bench.seen(word) == []


def test_metrics_are_not_on_a_proxy_connection(bench: Bench) -> None:
    """The first request line decided who owns it."""
    with bench.client() as client:
        client.send(get("/health", key=None) + get("/metrics", key=None))
        assert client.answer().status == 200
        assert problem(client.answer()) == "proxy-unknown"
        client.send(get("/api/api/still"))
        assert client.answer().status == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "CONNECT"])
def test_no_other_method_reaches_metrics(bench: Bench, method: str) -> None:
    """It is proxy traffic to an unknown proxy; CONNECT is malformed."""
    with bench.client() as client:
        client.send(request(method, "/metrics", key=None))
        assert problem(client.answer()) == ("request-malformed" if method == "CONNECT" else "proxy-unknown")


@pytest.mark.parametrize(
    ("target", "code"),
    [("/metricsx", "proxy-unknown"), ("/metrics/", "proxy-unknown"), ("/metrics/../x", "request-malformed"),
     ("/metrics%3f", "proxy-unknown"), ("//metrics", "proxy-unknown"), ("/metrics#", "request-malformed")],
)  # fmt: skip
def test_what_only_looks_like_metrics_is_ours(bench: Bench, target: str, code: str) -> None:
    """Sanic's lenient parser never sees it."""
    with bench.client() as client:
        client.send(get(target, key=None))
        assert problem(client.answer()) == code


@pytest.mark.parametrize("path", ["/metrics", "/health", "/api/api/bytes", "/met", "/metricsandmore"])
def test_a_request_may_arrive_byte_by_byte(bench: Bench, path: str) -> None:
    """Whoever it belongs to gets all of it."""
    status = {"/met": 404, "/metricsandmore": 404}.get(path, 200)
    with bench.client() as client:
        for byte in get(path):
            client.send(bytes([byte]))
        assert client.answer().status == status


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


def test_refusals_are_counted(bench: Bench) -> None:
    """They have no record, being nobody's, but a count."""

    def count() -> float:
        with bench.client() as client:
            client.send(get("/metrics"))
            lines = client.answer().body.decode().splitlines()
        return float(next(line for line in lines if 'code="request-malformed"' in line).split()[-1])

    before = count()
    word = mark()
    assert_refused(bench, CASES["folding"].replace("@", word).encode(), word)
    until(lambda: count() >= before + 1, 5, "the count")
    assert "request-malformed" not in {record["code"] for record in bench.edge.records()}
