"""Permits on their way between workers and a region's RateLimiter: leases asked for, granted, recalled, returned.

Values only. A lease is a number of calls under one counter in one window; whoever holds it may admit that many
without asking. What a holder does not say it gives back counts as spent, so a lost message never admits twice.
"""

from __future__ import annotations

from hashlib import blake2b

import msgspec


class Want(msgspec.Struct, frozen=True, array_like=True):
    """A wish for calls under one counter, which is named by key (a proxy id), window name and window length.

    max: of the limit in the worker's policy, and `revision` that policy's: of two revisions the newer one's `max` holds.
    count: how many the worker would like, at least 1; it may get fewer. ahead: of the window after the running one.
    """

    key: str
    window: str
    window_seconds: int
    max: int
    revision: int
    count: int
    ahead: bool = False


class Return(msgspec.Struct, frozen=True, array_like=True):
    """Ends a lease: `unspent` of its calls were not made and never will be. Counts once, and only in its window."""

    lease: int
    incarnation: str
    unspent: int


class ReserveRequest(msgspec.Struct, frozen=True, kw_only=True):
    """All counters of one proxy that a worker is short of, and leases it ends by that.

    holder: names the worker's life (edge, index, random): `{edge}/{index}/{hex}`. shards: into how many limiters
    the sender believes counters to be divided; a limiter of another division refuses.
    """

    holder: str
    wants: tuple[Want, ...]
    returns: tuple[Return, ...] = ()
    shards: int = 1


class Lease(msgspec.Struct, frozen=True, array_like=True):
    """The answer to one Want, in order.

    granted: calls that may be admitted now, 0 when none is left. lease: its number, within `incarnation`.
    window_number: of the window it belongs to. milliseconds: until that ends, to be counted from when the request was
    sent. remaining: calls still grantable to anyone after this. holders: who hold leases of it, this one included.
    starts_ms: until the window begins, to be counted from when the answer was received; 0 for the running one.
    """

    granted: int
    lease: int
    window_number: int
    milliseconds: int
    remaining: int
    holders: int
    starts_ms: int = 0


class ReserveAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """leases: one per want. incarnation: of the limiter; leases of earlier ones stay good until their window ends."""

    incarnation: str
    leases: tuple[Lease, ...]


class ReturnRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Leases a worker ends without wanting others: it was asked to, or it stops."""

    holder: str
    returns: tuple[Return, ...]


class Recall(msgspec.Struct, frozen=True, array_like=True):
    """Asks whoever holds leases of these counters, (key, window), to return what is unspent of them at once.

    counters: of their running windows. ahead: of their coming windows.
    """

    counters: tuple[tuple[str, str], ...]
    ahead: tuple[tuple[str, str], ...] = ()


class RecallRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A link's one outstanding question to a limiter. holders: of its attached workers; who is missing from it has
    gone, and what they hold counts as spent. after: number of the last answer it has acted on, 0 at first.
    """

    link: str
    holders: tuple[str, ...]
    after: int = 0


class RecallAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """recalls: by holder; empty when the question expired."""

    number: int
    recalls: dict[str, Recall] = {}


def shard_of(key: str, shards: int) -> int:
    """Which limiter counts for `key`. All windows of a proxy are in one, so that one call serves them all."""
    if shards == 1:
        return 0
    return int.from_bytes(blake2b(key.encode(), digest_size=8).digest(), "big") % shards
