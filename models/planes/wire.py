"""Bytes off a Unix socket back into frames, whatever the pieces they arrive in.

Pure: it is handed bytes and gives frames. It never holds more than one frame of the allowed length, and what is
no frame ends the connection, because nothing after it could be trusted to start where it seems to.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from models.errors import FrameRefused
from models.planes.frames import LONGEST_FRAME, FromLink, FromWorker

_LENGTH = 4

_from_link: msgspec.msgpack.Decoder[FromLink] = msgspec.msgpack.Decoder(FromLink)
_from_worker: msgspec.msgpack.Decoder[FromWorker] = msgspec.msgpack.Decoder(FromWorker)


class Splitter:
    """Finds frames in a stream: 4 bytes of length, big-endian, then as many bytes."""

    __slots__ = ("_held", "_longest")

    def __init__(self, longest: int = LONGEST_FRAME) -> None:
        """longest: bytes a frame may have, its length not counted."""
        self._longest = longest
        self._held = bytearray()

    def feed(self, data: bytes) -> Iterator[bytearray]:
        """The bodies that `data` completes, in order; to be read to the end.

        Raises FrameRefused at a frame that announces more than `longest`, after those in front of it.
        """
        held = self._held
        held += data
        start = 0
        try:
            while len(held) - start >= _LENGTH:
                length = int.from_bytes(held[start : start + _LENGTH], "big")
                if length > self._longest:
                    raise FrameRefused(f"a frame of {length} bytes, over {self._longest}")
                end = start + _LENGTH + length
                if len(held) < end:
                    return
                body = held[start + _LENGTH : end]
                start = end
                yield body
        finally:
            del held[:start]


def read_from_link(body: bytes | bytearray) -> FromLink:
    """A frame of a link. Raises FrameRefused."""
    try:
        return _from_link.decode(body)
    except (msgspec.DecodeError, RecursionError):
        raise FrameRefused("not a frame of a link") from None


def read_from_worker(body: bytes | bytearray) -> FromWorker:
    """A frame of a worker. Raises FrameRefused."""
    try:
        return _from_worker.decode(body)
    except (msgspec.DecodeError, RecursionError):
        raise FrameRefused("not a frame of a worker") from None
