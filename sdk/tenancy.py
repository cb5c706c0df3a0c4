"""Users with their tokens, and clients with their members, configuration and audit list.

Nothing is checked here that the API checks.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Unpack

import msgspec

from models import resources as models
from models.resources.member import Member as MemberModel
from models.resources.member import Role
from models.resources.token import Token as TokenModel
from models.resources.user import User as UserModel
from sdk.answers import AuditEntry, Client, Configuration, Limits, Member, Token, User, read
from sdk.errors import UnexpectedAnswer
from sdk.fields import ClientFields, MemberFields, TokenFields, UserFields, plain
from sdk.lists import Page
from sdk.resources import Body, Group, below
from sdk.wire import Change, Reply

Moment = datetime | str
"""Aware, or ISO 8601 with an offset."""


class Users(Group[User]):
    """Users of the platform."""

    kind, model, plural = User, UserModel, "users"

    async def me(self) -> User:
        """Whose token this is."""
        return await self._get("/users/me")

    async def create(
        self, body: Body | None = None, *, idempotency_key: str | None = None, **fields: Unpack[UserFields]
    ) -> User:
        """Makes a user; operators only."""
        return await self._write("POST", "/users", body, fields, idempotency_key=idempotency_key)


class Tokens(Group[Token]):
    """Tokens of a user."""

    kind, model, plural = Token, TokenModel, "tokens"

    async def page(self, user_id: str, *, limit: int | None = None, cursor: str | None = None) -> Page[Token]:
        """One page, oldest first."""
        return await self._page(below("users", user_id, "tokens"), limit, cursor)

    def each(self, user_id: str, *, page_size: int | None = None) -> AsyncIterator[Token]:
        """All of them."""
        return self._each(below("users", user_id, "tokens"), page_size)

    async def create(
        self,
        user_id: str,
        body: Body | None = None,
        *,
        idempotency_key: str | None = None,
        **fields: Unpack[TokenFields],
    ) -> Token:
        """Makes one; its `value` is in this answer only, and not in the one to a repeated call."""
        path = below("users", user_id, "tokens")
        return await self._write("POST", path, body, fields, idempotency_key=idempotency_key)

    async def delete(self, user_id: str, token_id: str, *, if_match: int | None = None) -> Change | None:
        """Revokes it at once."""
        return await self._delete(below("users", user_id, "tokens", token_id), if_match)


class Members(Group[Member]):
    """Members of a client and their roles."""

    kind, model, plural = Member, MemberModel, "members"

    async def page(
        self, client_id: str, *, limit: int | None = None, cursor: str | None = None
    ) -> Page[Member]:
        """One page, by user."""
        return await self._page(below("clients", client_id, "members"), limit, cursor)

    def each(self, client_id: str, *, page_size: int | None = None) -> AsyncIterator[Member]:
        """All of them."""
        return self._each(below("clients", client_id, "members"), page_size)

    async def create(
        self,
        client_id: str,
        body: Body | None = None,
        *,
        idempotency_key: str | None = None,
        **fields: Unpack[MemberFields],
    ) -> Member:
        """Adds one."""
        path = below("clients", client_id, "members")
        return await self._write("POST", path, body, fields, idempotency_key=idempotency_key)

    async def replace(
        self, client_id: str, user_id: str, *, roles: Sequence[Role], if_match: int | None = None
    ) -> Member:
        """Replaces a member's roles. if_match: the client's revision."""
        path = below("clients", client_id, "members", user_id)
        return await self._write("PUT", path, {"roles": roles}, {}, if_match=if_match)

    async def delete(self, client_id: str, user_id: str, *, if_match: int | None = None) -> Change | None:
        """Removes one; not the last owner."""
        return await self._delete(below("clients", client_id, "members", user_id), if_match)


class Audit(Group[AuditEntry]):
    """What was changed, newest first."""

    kind, plural = AuditEntry, "audit"

    async def page(
        self,
        client_id: str,
        *,
        resource_id: str | None = None,
        actor: str | None = None,
        after: Moment | None = None,
        before: Moment | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> Page[AuditEntry]:
        """One page. actor: a user's id."""
        query = _query(resource_id, actor, after, before)
        return await self._page(below("clients", client_id, "audit"), limit, cursor, query)

    def each(
        self,
        client_id: str,
        *,
        resource_id: str | None = None,
        actor: str | None = None,
        after: Moment | None = None,
        before: Moment | None = None,
        page_size: int | None = None,
    ) -> AsyncIterator[AuditEntry]:
        """All of them."""
        query = _query(resource_id, actor, after, before)
        return self._each(below("clients", client_id, "audit"), page_size, query)


class Clients(Group[Client]):
    """Clients: tenants that own everything else."""

    kind, model, plural = Client, models.Client, "clients"

    async def page(self, *, limit: int | None = None, cursor: str | None = None) -> Page[Client]:
        """One page of those that the user is a member of, oldest first."""
        return await self._page("/clients", limit, cursor)

    def each(self, *, page_size: int | None = None) -> AsyncIterator[Client]:
        """All of them."""
        return self._each("/clients", page_size)

    async def get(self, client_id: str) -> Client:
        """One of them."""
        return await self._get(below("clients", client_id))

    async def create(
        self, body: Body | None = None, *, idempotency_key: str | None = None, **fields: Unpack[ClientFields]
    ) -> Client:
        """Makes one, owned by whose token this is; operators only."""
        return await self._write("POST", "/clients", body, fields, idempotency_key=idempotency_key)

    async def replace(
        self,
        client_id: str,
        body: Body | None = None,
        *,
        if_match: int | None = None,
        **fields: Unpack[ClientFields],
    ) -> Client:
        """Replaces it whole."""
        return await self._write("PUT", below("clients", client_id), body, fields, if_match=if_match)

    async def patch(
        self,
        client_id: str,
        body: Body | None = None,
        *,
        if_match: int | None = None,
        **fields: Unpack[ClientFields],
    ) -> Client:
        """Changes the given fields (RFC 7396: None takes one away)."""
        return await self._write("PATCH", below("clients", client_id), body, fields, if_match=if_match)

    async def delete(self, client_id: str, *, if_match: int | None = None) -> Change | None:
        """Deletes one that owns nothing; 409 with `references` otherwise."""
        return await self._delete(below("clients", client_id), if_match)

    async def configuration(self, client_id: str) -> Configuration:
        """What new proxies inherit."""
        return _configuration(await self._wire.call("GET", below("clients", client_id, "configuration")))

    async def replace_configuration(
        self, client_id: str, limits: Limits, *, if_match: int | None = None
    ) -> Configuration:
        """Replaces what new proxies inherit."""
        body = {"configuration": {"limits": msgspec.to_builtins(limits)}}
        path = below("clients", client_id, "configuration")
        return _configuration(await self._wire.call("PUT", path, body, if_match=if_match))


def _configuration(reply: Reply) -> Configuration:
    found = (reply.data or {}).get("configuration")
    if not isinstance(found, dict):
        raise UnexpectedAnswer("the answer has no configuration")
    return read(Configuration, found, reply.change)


def _query(
    resource_id: str | None, actor: str | None, after: Moment | None, before: Moment | None
) -> Mapping[str, str | None]:
    return {"resourceId": resource_id, "actor": actor, "after": plain(after), "before": plain(before)}
