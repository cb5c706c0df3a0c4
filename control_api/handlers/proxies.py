"""Proxies: what they join must be there, of the right side, of the same client and in the same region.

A new proxy takes its client's limits where it names none; later changes of those do not reach it.
"""

from __future__ import annotations

from control_api import answers
from control_api.call import Answer, Call
from control_api.handlers.clients import of
from control_api.kinds import PROXY
from control_api.ledger.change import Draft, Item
from control_api.ledger.projection import Projection
from control_api.presentation import show
from control_api.proposals import Body, altered, body_of, created, invalid, replaced
from control_api.references import check_proxy
from control_api.writing import answer, draft, gone, health, matching, owned, shown, write
from models.resources import Proxy

_INHERITED = {"requestsPerMinute": "proxyMaxRequestsPerMinute", "requestsPerDay": "proxyMaxRequestsPerDay"}
_SINGLE = "proxyProxyCredentialId"


async def list_all(call: Call) -> Answer:
    """GET …/proxies."""
    found = call.projection.list("proxy", client_id=call.params["clientId"])
    return answers.page(call, found, lambda one: (one.created, one.id), lambda one: shown(call, one))


async def read(call: Call) -> Answer:
    """GET …/proxies/{proxyId}."""
    return answers.one(call, shown(call, owned(call, call.projection, PROXY, call.params["proxyId"])))


async def create(call: Call) -> Answer:
    """POST …/proxies."""
    client_id, proxy_id = call.params["clientId"], call.services.new_id("proxy")
    key, ids = ("proxy", proxy_id), {"proxyId": proxy_id, "clientId": client_id}
    given = call.json()

    def decide(projection: Projection, _revision: int, _now_ms: int) -> Draft:
        limits = of(projection, call).body["clientConfiguration"]["limits"]
        inherited = {_INHERITED[name]: value for name, value in limits.items()}
        proxy = created(PROXY, {**inherited, **given}, ids)
        return _checked(projection, "create", proxy, given)

    return await answer(call, await write(call, decide, key), key)


async def replace(call: Call) -> Answer:
    """PUT …/proxies/{proxyId}."""
    return await _update(call, alter_only=False)


async def alter(call: Call) -> Answer:
    """PATCH …/proxies/{proxyId}."""
    return await _update(call, alter_only=True)


async def delete(call: Call) -> Answer:
    """DELETE …/proxies/{proxyId}."""
    key = ("proxy", call.params["proxyId"])

    def decide(projection: Projection, _revision: int, _now_ms: int) -> Draft:
        proxy = matching(call, owned(call, projection, PROXY, key[1]))
        return draft("delete", Item(*key, proxy.client_id), proxy.client_id)

    return await gone(call, await write(call, decide, key))


async def _update(call: Call, *, alter_only: bool) -> Answer:
    client_id, proxy_id = call.params["clientId"], call.params["proxyId"]
    key, ids = ("proxy", proxy_id), {"proxyId": proxy_id, "clientId": client_id}
    given = call.json()

    def decide(projection: Projection, _revision: int, _now_ms: int) -> Draft:
        was = matching(call, owned(call, projection, PROXY, proxy_id))
        change = altered if alter_only else replaced
        return _checked(
            projection, "update", change(PROXY, given, ids, show(was, projection, health(call))), given
        )

    return await answer(call, await write(call, decide, key), key)


def _checked(projection: Projection, action: str, value: object, given: Body) -> Draft:
    assert isinstance(value, Proxy)  # what its kind validates
    errors = check_proxy(projection, value, single=given.get(_SINGLE) is not None)
    if errors:
        raise invalid(*errors)
    item = Item("proxy", value.id, value.client_id, after=body_of(PROXY, value))
    return draft(action, item, value.client_id)
