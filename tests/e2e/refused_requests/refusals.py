"""An edge before a correct target and one by hand, and what a refusal must come to.

What is ambiguous is refused with the right status, the connection is closed and nothing was completed upstream;
what is right is answered in order, one answer for each request.
"""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass

from tests.kit.edge import CALLER_KEY, EdgeProcess
from tests.kit.hand import HandUpstream
from tests.kit.raw import RawAnswer, RawClient, get
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
