"""What rules and filters have in common: parts of a credential, target or proxy, with five functions each.

A part is stored only when the edge can enforce it beside the others of its owner; what that takes is handed in.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from control_api import answers
from control_api.call import Answer, Call
from control_api.kinds import SINGULAR, Kind
from control_api.ledger.change import Draft, Item
from control_api.ledger.projection import Projection, Resource
from control_api.presentation import show
from control_api.proposals import FieldErrors, body_of, created, invalid, replaced
from control_api.writing import answer, draft, gone, health, matching, owned, shown, write
from models.errors import NotFound
from models.resources.base import Value

Check = Callable[[Projection, Value, Resource], FieldErrors]
"""Whether a part fits beside the others of its owner; asked with every try of a write."""
Foresee = Callable[[Projection, Value, Resource], Awaitable[None]]
"""Has done what `Check` would take long for, before a write is tried."""


@dataclass(frozen=True, slots=True)
class Parts:
    """The handlers of one kind of part."""

    kind: Kind
    check: Check
    foresee: Foresee

    async def list_all(self, call: Call) -> Answer:
        """GET …/{parts}."""
        owner = self._owner(call, call.projection)
        found = call.projection.list(self.kind.name, parent=(owner.kind, owner.id))
        return answers.page(call, found, lambda one: (one.created, one.id), lambda one: shown(call, one))

    async def read(self, call: Call) -> Answer:
        """GET …/{parts}/{partId}."""
        return answers.one(call, shown(call, self._part(call, call.projection)))

    async def create(self, call: Call) -> Answer:
        """POST …/{parts}."""
        key = (self.kind.name, call.services.new_id(self.kind.name))
        # Patterns are compiled off the loop: one may take 70 ms. What is found out is remembered for `decide`.
        part = await asyncio.to_thread(created, self.kind, call.json(), {self.kind.id_name: key[1]})
        await self.foresee(call.projection, part, self._owner(call, call.projection))

        def decide(projection: Projection, _revision: int, _now_ms: int) -> Draft:
            return self._checked(projection, "create", key[1], part, self._owner(call, projection))

        return await answer(call, await write(call, decide, key), key)

    async def replace(self, call: Call) -> Answer:
        """PUT …/{parts}/{partId}."""
        key, given = (self.kind.name, call.params[self.kind.id_name]), call.json()
        ids = {self.kind.id_name: key[1]}
        present = shown(call, self._part(call, call.projection))
        foreseen = await asyncio.to_thread(replaced, self.kind, given, ids, present)
        await self.foresee(call.projection, foreseen, self._owner(call, call.projection))

        def decide(projection: Projection, _revision: int, _now_ms: int) -> Draft:
            was = matching(call, self._part(call, projection))
            part = replaced(self.kind, given, ids, show(was, projection, health(call)))
            return self._checked(projection, "update", key[1], part, self._owner(call, projection))

        return await answer(call, await write(call, decide, key), key)

    async def delete(self, call: Call) -> Answer:
        """DELETE …/{parts}/{partId}."""
        key = (self.kind.name, call.params[self.kind.id_name])

        def decide(projection: Projection, _revision: int, _now_ms: int) -> Draft:
            part = matching(call, self._part(call, projection))
            return draft("delete", Item(*key, part.client_id, part.parent), part.client_id)

        return await gone(call, await write(call, decide, key))

    def _owner(self, call: Call, projection: Projection) -> Resource:
        """What the path says the parts stand on. Raises NotFound."""
        kind = SINGULAR[call.route.path.split("/")[4]]
        return owned(call, projection, kind, call.params[kind.id_name])

    def _part(self, call: Call, projection: Projection) -> Resource:
        owner = self._owner(call, projection)
        part = projection.get(self.kind.name, call.params[self.kind.id_name])
        if part is None or part.parent != (owner.kind, owner.id):
            raise NotFound(f"There is no such {self.kind.name}")
        return part

    def _checked(
        self, projection: Projection, action: str, part_id: str, part: Value, owner: Resource
    ) -> Draft:
        errors = self.check(projection, part, owner)
        if errors:
            raise invalid(*errors)
        parent = (owner.kind, owner.id)
        item = Item(self.kind.name, part_id, owner.client_id, parent, after=body_of(self.kind, part))
        return draft(action, item, owner.client_id)
