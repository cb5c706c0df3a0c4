"""Pipelines of requests, cut anywhere, and what the parser makes of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from proxy_edge.parser import Message, RequestParser
from proxy_edge.settings import EdgeSettings

LIMITS = EdgeSettings.load()
HEAD = b"POST /x HTTP/1.1\r\nHost: a\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


@dataclass(frozen=True)
class Parsed:
    """What matters of a message, body joined."""

    method: bytes
    target: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
    keep_alive: bool
    expects: bool
    complete: bool
    refusal: type[Exception] | None


def parsed(message: Message, body: bytes) -> Parsed:
    return Parsed(
        message.method,
        message.target,
        () if message.method == b"" else tuple(message.block.pairs),
        body,
        message.keep_alive,
        message.expects,
        message.complete,
        None if message.refusal is None else type(message.refusal),
    )


def parse(pieces: Iterable[bytes], limits: EdgeSettings = LIMITS) -> list[Parsed]:
    """Feeds `pieces`, taking messages off the queue as a connection does: the oldest one, when it is over."""
    parser = RequestParser(limits)
    bodies: dict[int, bytes] = {}
    out: list[Parsed] = []

    def take() -> None:
        while parser.messages:
            for message in parser.messages:
                bodies[id(message)] = bodies.get(id(message), b"") + b"".join(message.take_body())
            first = parser.messages[0]
            if not first.complete and first.refusal is None:
                return
            parser.messages.popleft()
            out.append(parsed(first, bodies.pop(id(first))))
            parser.resume()

    for piece in pieces:
        parser.feed(piece)
        take()
        assert parser.held == 0
    out.extend(parsed(message, bodies[id(message)]) for message in parser.messages)
    return out


def cut(data: bytes, places: Iterable[int]) -> list[bytes]:
    """`data` cut at `places` (taken modulo its length)."""
    edges = sorted({0, len(data), *(place % len(data) for place in places)})
    return [data[start:end] for start, end in pairwise(edges)]


def bytewise(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


GET = b"GET /x HTTP/1.1\r\n"
HOST = b"Host: a\r\n"
