"""The recorder's way to the control plane: batches in the region's uplink report, over HTTP.

204 means that the control store has all of them. It holds no batch and repeats none: that is for those who have it
on disk.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from actors.control_http import ControlHttp
from actors.recorder.core import Malformed
from models.errors import PeerUnavailable
from models.planes.feed import Uplink
from models.planes.records import RecordBatch
from models.secret import Secret

WHOLE_SECONDS: Final = 25.0
"""For all of a report; less than an edge waits for its answer."""
_LONGEST_PROBLEM: Final = 64 * 1024
_PLACE: Final = re.compile(r"records\[([0-9]{1,6})\]")


class _Mistake(msgspec.Struct):
    field: str


class _Problem(msgspec.Struct):
    """As much of problem+json (RFC 9457) as is looked at."""

    errors: tuple[_Mistake, ...] = ()


_encode = msgspec.json.Encoder().encode
_decode_problem = msgspec.json.Decoder(_Problem).decode


class UplinkClient:
    """Sends reports of one region; made inside the loop that uses it."""

    def __init__(
        self,
        control_url: str,
        region: str,
        key: Callable[[], Secret],
        *,
        timeout: float = 20.0,
        whole: float = WHOLE_SECONDS,
    ) -> None:
        """control_url, key: as of `ControlHttp`. timeout: seconds of silence; whole: seconds for all of a report."""
        self._http = ControlHttp(control_url, region, key, timeout=timeout)
        self._whole = whole

    async def send(self, batches: Sequence[RecordBatch]) -> None:
        """Returns once the control store has all of them.

        Raises Malformed with the places of those that it will never have (413 counts as that, without a place);
        PeerUnavailable for anything else: they may have been stored, and are safe to send again.
        """
        status, body = await self._http.post(
            "uplink",
            _encode(Uplink(records=tuple(batches))),
            longest=_LONGEST_PROBLEM,
            seconds=self._whole,
        )
        if status in {413, 422}:
            raise Malformed({place for place in _places(body) if place < len(batches)})
        if status != 204:
            raise PeerUnavailable(f"the uplink answered {status}")

    async def close(self) -> None:
        """Ends all connections."""
        await self._http.close()


def _places(body: bytes) -> set[int]:
    """Which batches a problem names, as `records[2]` or a field in it."""
    try:
        problem = _decode_problem(body)
    except msgspec.DecodeError:
        return set()
    found = (_PLACE.match(mistake.field) for mistake in problem.errors)
    return {int(match[1]) for match in found if match is not None}
