"""A change: one entry of the log, everything that one write did, and how it lies in the store.

Secrets are never in an item. What is sealed for a region's vault is in `orders`, and only until every region of
the change has it. Values only; nothing here decides what may change.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from models.custody.signing import Signed
from models.errors import SchemaTooNew
from store.interface import Collection, Document

SCHEMA: Final = 2
"""1: no filters. 2: filters among the items, which a program that knows none must not pass over."""

CHANGES: Final = Collection("changes", indexes=("clientId", "holdsOrders", "holdsReplay"), schema=SCHEMA)
"""The log. Ids are revisions (`change_id`). holdsOrders, holdsReplay: 1 or absent."""

DOCUMENT_KINDS: Final = ("credential", "target", "proxy")
"""The kinds that a region's policy is made of; rules and filters are inside the document of their parent."""

PART_KINDS: Final = ("rule", "filter")
"""What stands on a credential, target or proxy, and goes with it."""

KINDS: Final = ("user", "token", "client", "region", *DOCUMENT_KINDS, *PART_KINDS)

Body = dict[str, Any]
"""The wire form of a resource without id, clientId and what only the control plane sets, secrets withheld.

A credential's holds `credentialPlacement` ({in, name, prefix}, absent for none), `credentialVersion` and
`credentialStatus` (`active` or `revoked`) besides. Never altered in place.
"""

Key = tuple[str, str]
"""Kind and id of a resource."""


class Item(msgspec.Struct, frozen=True, rename="camel"):
    """What a change did to one resource. before, after: its body, None when there was or is none.

    parent: (kind, id) of what a rule or filter stands on, or of a token's user.
    """

    kind: str
    id: str
    client_id: str | None = None
    parent: tuple[str, str] | None = None
    before: Body | None = None
    after: Body | None = None

    @property
    def key(self) -> Key:
        """(kind, id)."""
        return self.kind, self.id


class Replay(msgspec.Struct, frozen=True, rename="camel"):
    """What is remembered of an `Idempotency-Key` for 24 h: whose, of which request, what was answered.

    digest: of method, path and body, keyed with the token, in hex. kind, id: the resource that was answered with.
    """

    token_id: str
    key: str
    digest: str
    status: int
    kind: str
    id: str


class Change(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """One entry of the log.

    revision: 1 for the first, one more each. id: random, tells this change from another that wanted the same
    revision. at_ms: wall milliseconds, never less than the change's before. actor: a user's id or `system`.
    action: `create`, `update`, `delete`, `revoke`, `enrol`, … regions: whose policy it touches.
    orders: signed `Order`s by region; none once all regions acknowledged.
    """

    revision: int
    id: str
    at_ms: int
    actor: str
    action: str
    client_id: str | None
    items: tuple[Item, ...]
    regions: tuple[str, ...] = ()
    orders: dict[str, tuple[Signed, ...]] = {}
    replay: Replay | None = None
    schema: int = SCHEMA


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """What a write wants to do; the ledger adds revision, time, actor, regions, and what follows by itself.

    What follows: `before` is set from the projection; rules and filters of a deleted resource and tokens of a deleted user
    go with it; a credential that is revoked or deleted gets its `Revoke` or `Forget` order.
    extra_regions: regions that must move to this revision although none of their resources changed.
    """

    action: str
    client_id: str | None
    items: tuple[Item, ...]
    orders: dict[str, tuple[Signed, ...]] = {}
    extra_regions: tuple[str, ...] = ()


class Written(msgspec.Struct, frozen=True, kw_only=True):
    """A write that is in the log. replayed: it was there before, for the same `Idempotency-Key` and request."""

    revision: int
    change: Change
    regions: tuple[str, ...]
    replayed: bool = False


def change_id(revision: int) -> str:
    """The store's id of a change: fixed width, so that the order of ids is that of revisions."""
    return f"{revision:020d}"


def to_document(change: Change) -> Document:
    """`change` as the store keeps it: plain JSON, sealed bytes in base64."""
    document: Document = msgspec.json.decode(msgspec.json.encode(change))
    if change.client_id is None:
        del document["clientId"]
    if change.orders:
        document["holdsOrders"] = 1
    if change.replay is not None:
        document["holdsReplay"] = 1
    return document


def to_second(document: Document) -> Document:
    """A change of schema 1 in schema 2: nothing of it means anything else."""
    return {**document, "schema": 2}


def from_document(document: Document) -> Change:
    """The change that `to_document` gave. Raises SchemaTooNew, and msgspec.ValidationError for anything else."""
    if document.get("schema", 0) > SCHEMA:
        raise SchemaTooNew(f"a change has schema {document['schema']}; this version reads up to {SCHEMA}")
    return msgspec.convert({"clientId": None, **document}, Change)
