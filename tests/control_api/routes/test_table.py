"""The table of routes, and that the running API keeps to it: every route, role and scope."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from typing import Any

from control_api.app import handler_of
from control_api.routes.table import OWNERS, READERS, ROUTES, SCOPES, TESTERS, WRITERS, Route
from tests.kit.api import REGIONS, Api


def test_every_row_has_its_handler_and_stands_once() -> None:
    """Method and path are unique, and the named function exists."""
    assert len({(route.method, route.path) for route in ROUTES}) == len(ROUTES)
    assert all(callable(handler_of(route)) for route in ROUTES)


def test_every_row_is_consistent() -> None:
    """Members' routes name roles and a client, writes need a writing scope, auditors only read."""
    for route in ROUTES:
        member = route.access == "member"
        assert bool(route.roles) == member == ("{clientId}" in route.path), route
        assert (route.scope is None) == (route.access in {"open", "region"}), route
        if route.scope is not None:
            assert (route.scope == "read") == (route.method == "GET"), route
        if "auditor" in route.roles:
            assert route.method == "GET", route
        assert route.status == {"POST": 201, "DELETE": 204}.get(route.method, 200) or route.method == "POST"
    assert OWNERS < WRITERS < TESTERS < READERS


@dataclass
class Person:
    """A kind of caller. roles: in the client of the paths; None for no member."""

    name: str
    role: str | None
    operator: bool
    tokens: dict[tuple[str, ...], str]


SCOPE_SETS = [combination for size in (1, 2, 3) for combination in itertools.combinations(SCOPES, size)]


async def people(core: Api) -> list[Person]:
    """One user per role, one of no role, and the operator, each with a token per set of scopes."""
    found = []
    for role in (*sorted(READERS), None):
        user, _ = await core.new_member(role) if role is not None else await core.new_user()
        found.append(
            Person(
                str(role),
                role,
                operator=False,
                tokens={s: await core.new_token(user, [*s]) for s in SCOPE_SETS},
            )
        )
    tokens = {scopes: await core.new_token(core.user, [*scopes]) for scopes in SCOPE_SETS}
    found.append(Person("operator", "owner", operator=True, tokens=tokens))
    return found


def expected(route: Route, person: Person, scopes: tuple[str, ...]) -> int | None:
    """The status that access alone decides; None when the caller gets through."""
    if route.scope not in scopes:
        return 403
    if route.access == "operator":
        return None if person.operator else 403
    if route.access == "holder":  # the path's user is a stranger
        if not person.operator:
            return 404
        return None if "operate" in scopes else 403
    if route.access == "member":
        if person.role is None:
            return 404
        return None if person.role in route.roles else 403
    return None


async def test_every_route_for_every_role_and_scope(core: Api) -> None:
    """403 or 404 exactly where the table says so, before anything else is looked at, and nothing is stored."""
    ids = await core.stack()
    rule = await core.make(f"{{c}}/targets/{ids['target']}/rules", {"effect": "deny"})
    one = await core.make(f"{{c}}/targets/{ids['target']}/filters", {"action": "destroy", "paths": ["$.a"]})
    stranger, _ = await core.new_user()
    everybody = await people(core)
    values = {
        "clientId": core.client,
        "userId": stranger,
        "revision": "1",
        "region": REGIONS[0],
        "tokenId": "tok_none",
    }
    values |= {
        "credentialId": "cred_none",
        "targetId": "tgt_none",
        "proxyId": "prx_none",
        "ruleId": rule["ruleId"],
        "filterId": one["filterId"],
        "requestId": "req_none",
    }
    head = core.head
    checked = 0
    for route in ROUTES:
        if route.access in {"open", "region"}:
            continue
        path = re.sub(r"\{(\w+)\}", lambda match: values[match[1]], route.path).removeprefix("/v1")
        # Not JSON: whoever gets through where a body is read is told so, and changes nothing.
        body: dict[str, Any] = {"content": b"{"} if route.takes is not None else {}
        if route.method == "DELETE" or route.name == "credentials.revoke":
            body["headers"] = {"if-match": "999999"}
        for person in everybody:
            for scopes, token in person.tokens.items():
                answer = await core.call(route.method, path, token=token, **body)
                wanted = expected(route, person, scopes)
                place = (route.method, route.path, person.name, scopes, answer.text)
                if wanted is not None:
                    assert answer.status_code == wanted, place
                else:
                    assert answer.status_code not in {401, 403, 500}, place
                checked += 1
    assert core.head == head
    assert checked == sum(route.access not in {"open", "region"} for route in ROUTES) * 6 * 7


async def test_every_route_without_a_token(core: Api) -> None:
    """401 on every listed route that needs one, 404 on every other path and method, whoever asks."""
    for index, route in enumerate(ROUTES):
        path = re.sub(r"\{(\w+)\}", "x", route.path).removeprefix("/v1")
        # An unknown token costs a look at the log, and so a tenth of a second.
        for token in ("", "Basic dXNlcjpwYXNz", *(["u-nobody-has-this-one"] if index % 10 == 4 else [])):
            answer = await core.call(route.method, path, token=token)
            assert answer.status_code == (200 if route.access == "open" else 401), (route, answer.text)
            if answer.status_code == 401:
                assert answer.headers["www-authenticate"].startswith("Bearer")
                assert answer.json()["code"] == "unauthenticated"
    for method, path in (
        ("GET", "/nowhere"),
        ("GET", "/clients/"),
        ("PATCH", "/users/me"),
        ("GET", "/users"),
        ("OPTIONS", "/clients"),
        ("POST", "/health"),
        ("GET", "/clients/x/meters"),
    ):
        for token in ("", core.token):
            answer = await core.call(method, path, token=token)
            assert (answer.status_code, answer.json()["detail"]) == (404, "There is no such route"), (
                method,
                path,
            )
