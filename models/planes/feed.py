"""Feed and uplink: what the control API and a region's PolicyRegistry say to each other, as JSON.

The feed is `GET /v1/regions/{region}/feed?after=<revision>&wait=<seconds>` with `Authorization: <region key>`;
asking for `after` acknowledges that everything up to it is durable in the region. bytes are base64 on the wire.
"""

from __future__ import annotations

import msgspec

from models.custody.signing import Signed
from models.planes.records import RecordBatch
from models.planes.state import Delta

COMMAND = "command"
"""Purpose of a command's signature, made with the control plane's policy key."""

MEDIA = "application/json"

UPLINK_MAX = 8 << 20
"""Longest body of an uplink report in bytes: room for several batches of records, which are base64 in it."""


class FeedAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """delta: None when there is nothing new. orders: signed `Order`s for the vault, to be obeyed before the
    delta's revision is taken over; sorted by revision. commands: signed `Command`s, each delivered at most once.
    manifest: of the state after `delta`, issued now.
    """

    manifest: Signed
    delta: Delta | None = None
    orders: tuple[Signed, ...] = ()
    commands: tuple[Signed, ...] = ()


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """Something an edge does once, now. kind: `testTarget`. expires_ms: wall milliseconds."""

    id: str
    kind: str
    region: str
    client_id: str
    target_id: str
    credential_id: str | None
    expires_ms: int


class CommandResult(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a command. status: of the target's answer, None if there was none; code: of the refusal
    otherwise (`target-unreachable`, …). duration_ms: from the first byte sent to the answer's head.
    """

    id: str
    edge: str
    status: int | None = None
    code: str | None = None
    duration_ms: float | None = None


class EdgeReport(msgspec.Struct, frozen=True, kw_only=True):
    """One edge host as its region's registry sees it. revision: the least of its workers'; workers: attached."""

    edge: str
    revision: int
    workers: int
    seen_ms: int


class Uplink(msgspec.Struct, frozen=True, kw_only=True):
    """`POST /v1/regions/{region}/uplink`, answered 204. failing: credentials the vault could not take, and why.

    records: batches, those of one source by rising number; 204 says that the control store has all of them.
    """

    certificate: Signed | None = None
    edges: tuple[EdgeReport, ...] = ()
    results: tuple[CommandResult, ...] = ()
    failing: dict[str, str] = {}
    records: tuple[RecordBatch, ...] = ()
