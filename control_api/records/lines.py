"""One line of a batch, read strictly: a record in the wire form of `models.record`, of this region, with possible values.

Pure. What is kept is the record written anew, so that nothing is shown that was not understood. A message never
repeats a value.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from control_api.records.layout import mark
from models.decision import Decision
from models.ids import RESOURCE_ID
from models.record import Record

LARGEST_BYTES: Final = 1 << 48
"""Of one body; more is a mistake, and sums must fit into 64 bits."""

_CODE: Final = re.compile(r"[a-z][a-z0-9-]{0,63}")
_AT: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_record = msgspec.json.Decoder(Record).decode
_decision = msgspec.json.Decoder(Decision | None).decode
_encode = msgspec.json.Encoder().encode


class Line(msgspec.Struct, frozen=True, gc=False):
    """What is looked at of one record. text: all of it, as JSON. received_ms: wall milliseconds."""

    request_id: str
    client_id: str
    proxy_id: str
    credential_id: str | None
    received_ms: int
    status: int | str | None
    code: str | None
    text: bytes


def read_line(line: bytes, region: str) -> Line:
    """The record in one line. Raises ValueError, whose text says what is wrong without any value of it."""
    try:
        line.decode()  # what is skipped or kept raw while decoding is not looked at there
        record = _record(line)
        record.decision = msgspec.Raw(_encode(_decision(record.decision)))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise ValueError("is not a record") from None
    if record.region != region:
        raise ValueError("is of another region")
    _check_ids(record)
    status, duration = record.status, record.duration_ms
    if isinstance(status, int) and not 100 <= status <= 999:  # as targets answer, and the edge passes on
        raise ValueError("has a status that is none")
    if record.code is not None and not _CODE.fullmatch(record.code):
        raise ValueError("has a code that is none")
    if duration is not None and duration < 0:
        raise ValueError("has a negative duration")
    if not all(0 <= size <= LARGEST_BYTES for size in (record.bytes_in or 0, record.bytes_out or 0)):
        raise ValueError("has a size that is none")
    return Line(
        record.request_id,
        record.client_id,
        record.proxy_id,
        record.credential_id,
        _received_ms(record.received_at),
        status,
        record.code,
        _encode(record),
    )


def entry_id(region: str, request_id: str) -> str:
    """Under which a record is stored: request ids are the regions' own, and none can take another's."""
    return f"{region}/{request_id}"


def entry_of(line: Line, batch: str) -> dict[str, str | bytes]:
    """The document that is stored of a record; what is None cannot be asked for and is left out."""
    client = line.client_id
    document: dict[str, str | bytes] = {"line": line.text, "batch": batch, "client": mark(client)}
    for field, value in (("status", line.status), ("code", line.code), ("credential", line.credential_id)):
        if value is not None:
            document[field] = mark(client, value)
    return document


def _check_ids(record: Record) -> None:
    for one in (record.request_id, record.client_id, record.proxy_id, record.credential_id):
        if one is not None and not RESOURCE_ID.match(one):
            raise ValueError("has an id that is none")


def _received_ms(text: str) -> int:
    try:
        if not _AT.fullmatch(text):
            raise ValueError
        found = (datetime.fromisoformat(text) - _EPOCH) // _MILLISECOND
    except ValueError:
        found = -1
    if found < 0:
        raise ValueError("has a time that is none")
    return found
