"""The resources that a client owns: credentials, targets, proxies, their rules and filters, each with the same few methods.

Writes take plain fields by keyword, or a body in wire names, or both. Nothing is checked here that the API checks.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, Final, Generic, Unpack

from models import resources as models
from models.ids import RESOURCE_ID
from models.resources.base import Value
from sdk import fields as wire_fields
from sdk.answers import A, Credential, Filter, Proxy, Rule, Target, TargetTest, read
from sdk.fields import CredentialFields, FilterFields, ProxyFields, RuleFields, TargetFields
from sdk.lists import Page, each, elements, page, single
from sdk.wire import Change, Reply, Wire

Body = Mapping[str, Any]
"""In wire names; secrets as text or Secret, moments as text or datetime."""

_NONE: Final[Mapping[str, str | None]] = {}


def below(*parts: str) -> str:
    """A path of fixed segments and ids. Raises ValueError for an id that is none."""
    for part in parts:
        if not RESOURCE_ID.match(part):
            raise ValueError("an id has 1 to 128 URL-safe characters, the first a letter or digit")
    return "/" + "/".join(parts)


def done(reply: Reply) -> Change | None:
    """What a write without a body in its answer tells."""
    return reply.change


class Group(Generic[A]):
    """One sort of resource. kind: of its answers. model: whose wire names it has. plural: in paths and answers."""

    kind: type[A]
    model: type[Value]
    plural: str

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    async def _page(
        self, path: str, limit: int | None, cursor: str | None, query: Mapping[str, str | None] = _NONE
    ) -> Page[A]:
        asked = {**query, "limit": limit, "cursor": cursor}
        return await page(self._wire, self.kind, path, self.plural, asked)

    def _each(
        self, path: str, page_size: int | None, query: Mapping[str, str | None] = _NONE
    ) -> AsyncIterator[A]:
        return each(self._wire, self.kind, path, self.plural, {**query, "limit": page_size})

    async def _get(self, path: str) -> A:
        return single(self.kind, await self._wire.call("GET", path), self.plural)

    async def _write(
        self,
        method: str,
        path: str,
        given: Body | None,
        fields: Mapping[str, Any],
        *,
        if_match: int | None = None,
        idempotency_key: str | None = None,
    ) -> A:
        body = wire_fields.body(self.model, given, fields)
        reply = await self._wire.call(method, path, body, if_match=if_match, idempotency_key=idempotency_key)
        return single(self.kind, reply, self.plural)

    async def _delete(self, path: str, if_match: int | None) -> Change | None:
        return done(await self._wire.call("DELETE", path, if_match=if_match))


class Owned(Group[A]):
    """A sort of resource that a client owns. All methods raise ApiProblem, ApiUnreachable, UnexpectedAnswer."""

    def _path(self, client_id: str, *rest: str) -> str:
        return below("clients", client_id, self.plural, *rest)

    async def page(self, client_id: str, *, limit: int | None = None, cursor: str | None = None) -> Page[A]:
        """One page, oldest first. limit: 1 to 1,000."""
        return await self._page(self._path(client_id), limit, cursor)

    def each(self, client_id: str, *, page_size: int | None = None) -> AsyncIterator[A]:
        """All of them: `async for one in …`."""
        return self._each(self._path(client_id), page_size)

    async def get(self, client_id: str, resource_id: str) -> A:
        """One of them."""
        return await self._get(self._path(client_id, resource_id))

    async def delete(self, client_id: str, resource_id: str, *, if_match: int | None = None) -> Change | None:
        """Deletes it; 409 with `references` while something refers to it."""
        return await self._delete(self._path(client_id, resource_id), if_match)


class Parts(Group[A]):
    """Parts of one sort of owner, which have paths of their own below it."""

    def __init__(self, wire: Wire, owners: str) -> None:
        super().__init__(wire)
        self._owners: Final = owners

    def _path(self, client_id: str, owner_id: str, *rest: str) -> str:
        return below("clients", client_id, self._owners, owner_id, self.plural, *rest)

    async def page(
        self, client_id: str, owner_id: str, *, limit: int | None = None, cursor: str | None = None
    ) -> Page[A]:
        """One page, oldest first."""
        return await self._page(self._path(client_id, owner_id), limit, cursor)

    def each(self, client_id: str, owner_id: str, *, page_size: int | None = None) -> AsyncIterator[A]:
        """All of them."""
        return self._each(self._path(client_id, owner_id), page_size)

    async def get(self, client_id: str, owner_id: str, part_id: str) -> A:
        """One of them."""
        return await self._get(self._path(client_id, owner_id, part_id))

    async def delete(
        self, client_id: str, owner_id: str, part_id: str, *, if_match: int | None = None
    ) -> Change | None:
        """Deletes it."""
        return await self._delete(self._path(client_id, owner_id, part_id), if_match)


class Rules(Parts[Rule]):
    """Rules of one sort of owner."""

    kind, model, plural = Rule, models.Rule, "rules"

    async def create(
        self,
        client_id: str,
        owner_id: str,
        body: Body | None = None,
        *,
        idempotency_key: str | None = None,
        **fields: Unpack[RuleFields],
    ) -> Rule:
        """Adds a rule."""
        path = self._path(client_id, owner_id)
        return await self._write("POST", path, body, fields, idempotency_key=idempotency_key)

    async def replace(
        self,
        client_id: str,
        owner_id: str,
        rule_id: str,
        body: Body | None = None,
        *,
        if_match: int | None = None,
        **fields: Unpack[RuleFields],
    ) -> Rule:
        """Replaces a rule whole."""
        path = self._path(client_id, owner_id, rule_id)
        return await self._write("PUT", path, body, fields, if_match=if_match)


class Filters(Parts[Filter]):
    """Filters of one sort of owner."""

    kind, model, plural = Filter, models.Filter, "filters"

    async def create(
        self,
        client_id: str,
        owner_id: str,
        body: Body | None = None,
        *,
        idempotency_key: str | None = None,
        **fields: Unpack[FilterFields],
    ) -> Filter:
        """Adds a filter."""
        path = self._path(client_id, owner_id)
        return await self._write("POST", path, body, fields, idempotency_key=idempotency_key)

    async def replace(
        self,
        client_id: str,
        owner_id: str,
        filter_id: str,
        body: Body | None = None,
        *,
        if_match: int | None = None,
        **fields: Unpack[FilterFields],
    ) -> Filter:
        """Replaces a filter whole."""
        path = self._path(client_id, owner_id, filter_id)
        return await self._write("PUT", path, body, fields, if_match=if_match)


class Credentials(Owned[Credential]):
    """Credentials, of callers (`proxy`) and for targets (`target`)."""

    kind, model, plural = Credential, models.Credential, "credentials"

    def __init__(self, wire: Wire) -> None:
        super().__init__(wire)
        self.rules: Final = Rules(wire, self.plural)
        self.filters: Final = Filters(wire, self.plural)

    async def create(
        self,
        client_id: str,
        body: Body | None = None,
        *,
        idempotency_key: str | None = None,
        **fields: Unpack[CredentialFields],
    ) -> Credential:
        """Makes one. A generated secret is in this answer only, and not in the one to a repeated call."""
        return await self._write("POST", self._path(client_id), body, fields, idempotency_key=idempotency_key)

    async def replace(
        self,
        client_id: str,
        credential_id: str,
        body: Body | None = None,
        *,
        if_match: int | None = None,
        **fields: Unpack[CredentialFields],
    ) -> Credential:
        """Replaces it whole; a secret that is left out stays."""
        return await self._write("PUT", self._path(client_id, credential_id), body, fields, if_match=if_match)

    async def patch(
        self,
        client_id: str,
        credential_id: str,
        body: Body | None = None,
        *,
        if_match: int | None = None,
        **fields: Unpack[CredentialFields],
    ) -> Credential:
        """Changes the given fields (RFC 7396: None takes one away)."""
        return await self._write(
            "PATCH", self._path(client_id, credential_id), body, fields, if_match=if_match
        )

    async def revoke(
        self,
        client_id: str,
        credential_id: str,
        *,
        if_match: int | None = None,
        idempotency_key: str | None = None,
    ) -> Credential:
        """Ends it, at once and for ever, also while it is referenced."""
        path = self._path(client_id, credential_id, "revoke")
        return await self._write("POST", path, None, {}, if_match=if_match, idempotency_key=idempotency_key)


class Targets(Owned[Target]):
    """Targets: third-party APIs."""

    kind, model, plural = Target, models.Target, "targets"

    def __init__(self, wire: Wire) -> None:
        super().__init__(wire)
        self.rules: Final = Rules(wire, self.plural)
        self.filters: Final = Filters(wire, self.plural)

    async def create(
        self,
        client_id: str,
        body: Body | None = None,
        *,
        idempotency_key: str | None = None,
        **fields: Unpack[TargetFields],
    ) -> Target:
        """Makes one."""
        return await self._write("POST", self._path(client_id), body, fields, idempotency_key=idempotency_key)

    async def replace(
        self,
        client_id: str,
        target_id: str,
        body: Body | None = None,
        *,
        if_match: int | None = None,
        **fields: Unpack[TargetFields],
    ) -> Target:
        """Replaces it whole."""
        return await self._write("PUT", self._path(client_id, target_id), body, fields, if_match=if_match)

    async def patch(
        self,
        client_id: str,
        target_id: str,
        body: Body | None = None,
        *,
        if_match: int | None = None,
        **fields: Unpack[TargetFields],
    ) -> Target:
        """Changes the given fields (RFC 7396: None takes one away)."""
        return await self._write("PATCH", self._path(client_id, target_id), body, fields, if_match=if_match)

    async def test(self, client_id: str, target_id: str, *, credential_id: str | None = None) -> TargetTest:
        """Calls the test path from an edge; status and timing only."""
        body = {} if credential_id is None else {"credentialId": credential_id}
        reply = await self._wire.call("POST", self._path(client_id, target_id, "test"), body)
        found = elements(reply, self.plural)
        return read(TargetTest, found[0] if found else None, reply.change)


class Proxies(Owned[Proxy]):
    """Proxies: where callers send their requests."""

    kind, model, plural = Proxy, models.Proxy, "proxies"

    def __init__(self, wire: Wire) -> None:
        super().__init__(wire)
        self.rules: Final = Rules(wire, self.plural)
        self.filters: Final = Filters(wire, self.plural)

    async def create(
        self,
        client_id: str,
        body: Body | None = None,
        *,
        idempotency_key: str | None = None,
        **fields: Unpack[ProxyFields],
    ) -> Proxy:
        """Makes one."""
        return await self._write("POST", self._path(client_id), body, fields, idempotency_key=idempotency_key)

    async def replace(
        self,
        client_id: str,
        proxy_id: str,
        body: Body | None = None,
        *,
        if_match: int | None = None,
        **fields: Unpack[ProxyFields],
    ) -> Proxy:
        """Replaces it whole."""
        return await self._write("PUT", self._path(client_id, proxy_id), body, fields, if_match=if_match)

    async def patch(
        self,
        client_id: str,
        proxy_id: str,
        body: Body | None = None,
        *,
        if_match: int | None = None,
        **fields: Unpack[ProxyFields],
    ) -> Proxy:
        """Changes the given fields (RFC 7396: None takes one away)."""
        return await self._write("PATCH", self._path(client_id, proxy_id), body, fields, if_match=if_match)
