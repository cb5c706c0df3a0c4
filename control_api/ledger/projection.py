"""The projection: every resource of the control plane as the log makes it, in memory, with what is looked up in it.

It changes through `apply` alone, change by change in order; applying one twice, or again after later ones have
been applied, ends in the same. Whoever reads from it never alters what he gets.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec

from control_api.ledger.change import DOCUMENT_KINDS, PART_KINDS, Body, Change, Item, Key, Replay

_Ids = list[str]
"""`Projection.list` hides the type's own name inside that class."""

REPLAY_MS: Final = 24 * 3600 * 1000
"""How long an `Idempotency-Key` is remembered (API.md section 2)."""


class Resource(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """One resource. body: see `change.Body`.

    created, revision: of the changes that made it and last altered it. touched: of the last change to it or to
    one of its rules or filters. created_ms, updated_ms: wall milliseconds of the first two.
    """

    kind: str
    id: str
    client_id: str | None
    parent: tuple[str, str] | None
    created: int
    revision: int
    touched: int
    created_ms: int
    updated_ms: int
    body: Body


_Resources = list[Resource]


class Remembered(msgspec.Struct, frozen=True, array_like=True):
    """An `Idempotency-Key` that was used: unpacks to (replay, revision, at_ms)."""

    replay: Replay
    revision: int
    at_ms: int

    def __iter__(self) -> Iterator[Any]:
        return iter((self.replay, self.revision, self.at_ms))


def region_of(kind: str, body: Body) -> str | None:
    """The region that a credential, target or proxy is in; None for other kinds."""
    region = body.get(f"{kind}Region") if kind in DOCUMENT_KINDS else None
    return region if isinstance(region, str) else None


def caller_ids(proxy: Body) -> tuple[str, ...]:
    """The proxy credentials that a proxy's body names, in either form."""
    many = proxy.get("proxyProxyCredentialIds")
    if many:
        return tuple(many)
    one = proxy.get("proxyProxyCredentialId")
    return (one,) if one else ()


def references_of(resource: Resource) -> tuple[Key, ...]:
    """What a proxy refers to, and by whom a client is used: credentials and target; member users."""
    body = resource.body
    if resource.kind == "proxy":
        credentials = (*caller_ids(body), body.get("proxyTargetCredentialId"))
        found = [("credential", one) for one in credentials if one]
        if body.get("proxyTargetId"):
            found.append(("target", body["proxyTargetId"]))
        return tuple(dict.fromkeys(found))
    if resource.kind == "client":
        return tuple(("user", member["userId"]) for member in body.get("clientMembers", ()))
    return ()


class Projection:
    """revision, at_ms: of the last change applied; 0 before the first."""

    def __init__(self) -> None:
        self.revision = 0
        self.at_ms = 0
        self._kinds: dict[str, dict[str, Resource]] = {}
        self._owned: dict[tuple[str, str], dict[str, Resource]] = {}
        self._children: dict[tuple[str, Key], dict[str, Resource]] = {}
        self._referrers: dict[Key, dict[str, None]] = {}
        self._aliases: dict[tuple[str, str], str] = {}
        self._tokens: dict[str, str] = {}
        self._replays: dict[tuple[str, str], Remembered] = {}
        self._region_revisions: dict[str, int] = {}

    # What it answers.

    def get(self, kind: str, resource_id: str) -> Resource | None:
        """The resource, or None."""
        return self._kinds.get(kind, {}).get(resource_id)

    def list(self, kind: str, *, client_id: str | None = None, parent: Key | None = None) -> _Resources:
        """Resources of a kind, all or those of a client or parent, by (revision of creation, id)."""
        if parent is not None:
            found = self._children.get((kind, parent), {}).values()
        elif client_id is not None:
            found = self._owned.get((kind, client_id), {}).values()
        else:
            found = self._kinds.get(kind, {}).values()
        chosen = [one for one in found if client_id is None or one.client_id == client_id]
        chosen.sort(key=lambda one: (one.created, one.id))
        return chosen

    def referrers(self, kind: str, resource_id: str) -> _Ids:
        """Sorted ids of what stands in the way of a deletion.

        For a credential or target: proxies; for a user: clients with it as a member; for a client: its
        credentials, targets and proxies; for a region: everything in it.
        """
        if kind == "client":
            return sorted(one for part in DOCUMENT_KINDS for one in self._owned.get((part, resource_id), ()))
        if kind == "region":
            return sorted(
                one.id
                for part in DOCUMENT_KINDS
                for one in self._kinds.get(part, {}).values()
                if region_of(part, one.body) == resource_id
            )
        return sorted(self._referrers.get((kind, resource_id), ()))

    def alias(self, region: str, alias: str) -> str | None:
        """The proxy that has this alias in this region, or None."""
        return self._aliases.get((region, alias))

    def memberships(self, user_id: str) -> _Ids:
        """Sorted ids of the clients that have this user as a member."""
        return self.referrers("user", user_id)

    def token(self, digest_hex: str) -> Resource | None:
        """The token whose text has this SHA-256, or None; whether it expired is the caller's to look at."""
        found = self._tokens.get(digest_hex)
        return None if found is None else self.get("token", found)

    def replay(self, token_id: str, key: str, now_ms: int) -> Remembered | None:
        """What an `Idempotency-Key` of this token was used for within the last 24 h, or None."""
        found = self._replays.get((token_id, key))
        return found if found is not None and found.at_ms > now_ms - REPLAY_MS else None

    def regions(self) -> _Resources:
        """All enrolled regions, oldest first."""
        return self.list("region")

    def region_revision(self, region: str) -> int:
        """The revision of the last change that touched this region; 0 before the first."""
        return self._region_revisions.get(region, 0)

    def documents_of(self, region: str) -> tuple[Key, ...]:
        """Kind and id of every credential, target and proxy in a region."""
        return tuple(
            (kind, one.id)
            for kind in DOCUMENT_KINDS
            for one in self._kinds.get(kind, {}).values()
            if region_of(kind, one.body) == region
        )

    def resources(self) -> Iterator[Resource]:
        """Every resource, in no order that matters."""
        for kind in self._kinds.values():
            yield from kind.values()

    @property
    def region_revisions(self) -> dict[str, int]:
        """A copy of what `region_revision` answers from."""
        return dict(self._region_revisions)

    # What changes it.

    def apply(self, change: Change) -> tuple[Key, ...]:
        """Takes a change over; answers what it touched: its items, and the parents of rules and filters among them."""
        touched: dict[Key, None] = {}
        for item in change.items:
            touched[item.key] = None
            if item.after is None:
                self._remove(item.key)
            else:
                self._place(self._next(item, item.after, change))
        for item in change.items:
            if item.kind in PART_KINDS and item.parent is not None:
                parent = self.get(*item.parent)
                if parent is not None:
                    self._place(msgspec.structs.replace(parent, touched=change.revision))
                    touched[item.parent] = None
        for region in change.regions:
            self._region_revisions[region] = max(change.revision, self.region_revision(region))
        if change.replay is not None:
            self.remember(Remembered(change.replay, change.revision, change.at_ms))
        self.revision = max(self.revision, change.revision)
        self.at_ms = max(self.at_ms, change.at_ms)
        return tuple(touched)

    def restore(
        self, resources: Iterable[Resource], *, revision: int, at_ms: int, region_revisions: dict[str, int]
    ) -> None:
        """Fills an empty projection with what was kept."""
        for one in resources:
            self._place(one)
        self.revision, self.at_ms = revision, at_ms
        self._region_revisions = dict(region_revisions)

    def remember(self, used: Remembered) -> None:
        """Keeps an `Idempotency-Key`, and forgets those that are past their time by this one's."""
        replays = self._replays
        replays.pop((used.replay.token_id, used.replay.key), None)
        replays[used.replay.token_id, used.replay.key] = used
        while replays:
            key, oldest = next(iter(replays.items()))
            if oldest.at_ms > used.at_ms - REPLAY_MS:
                break
            del replays[key]

    def _next(self, item: Item, after: Body, change: Change) -> Resource:
        was = self.get(item.kind, item.id)
        return Resource(
            kind=item.kind,
            id=item.id,
            client_id=item.client_id,
            parent=item.parent,
            created=change.revision if was is None else was.created,
            revision=change.revision,
            touched=change.revision,
            created_ms=change.at_ms if was is None else was.created_ms,
            updated_ms=change.at_ms,
            body=after,
        )

    def _place(self, resource: Resource) -> None:
        self._remove((resource.kind, resource.id))
        kind, one = resource.kind, resource.id
        self._kinds.setdefault(kind, {})[one] = resource
        if resource.client_id is not None:
            self._owned.setdefault((kind, resource.client_id), {})[one] = resource
        if resource.parent is not None:
            self._children.setdefault((kind, resource.parent), {})[one] = resource
        for reference in references_of(resource):
            self._referrers.setdefault(reference, {})[one] = None
        if kind == "proxy" and resource.body.get("proxyAlias"):
            self._aliases[resource.body["proxyRegion"], resource.body["proxyAlias"]] = one
        if kind == "token":
            self._tokens[resource.body["tokenDigest"]] = one

    def _remove(self, key: Key) -> None:
        kind, one = key
        was = self._kinds.get(kind, {}).pop(one, None)
        if was is None:
            return
        if was.client_id is not None:
            _drop(self._owned, (kind, was.client_id), one)
        if was.parent is not None:
            _drop(self._children, (kind, was.parent), one)
        for reference in references_of(was):
            _drop(self._referrers, reference, one)
        if kind == "proxy" and was.body.get("proxyAlias"):
            place = (was.body["proxyRegion"], was.body["proxyAlias"])
            if self._aliases.get(place) == one:
                del self._aliases[place]
        if kind == "token":
            self._tokens.pop(was.body["tokenDigest"], None)


def _drop(index: dict[Any, dict[str, Any]], key: Any, one: str) -> None:
    """Takes `one` out of one entry of an index, and the entry when it is empty."""
    entry = index.get(key)
    if entry is not None:
        entry.pop(one, None)
        if not entry:
            del index[key]


def differences(one: Projection, other: Projection) -> list[str]:
    """What differs between two projections, in words; empty when they are equal."""
    found = [
        f"{name}: {getattr(one, name)} and {getattr(other, name)}"
        for name in ("revision", "at_ms", "region_revisions")
        if getattr(one, name) != getattr(other, name)
    ]
    ours = {(resource.kind, resource.id): resource for resource in one.resources()}
    theirs = {(resource.kind, resource.id): resource for resource in other.resources()}
    for kind, name in sorted(ours.keys() | theirs.keys()):
        left, right = ours.get((kind, name)), theirs.get((kind, name))
        if left is None or right is None:
            found.append(f"{kind} {name}: only in the {'second' if left is None else 'first'}")
        elif left != right:
            fields = [
                field for field in left.__struct_fields__ if getattr(left, field) != getattr(right, field)
            ]
            found.append(f"{kind} {name}: differs in {', '.join(fields)}")
    return found
