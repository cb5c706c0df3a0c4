"""What travels by feed, frame and actor call: it comes back as it was, and what is none is refused."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from models.custody.signing import Signed
from models.planes.calls import ListenAnswer, ListenRequest, Obeyed, Orders, Ready
from models.planes.feed import Command, CommandResult, EdgeReport, FeedAnswer, Uplink
from models.planes.frames import (
    Answer,
    Applied,
    Call,
    Done,
    FromLink,
    FromWorker,
    Hello,
    Run,
    Update,
    Welcome,
    encode,
)
from models.planes.state import Delta, Document

SIGNED = Signed(b"\x00\xffstatement", b"s" * 64)
DELTA = Delta(3, (Document("proxy", "p", 4, b'{"a":1}'),), (("target", "t"),), SIGNED)

CALLS: list[Any] = [
    Ready(role="CredentialVault", region="us", protocol=1, pid=5, detail="2 live"),
    Orders((SIGNED, SIGNED)),
    Obeyed(SIGNED, SIGNED, {"cred": "why"}),
    ListenRequest(link="l", edge="e", revision=-1, sheet=0, issued_ms=0, workers=((0, 4), (1, -1))),
    ListenAnswer(delta=DELTA, sheet=SIGNED, manifest=SIGNED, commands=(SIGNED,)),
    ListenAnswer(),
]
FEED: list[Any] = [
    FeedAnswer(manifest=SIGNED, delta=DELTA, orders=(SIGNED,), commands=(SIGNED,)),
    FeedAnswer(manifest=SIGNED),
    Command(
        id="1", kind="testTarget", region="us", client_id="c", target_id="t", credential_id=None, expires_ms=9
    ),
    CommandResult(id="1", edge="e", status=200, duration_ms=1.5),
    Uplink(
        certificate=SIGNED,
        edges=(EdgeReport(edge="e", revision=4, workers=2, seen_ms=9),),
        failing={"c": "w"},
    ),
]
WORKER: list[FromWorker] = [
    Hello(protocol=1, worker=0, pid=5, revision=-1, sheet=-1),
    Call(7, "vault", "grant", b"\x00payload"),
    Applied(4, 2),
    Done(b"result"),
]
LINK: list[FromLink] = [
    Welcome(1),
    Update(DELTA, SIGNED, SIGNED),
    Update(None, None, None),
    Answer(7, b"payload"),
    Answer(8, b"", "unavailable"),
    Run(SIGNED),
]


@pytest.mark.parametrize("value", CALLS, ids=lambda one: type(one).__name__)
def test_calls_are_msgpack(value: Any) -> None:
    """Nothing of ours is pickled by Ray."""
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(value), type=type(value)) == value


@pytest.mark.parametrize("value", FEED, ids=lambda one: type(one).__name__)
def test_feed_and_uplink_are_json(value: Any) -> None:
    """Bytes are base64 on the wire and come back the same."""
    text = msgspec.json.encode(value)
    text.decode("ascii")
    assert msgspec.json.decode(text, type=type(value)) == value


@pytest.mark.parametrize("frame", [*WORKER, *LINK], ids=lambda one: type(one).__name__)
def test_a_frame_says_how_long_it_is(frame: FromWorker | FromLink) -> None:
    """Four bytes, big-endian, then msgpack that tells the frame's kind."""
    data = encode(frame)
    assert int.from_bytes(data[:4], "big") == len(data) - 4
    side: Any = FromWorker if frame in WORKER else FromLink
    assert msgspec.msgpack.decode(data[4:], type=side) == frame


@pytest.mark.parametrize("frame", LINK, ids=lambda one: type(one).__name__)
def test_a_link_cannot_speak_as_a_worker(frame: FromLink) -> None:
    """Each end decodes only what the other may say."""
    side: Any = FromWorker
    with pytest.raises(msgspec.ValidationError):
        msgspec.msgpack.decode(encode(frame)[4:], type=side)
