"""What `exeat demo` needs in an installation: a client, its credentials, a target and two proxies, made through the API.

What an earlier run made is found by its name and used again, so that a second run changes nothing. It must never
touch anything of another client, nor print or log a secret.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from typing import Any, Final, NamedTuple, TypeVar

from control_api import files
from models.errors import ConfigurationError
from models.home import Home
from models.secret import Secret
from sdk import ExeatClient
from sdk.answers import Client, Credential, Filter, Proxy, Rule, Target

CLIENT: Final = "Exeat demo"
DENIED: Final = {"pattern": "^/admin(/|$)"}
CUSTOMERS: Final = {"pattern": "^/customers/"}
ENTITIES: Final = ("PERSON", "EMAIL_ADDRESS", "PHONE_NUMBER", "CREDIT_CARD")
PER_MINUTE: Final = 5
IN_FORCE_SECONDS: Final = 30.0

_Named = TypeVar("_Named", Client, Credential, Target, Proxy)


class Scene(NamedTuple):
    """What there is. url, limited_url: of the two proxies at their edge. revision: of the newest of all these."""

    client_id: str
    url: str
    limited_url: str
    revision: int


class Keys(NamedTuple):
    """caller: what callers show. target: what the demo upstream takes for its own. new: the caller's was made now."""

    caller: Secret
    target: Secret
    new: bool


def keys(home: Home) -> Keys:
    """The demo's two secrets from their files; the caller's is made where there is none. Raises ConfigurationError."""
    new = files.write_new(home.demo_key, secrets.token_urlsafe(32).encode())
    caller, target = files.read_secret(home.demo_key), files.read_secret(home.demo_token)
    if caller is None or target is None:
        raise ConfigurationError("is gone; `exeat up` makes another", file=str(home.demo_token))
    return Keys(caller, target, new)


async def prepare(api: ExeatClient, region: str, upstream: str, told: Keys) -> Scene:
    """Everything that the demo calls, made or found. upstream: base URL. Raises CallFailed."""
    client = await _named(api.clients.each(), CLIENT) or await api.clients.create(name=CLIENT)
    caller = await _caller(api, client.id, region, told)
    sender = await _named(api.credentials.each(client.id), "Demo target token", region)
    if sender is None:
        sender = await api.credentials.create(
            client.id,
            name="Demo target token",
            type="target",
            auth_type="bearer",
            region=region,
            secret={"token": told.target},
        )
    target = await _target(api, client.id, region, upstream)
    joined: dict[str, Any] = {
        "region": region,
        "proxy_credential_ids": [caller.id],
        "target_id": target.id,
        "target_credential_id": sender.id,
    }
    first = await _proxy(api, client.id, name="Demo", alias="exeat-demo", **joined)
    second = await _proxy(
        api,
        client.id,
        name="Demo, limited",
        alias="exeat-demo-limited",
        max_requests_per_minute=PER_MINUTE,
        **joined,
    )
    rule, redaction = await _rule(api, client.id, first.id), await _filter(api, client.id, first.id)
    parts = (caller, sender, target, first, second, rule, redaction)
    return Scene(client.id, _url(first), _url(second), max(part.revision for part in parts))


async def in_force(api: ExeatClient, revision: int, *, seconds: float = IN_FORCE_SECONDS) -> bool:
    """Whether every edge that a change concerns has it, waiting for that at most so long. Raises CallFailed."""
    deadline = time.monotonic() + seconds
    while True:
        found = await api.revision(revision)
        if found.in_force() and all(region.edges for region in found.regions):
            return True
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.1)


async def _caller(api: ExeatClient, client_id: str, region: str, told: Keys) -> Credential:
    found = await _named(api.credentials.each(client_id), "Demo caller", region)
    secret = {"key": told.caller}
    if found is None:
        return await api.credentials.create(
            client_id, name="Demo caller", type="proxy", auth_type="apiKey", region=region, secret=secret
        )
    if told.new:  # the file of an earlier run is gone, and the API shows no secret
        return await api.credentials.patch(client_id, found.id, secret=secret)
    return found


async def _target(api: ExeatClient, client_id: str, region: str, upstream: str) -> Target:
    found = await _named(api.targets.each(client_id), "Demo upstream", region)
    if found is None:
        return await api.targets.create(client_id, name="Demo upstream", base_url=upstream, region=region)
    if found.base_url != upstream:  # the installation has other ports now
        return await api.targets.patch(client_id, found.id, base_url=upstream)
    return found


async def _proxy(api: ExeatClient, client_id: str, **fields: Any) -> Proxy:
    found = await _named(api.proxies.each(client_id), fields["name"], fields["region"])
    if found is None:
        return await api.proxies.create(client_id, **fields)
    wanted = {**fields, "active": True}
    different = {name: value for name, value in wanted.items() if getattr(found, name) != _plain(value)}
    return await api.proxies.patch(client_id, found.id, **different) if different else found


def _url(proxy: Proxy) -> str:
    """Where it is called by its alias."""
    return f"{proxy.base_url.rpartition('/')[0]}/{proxy.alias}"


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


async def _rule(api: ExeatClient, client_id: str, proxy_id: str) -> Rule:
    """The one that denies the administration interface."""
    async for rule in api.proxies.rules.each(client_id, proxy_id):
        if rule.effect == "deny" and rule.active and (rule.path or {}).get("pattern") == DENIED["pattern"]:
            return rule
    return await api.proxies.rules.create(client_id, proxy_id, effect="deny", path=DENIED)


async def _filter(api: ExeatClient, client_id: str, proxy_id: str) -> Filter:
    """The one that redacts what is known of customers."""
    async for one in api.proxies.filters.each(client_id, proxy_id):
        if one.action == "redact" and one.active:
            return one
    return await api.proxies.filters.create(
        client_id,
        proxy_id,
        action="redact",
        paths=["$.customer", "$.history"],
        path=CUSTOMERS,
        redact={"entities": list(ENTITIES)},
    )


async def _named(all_of_them: AsyncIterator[_Named], name: str, region: str = "") -> _Named | None:
    """The first of that name that is not revoked, and of that region unless it is empty."""
    async for one in all_of_them:
        fits = not region or getattr(one, "region", region) == region
        if one.name == name and fits and getattr(one, "status", "") != "revoked":
            return one
    return None
