"""Who may do what: a route's row of the table, asked about one caller. Pure; nothing else decides on access.

Order matters: a token's scope first (403), then whether the caller may know of the client at all (404), then the
role (403). A user of another client never learns from an answer that something exists.
"""

from __future__ import annotations

from collections.abc import Mapping

from control_api.call import Caller
from control_api.ledger.projection import Projection, Resource
from control_api.routes.table import Route
from models.errors import Forbidden, NotFound, Unauthenticated


def authorise(route: Route, params: Mapping[str, str], caller: Caller, projection: Projection) -> None:
    """Returns when `caller` may use `route` with these path parameters. Raises Forbidden, NotFound, Unauthenticated."""
    user = projection.get("user", caller.user_id)
    if user is None or projection.get("token", caller.token_id) is None:
        raise Unauthenticated("The token is not valid")
    if route.scope is not None and route.scope not in caller.scopes:
        raise Forbidden(f"This needs a token with the scope {route.scope}")
    if route.access == "operator":
        if not is_operator(user):
            raise Forbidden("Only the platform's operator may do this")
    elif route.access == "holder":
        _check_holder(params["userId"], user, caller, projection)
    elif route.access == "member":
        _check_member(route, params["clientId"], user, projection)


def is_operator(user: Resource) -> bool:
    """Whether a user is the platform's operator."""
    return user.body.get("operator") is True


def roles_in(client: Resource, user_id: str) -> frozenset[str]:
    """All roles of a user in a client; none when he is no member."""
    return frozenset(
        role
        for member in client.body["clientMembers"]
        if member["userId"] == user_id
        for role in member["roles"]
    )


def _check_holder(user_id: str, user: Resource, caller: Caller, projection: Projection) -> None:
    if user_id == user.id:
        return
    if not is_operator(user):
        raise NotFound("There is no such user")
    if "operate" not in caller.scopes:
        raise Forbidden("Tokens of others need a token with the scope operate")
    if projection.get("user", user_id) is None:
        raise NotFound("There is no such user")


def _check_member(route: Route, client_id: str, user: Resource, projection: Projection) -> None:
    client = projection.get("client", client_id)
    roles = frozenset[str]() if client is None else roles_in(client, user.id)
    if not roles:
        raise NotFound("There is no such client")
    if not roles & route.roles:
        raise Forbidden(f"This needs one of the roles {', '.join(sorted(route.roles))} in the client")
