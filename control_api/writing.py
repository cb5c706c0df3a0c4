"""What all writes share: access asked again where it counts, `If-Match`, one write per `Idempotency-Key`, the answer.

A write that has begun is carried through, also when its caller hangs up. What is shown of it comes from the change
itself, so that another write right after cannot show through.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from control_api import answers
from control_api.access import authorise
from control_api.call import Answer, Call
from control_api.kinds import Kind
from control_api.ledger.change import Draft, Item, Key, Written
from control_api.ledger.ledger import Decide
from control_api.ledger.projection import Projection, Resource
from control_api.presentation import Health, show
from control_api.references import find
from control_api.tasks import spawn
from models.errors import ApiError, NotFound, PreconditionFailed

Body = dict[str, Any]


class Regions:
    """How the regions are, from the ledger's book."""

    def __init__(self, call: Call) -> None:
        self._ledger = call.services.ledger

    def acknowledged(self, region: str) -> int:
        """The revision up to which a region has everything."""
        return self._ledger.acknowledged(region)

    def failing(self, region: str) -> dict[str, str]:
        """Credentials that its vault could not take, and why."""
        return self._ledger.regions.get(region).failing


def health(call: Call) -> Health:
    """How the regions are now."""
    return Regions(call)


def shown(call: Call, resource: Resource) -> Body:
    """`resource` as callers see it now."""
    return show(resource, call.projection, health(call))


def owned(call: Call, projection: Projection, kind: Kind, resource_id: str) -> Resource:
    """The resource of the client in the path. Raises NotFound."""
    found = find(projection, kind.name, resource_id, call.params["clientId"])
    if found is None:
        raise NotFound(f"There is no such {kind.name}")
    return found


def matching(call: Call, resource: Resource) -> Resource:
    """`resource`, if it is at the revision that `If-Match` names. Raises PreconditionFailed."""
    if call.if_match is not None and call.if_match != resource.revision:
        raise PreconditionFailed("The resource is at another revision than If-Match names")
    return resource


def draft(action: str, item: Item, client_id: str | None, orders: dict[str, Any] | None = None) -> Draft:
    """A change of one resource."""
    return Draft(action=action, client_id=client_id, items=(item,), orders=orders or {})


async def write(call: Call, decide: Decide, key: Key) -> Written:
    """Puts what `decide` wants into the log. key: of the resource that a replay is answered with."""

    def authorised(projection: Projection, revision: int, now_ms: int) -> Draft:
        authorise(call.route, call.params, call.caller, projection)
        return decide(projection, revision, now_ms)

    async def settle() -> Written | ApiError:
        try:
            replay = call.replay(call.route.status, *key)
            return await call.services.ledger.write(authorised, actor=call.caller.user_id, replay=replay)
        except ApiError as refusal:  # a refusal is an answer, not a failed task
            return refusal

    outcome: Written | ApiError = await asyncio.shield(spawn("write", settle()))
    if isinstance(outcome, ApiError):
        raise outcome
    return outcome


def made(written: Written, key: Key, projection: Projection) -> Resource:
    """The resource as this very write left it. For a replay, the one that was made then."""
    if written.replayed and written.change.replay is not None:
        key = (written.change.replay.kind, written.change.replay.id)
    now = projection.get(*key)
    if now is not None and now.revision == written.revision:
        return now
    change = written.change
    item = next(item for item in change.items if item.key == key)
    fresh = item.before is None or now is None
    return Resource(
        kind=item.kind,
        id=item.id,
        client_id=item.client_id,
        parent=item.parent,
        created=change.revision if now is None else now.created,
        revision=change.revision,
        touched=change.revision,
        created_ms=change.at_ms if fresh or now is None else now.created_ms,
        updated_ms=change.at_ms,
        body=item.after or {},
    )


async def answer(
    call: Call, written: Written, key: Key, finish: Callable[[Body], Body] = lambda body: body
) -> Answer:
    """The answer of a write that made or changed one resource. finish: adds what is shown only this once."""
    headers = await answers.propagation(call, written)
    body = shown(call, made(written, key, call.projection))
    return answers.one(call, body if written.replayed else finish(body), headers)


async def gone(call: Call, written: Written) -> Answer:
    """The answer of a deletion."""
    return Answer(204, None, await answers.propagation(call, written))
