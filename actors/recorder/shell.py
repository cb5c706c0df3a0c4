"""The recorder as an actor: `RecorderCore` behind bytes.

Arguments of its constructor are a region, paths and a URL, never a secret, because Ray keeps them.
"""

from __future__ import annotations

import logging
from pathlib import Path

from actors import logs
from actors.names import RECORDER
from actors.recorder.core import RecorderCore
from actors.recorder.uplink_client import UplinkClient
from actors.shelling import decode, encode, guarded, ready_answer
from models.home import RegionHome
from models.planes.records import Batch
from models.secret import Secret

_log = logging.getLogger("exeat.actors")


class Recorder:
    """One region's recorder."""

    @guarded
    async def __init__(self, region: str, home: str, control_url: str, log: str) -> None:  # type: ignore[misc]  # Ray awaits it
        """home: of the region; log: file, or empty for stderr."""
        logs.configure(file=Path(log) if log else None, part=f"recorder {region}")
        self._region = region
        key = RegionHome(Path(home)).key
        self._core = RecorderCore(UplinkClient(control_url, region, lambda: Secret(key.read_bytes().strip())))
        _log.info("recorder open")

    @guarded
    async def ready(self, _payload: bytes = b"") -> bytes:
        """`Ready`."""
        return ready_answer(RECORDER, self._region, self._core.detail)

    @guarded
    async def take(self, payload: bytes) -> bytes:
        """`Batch` -> `Taken`; see `RecorderCore.take`."""
        return encode(await self._core.take(decode(payload, Batch)))
