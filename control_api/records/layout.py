"""What the store of records holds: the records, what they add up to, and how far each source is.

A store of its own, apart from the change log, so that a burst of records never delays a policy write. Nothing in it
is a secret, and none of it is the truth about policy.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from functools import lru_cache
from hashlib import blake2b
from typing import Final

from store.interface import Collection, Layout, Stream

RECORDS: Final = Stream("request_records", indexes=("client", "status", "code", "credential"))
"""One entry per record. id: `{region}/{request id}`, so that no region can take an id that another will use. at_ms:
`receivedAt`. Fields: `line`, the record as JSON, bytes; `batch`, which batch brought it. key: `mark` of client and
proxy; `client`: of the client; `status`, `code`, `credential`: of the client and that value. So a question of a client
is one of a field, that of a proxy the same within its key, every value names the client, and no index is idle."""

ROLLUPS: Final = Collection("request_rollups", indexes=("of", "month"))
"""Counts per minute, hour or day of a client or one of its proxies; see `rollups`."""

SOURCES: Final = Collection("record_sources")
"""One document per source, `{region}/{source}`: `number` of the newest batch that was taken over completely."""

RECORDS_LAYOUT: Final = Layout(collections=(ROLLUPS, SOURCES), streams=(RECORDS,))


@lru_cache(maxsize=4096)
def mark(*parts: str | int) -> str:
    """16 characters that stand for ids and values without NUL: they are in several indexes of every record."""
    text = "\0".join(map(str, parts)).encode()
    return urlsafe_b64encode(blake2b(text, digest_size=12).digest()).decode()
