"""Records and batches of them as a region sends them up, for tests."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import httpx
import msgspec

from control_api.records.intake import Owners
from models.clock import SystemClock, iso_ms
from models.decision import DEFAULT, Decision, ScopeOutcome
from models.planes.feed import Uplink
from models.planes.records import RecordBatch
from models.record import Record, Timings, Upstream, lines
from tests.kit.api import Api

AT = 1_800_000_000_000
"""2027-01-15T08:00:00Z, wall milliseconds."""
US = "us-east-1"
_SCOPES = ("proxyCredential", "targetCredential", "proxy", "target")


def allowed() -> msgspec.Raw:
    """A decision in which every scope's default allowed."""
    one, two, three, four = (ScopeOutcome(scope, "allow", DEFAULT) for scope in _SCOPES)
    return msgspec.Raw(msgspec.json.encode(Decision("allow", (one, two, three, four))))


def record(request_id: str, at_ms: int = AT, **fields: Any) -> Record:
    """One record; a call that was granted unless told otherwise."""
    made = Record(
        request_id=request_id,
        client_id="cli_one",
        proxy_id="prx_one",
        region=US,
        credential_id="cred_one",
        received_at=iso_ms(at_ms),
        duration_ms=12.5,
        timings=Timings(0.01, 0.01, 0.02, 0.01, 0.0, 12.0, 0.4),
        method="GET",
        path="/v1/things",
        query="",
        status=200,
        code="proxy-access-granted",
        decision=allowed(),
        limits=[],
        filters=(),
        redactions={},
        upstream=Upstream("api.example.com", 200, 12.0),
        bytes_in=10,
        bytes_out=250,
        client_address="192.0.2.7",
        user_agent="test",
        revision=3,
    )
    return msgspec.structs.replace(made, **fields)


def batch(number: int, records: Sequence[Record], source: str = "host_a/spool") -> RecordBatch:
    """A numbered batch."""
    return RecordBatch(source=source, number=number, lines=lines(records), rollups=())


def now_ms() -> int:
    """Wall milliseconds."""
    return SystemClock().wall_ms()


async def send(core: Api, *batches: RecordBatch, region: str = US) -> httpx.Response:
    """Posts them as the region's uplink."""
    path = f"/regions/{region}/uplink"
    return await core.call("POST", path, token=f"r-{region}", content=report(*batches))


def report(*batches: RecordBatch) -> bytes:
    """The body of an uplink."""
    return msgspec.json.encode(Uplink(records=batches))


def owned(by: Mapping[str, tuple[str, str]] | None = None) -> Owners:
    """What an intake asks: proxies of this mapping are known, none when it is left out."""

    async def owners(proxy_ids: Collection[str]) -> Mapping[str, tuple[str, str]]:
        return {one: (by or {})[one] for one in proxy_ids if one in (by or {})}

    return owners
