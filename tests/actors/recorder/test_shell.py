"""The recorder's shell, called as Ray calls it: bytes in, bytes out, errors of ours and no others."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from actors.names import RECORDER
from actors.recorder.shell import Recorder
from models.errors import ExeatError, PeerUnavailable, Refused
from models.home import RegionHome
from models.planes.calls import Ready
from models.planes.frames import PROTOCOL
from models.planes.records import Taken
from tests.actors.recorder.batches import batch
from tests.kit.feed import KEY, REGION, FeedServer, Plane

encode = msgspec.msgpack.encode


@pytest.fixture
def own_log() -> Iterator[None]:
    """An actor sets up the log of its whole process."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    for handler in handlers:
        root.removeHandler(handler)
    yield
    for handler in root.handlers[:]:
        root.removeHandler(handler)
        handler.close()
    for handler in handlers:
        root.addHandler(handler)
    root.setLevel(level)


async def test_a_batch_goes_through_as_bytes(tmp_path: Path, own_log: None) -> None:
    """From msgpack to the control plane's uplink and back; without the key's file it is away."""
    server = FeedServer(Plane())
    home, log = RegionHome(tmp_path), tmp_path / "recorder.log"
    recorder = Recorder.__new__(Recorder)
    await recorder.__init__(REGION, str(tmp_path), await server.start(), str(log))  # type: ignore[misc]  # as Ray does

    ready = msgspec.msgpack.decode(await recorder.ready(), type=Ready)
    assert (ready.role, ready.region, ready.protocol) == (RECORDER, REGION, PROTOCOL)
    with pytest.raises(PeerUnavailable, match="region key"):
        await recorder.take(encode(batch(1)))
    home.key.write_text(KEY + "\n")
    said = await recorder.take(encode(batch(1)))
    assert msgspec.msgpack.decode(said, type=Taken).number == 1
    with pytest.raises(Refused):
        await recorder.take(encode(batch(0)))
    with pytest.raises(ExeatError, match="take failed with"):
        await recorder.take(b"text")
    assert [one.number for report in server.uplinks for one in report.records] == [1]
    assert KEY not in log.read_text()
    await recorder._core.close()
    await recorder._core._uplink.close()  # type: ignore[attr-defined]  # the client of this test's loop
    await server.stop()
