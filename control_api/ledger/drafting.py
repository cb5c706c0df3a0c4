"""From what a write wants to what goes into the log: pure, so that a lost race decides and drafts again.

What follows from an item is added here, so that no caller can forget it: the true `before`, the rules and filters
that go with their parent, the regions concerned, the orders that end a credential.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from control_api.ledger.change import DOCUMENT_KINDS, KINDS, PART_KINDS, Change, Draft, Item, Key, Replay
from control_api.ledger.projection import Projection, region_of
from models.custody.orders import Forget, Order, Revoke, sign_order
from models.custody.signing import Signer

CHILDREN = {"user": ("token",), **dict.fromkeys(DOCUMENT_KINDS, PART_KINDS)}
"""What goes when its parent is deleted."""


def complete(
    draft: Draft,
    projection: Projection,
    signer: Signer,
    *,
    change_id: str,
    at_ms: int,
    actor: str,
    replay: Replay | None = None,
) -> Change:
    """The change that `draft` becomes as the next one after `projection`. Raises ValueError for an unknown kind."""
    items = tuple(_settled(draft.items, projection))
    regions = {
        *draft.extra_regions,
        *(region for item in items for region in regions_of(item, projection, items)),
    }
    orders = {region: list(signed) for region, signed in draft.orders.items()}
    for order in endings(items):
        signed = sign_order(order, signer)
        if signed not in orders.setdefault(order.region, []):
            orders[order.region].append(signed)
    return Change(
        revision=projection.revision + 1,
        id=change_id,
        at_ms=at_ms,
        actor=actor,
        action=draft.action,
        client_id=draft.client_id,
        items=items,
        regions=tuple(sorted(regions | orders.keys())),
        orders={region: tuple(signed) for region, signed in sorted(orders.items())},
        replay=replay,
    )


def _settled(items: Iterable[Item], projection: Projection) -> Iterator[Item]:
    """The items with their true `before`, and what goes with those that are deleted."""
    given = {item.key for item in items}
    for item in items:
        if item.kind not in KINDS:
            raise ValueError(f"there is no kind {item.kind!r}")
        was = projection.get(item.kind, item.id)
        yield msgspec.structs.replace(item, before=None if was is None else was.body)
        for kind in CHILDREN.get(item.kind, ()) if item.after is None else ():
            for child in projection.list(kind, parent=item.key):
                if (child.kind, child.id) not in given:
                    yield Item(child.kind, child.id, child.client_id, child.parent, child.body, None)


def regions_of(item: Item, projection: Projection, items: Iterable[Item] = ()) -> set[str]:
    """The regions whose policy an item touches. items: the whole change, where a part's parent may be made."""
    if item.kind in PART_KINDS and item.parent is not None:
        return _regions_of_key(item.parent, projection, items)
    bodies = (item.before, item.after)
    return {region for body in bodies if body is not None and (region := region_of(item.kind, body))}


def _regions_of_key(key: Key, projection: Projection, items: Iterable[Item]) -> set[str]:
    bodies = [body for item in items if item.key == key for body in (item.before, item.after)]
    was = projection.get(*key)
    bodies.append(None if was is None else was.body)
    return {region for body in bodies if body is not None and (region := region_of(key[0], body))}


def endings(items: Iterable[Item]) -> Iterator[Order]:
    """What the vaults must be told because a credential was revoked or deleted."""
    for item in items:
        if item.kind != "credential" or item.before is None:
            continue
        region = item.before["credentialRegion"]
        if item.after is None:
            yield Forget(region, item.id, item.before["credentialVersion"])
        elif is_revoked(item.after) and not is_revoked(item.before):
            yield Revoke(region, item.id)


def is_revoked(credential: dict[str, object]) -> bool:
    """Whether a credential's body says so."""
    return credential.get("credentialStatus") == "revoked"
