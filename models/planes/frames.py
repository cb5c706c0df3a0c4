"""Frames between a worker and its host's link, over a Unix socket: 4 bytes of length (big-endian), then msgpack.

Either side may send at any time. Nothing secret is in clear in any frame: leases are sealed to the worker.
"""

from __future__ import annotations

import msgspec

from models.custody.signing import Signed
from models.planes.permits import Recall
from models.planes.state import Delta

PROTOCOL = 3
"""Version of frames and of actor calls; both ends must agree."""

LONGEST_FRAME = 256 * 1024 * 1024

WORKER, KEEPER = "worker", "keeper"
"""Parts that attach to a link, as a hello names them."""


class Hello(msgspec.Struct, frozen=True, tag="hello", kw_only=True):
    """First frame of a worker. revision, sheet: what it has already (from its snapshot), -1 for nothing.

    part: `worker`, or `keeper` for the process that delivers records: it enforces no policy, is sent none and only
    calls. holder: the name under which this life of a worker holds permits, see `models.planes.permits`.
    """

    protocol: int
    worker: int
    pid: int
    revision: int
    sheet: int
    part: str = WORKER
    holder: str = ""


class Call(msgspec.Struct, frozen=True, tag="call"):
    """A worker's question to an actor. number: names the answer. shard: which actor, of a role that has several.

    role and method: `vault.grant`, `limiter.reserve`, `limiter.give_back`, `recorder.take`, `redactor.find`.
    payload: opaque to the link, but for texts, which it puts together with those of others.
    """

    number: int
    role: str
    method: str
    payload: bytes
    shard: int = 0


class Applied(msgspec.Struct, frozen=True, tag="applied"):
    """The worker enforces this revision and sheet, and its snapshot has the revocations in it on disk."""

    revision: int
    sheet: int


class Done(msgspec.Struct, frozen=True, tag="done"):
    """The result of a command: a `CommandResult` as msgpack."""

    payload: bytes


class Welcome(msgspec.Struct, frozen=True, tag="welcome"):
    """First frame of a link."""

    protocol: int


class Update(msgspec.Struct, frozen=True, tag="update"):
    """What is new. delta, sheet: None when unchanged. manifest: the newest issue heard, None before the first.

    Sent at least every 10 s while the registry is heard, also when only the manifest's issue is new.
    """

    delta: Delta | None
    sheet: Signed | None
    manifest: Signed | None


class Answer(msgspec.Struct, frozen=True, tag="answer"):
    """To a Call. error: empty, or a code: `unavailable` (the actor is away, ask again), `refused`."""

    number: int
    payload: bytes
    error: str = ""


class Run(msgspec.Struct, frozen=True, tag="run"):
    """A command for this worker to carry out; verified by the worker."""

    command: Signed


class Surrender(msgspec.Struct, frozen=True, tag="surrender"):
    """The limiter wants unspent permits back: to be returned by a call of `limiter.give_back` at once."""

    recall: Recall


FromWorker = Hello | Call | Applied | Done
FromLink = Welcome | Update | Answer | Run | Surrender

_encode = msgspec.msgpack.Encoder().encode


def encode(frame: FromWorker | FromLink) -> bytes:
    """The frame with its length in front."""
    body = _encode(frame)
    return len(body).to_bytes(4, "big") + body
