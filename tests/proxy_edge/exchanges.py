"""What one caller sends and its targets answer, as Hypothesis finds it, and what each of it means."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from hypothesis import strategies as st

from tests.kit.edge import CALLER_KEY, TARGET_TOKEN

KEY = CALLER_KEY.encode()
TOKEN = TARGET_TOKEN.encode()
MASKED = b"*" * len(TOKEN)
RULES = [{"ruleId": "no-denied", "effect": "deny", "path": {"pattern": "^/denied"}}]


def call(method: bytes = b"GET", *lines: bytes, body: bytes = b"") -> bytes:
    return b"\r\n".join(
        [method + b" /api/api/x HTTP/1.1", b"Host: e", b"X-API-Key: " + KEY, *lines, b"", body]
    )


@dataclass
class Answer:
    """What the target sends: `wire`, then perhaps the end of the connection; and what it means."""

    wire: bytes
    closes: bool
    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


@dataclass
class Request:
    """What the caller sends, and what the target has to answer when it gets there."""

    wire: bytes
    method: bytes
    target: bytes = b""
    body: bytes = b""
    answer: Answer | None = None
    status: int = 0


PIECES = st.sampled_from([b"x", b"{}", b"\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n", b"0\r\n\r\n", TOKEN, TOKEN[:9], b"a" * 300,
                          TOKEN + TOKEN[:5], b"Bearer " + TOKEN])  # fmt: skip
BODY = st.lists(PIECES, max_size=4).map(b"".join)


@st.composite
def chunked(draw: st.DrawFn, body: bytes) -> bytes:
    edges = sorted({0, len(body), *(draw(st.integers(0, len(body))) for _ in range(draw(st.integers(0, 3))))})
    pieces = [body[start:end] for start, end in itertools.pairwise(edges)]
    out = b"".join(
        b"%x%b\r\n%b\r\n" % (len(one), draw(st.sampled_from([b"", b";a=b"])), one) for one in pieces if one
    )
    return out + b"0\r\n" + draw(st.sampled_from([b"", b"X-Sum: late\r\n"])) + b"\r\n"


@st.composite
def answers(draw: st.DrawFn, method: bytes) -> Answer:
    status = draw(st.sampled_from([200, 200, 200, 201, 404, 500, 204, 304]))
    body = b"" if status in {204, 304} else draw(BODY)
    headers = [
        (b"content-type", b"text/plain"),
        (b"x-echo", draw(st.sampled_from([b"plain", b"Bearer " + TOKEN]))),
    ]
    lines = b"".join(b"%b: %b\r\n" % pair for pair in headers)
    lines += b"exeat-request-id: forged\r\nKeep-Alive: timeout=5\r\n"
    framing = draw(st.sampled_from(["length", "chunked", "close"]))
    minor = 0 if framing == "close" and draw(st.booleans()) else 1
    closes = framing == "close"
    wire = b""
    if framing == "length":
        lines += b"Content-Length: %d\r\n" % len(body)
        wire = body
    elif framing == "chunked":
        lines += b"Transfer-Encoding: chunked\r\n"
        wire = draw(chunked(body))
    else:
        wire = body
    if draw(st.booleans()):
        lines += b"Connection: close\r\n"
    if method == b"HEAD" or status in {204, 304}:
        wire = body = b""
        closes = False
    interim = draw(st.sampled_from([b"", b"", b"HTTP/1.1 100 Continue\r\n\r\n",
                                    b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"]))  # fmt: skip
    head = b"HTTP/1.%d %d Reason\r\n" % (minor, status)
    shown = [(name, value.replace(TOKEN, MASKED)) for name, value in headers]
    return Answer(interim + head + lines + b"\r\n" + wire, closes, status, shown, body)


@st.composite
def requests(draw: st.DrawFn) -> Request:
    kind = draw(st.sampled_from(["sent", "sent", "sent", "sent", "denied", "unknown", "anonymous", "health"]))
    if kind != "sent":
        path, status, key = {
            "denied": (b"/api/api/denied", 403, KEY),
            "unknown": (b"/api/nobody/x", 404, KEY),
            "anonymous": (b"/api/api/x", 401, b"wrong-key-0123456789"),
            "health": (b"/health", 200, KEY),
        }[kind]
        method = draw(st.sampled_from([b"GET", b"HEAD"]))
        wire = b"%b %b HTTP/1.1\r\nHost: e\r\nX-API-Key: %b\r\n\r\n" % (method, path, key)
        return Request(wire, method, status=status)
    method = draw(st.sampled_from([b"GET", b"GET", b"POST", b"POST", b"PUT", b"HEAD", b"DELETE"]))
    suffix = draw(st.sampled_from([b"/items/42?a=b", b"", b"/%7euser/%c3%a4?q=%2f", b"/deep/a%20b"]))
    canonical = {b"": b"/", b"/%7euser/%c3%a4?q=%2f": b"/~user/%C3%A4?q=%2F"}.get(suffix, suffix)
    wire = b"%b /api/api%b HTTP/1.1\r\nHost: e\r\nAuthorization: Bearer %b\r\nX-Own: 1\r\n" % (
        method,
        suffix,
        KEY,
    )
    body = draw(BODY) if method in {b"POST", b"PUT"} else b""
    if draw(st.booleans()):
        wire += b"Connection: Upgrade\r\nUpgrade: h2c\r\n"
    if body or method in {b"POST", b"PUT"}:
        if draw(st.booleans()):
            wire += b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
        else:
            wire += b"Transfer-Encoding: chunked\r\n\r\n" + draw(chunked(body))
    else:
        wire += b"\r\n"
    answer = draw(answers(method))
    return Request(wire, method, b"/base" + canonical, body, answer, answer.status)
