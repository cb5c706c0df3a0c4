"""What the control plane and its intake process say to each other: frames of msgpack over a socket pair.

Values and their way through a stream. Both ends are ours, of one version and one user; what is no frame ends the
connection all the same.
"""

from __future__ import annotations

import asyncio
from typing import Final, TypeAlias

import msgspec

from models.planes.records import RecordBatch

_LENGTH: Final = 4


class Open(msgspec.Struct, frozen=True, tag="open"):
    """The first frame, from the control plane. place: of the store, as for `open_store`."""

    place: str


class Take(msgspec.Struct, frozen=True, tag="take"):
    """Batches of one region; answered by Done, Wrong or Away, after a Who."""

    region: str
    batches: tuple[RecordBatch, ...]


class Known(msgspec.Struct, frozen=True, tag="known"):
    """The answer to a Who: client id and region of each proxy that is known."""

    owners: dict[str, tuple[str, str]]


class Who(msgspec.Struct, frozen=True, tag="who"):
    """The intake's question whose these proxies are."""

    proxy_ids: tuple[str, ...]


class Done(msgspec.Struct, frozen=True, tag="done"):
    """It is open; the batches are taken over."""


class Wrong(msgspec.Struct, frozen=True, tag="wrong"):
    """Nothing was stored; `Invalid` with this detail and these errors."""

    detail: str
    errors: tuple[tuple[str, str], ...]


class Away(msgspec.Struct, frozen=True, tag="away"):
    """The store is away, or something failed; safe to repeat. detail: for operators."""

    detail: str


FromControl: TypeAlias = Open | Take | Known
FromIntake: TypeAlias = Who | Done | Wrong | Away

_encode = msgspec.msgpack.Encoder().encode
from_control: Final[msgspec.msgpack.Decoder[FromControl]] = msgspec.msgpack.Decoder(FromControl)
from_intake: Final[msgspec.msgpack.Decoder[FromIntake]] = msgspec.msgpack.Decoder(FromIntake)


async def send(writer: asyncio.StreamWriter, frame: FromControl | FromIntake) -> None:
    """Hands a frame over. Raises ConnectionError."""
    body = _encode(frame)
    writer.write(len(body).to_bytes(_LENGTH, "big"))
    writer.write(body)
    await writer.drain()


async def receive(reader: asyncio.StreamReader) -> bytes:
    """The next frame's bytes. Raises asyncio.IncompleteReadError at the end, ConnectionError."""
    return await reader.readexactly(int.from_bytes(await reader.readexactly(_LENGTH), "big"))
