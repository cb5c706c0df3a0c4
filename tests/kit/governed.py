"""A governed call from end to end: what must be made through the API for one, and what each worker makes of it.

`govern` makes a tenant with one proxy; `Workers` has a connection to every worker of an edge and says when all of
them enforce a change, measured from the moment that the API answered.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Self

from models.secret import Secret
from sdk import Change, ExeatClient, Filter, Proxy, Rule
from tests.kit.raw import RawAnswer, RawClient, get


class Governed(NamedTuple):
    """A proxy with all it needs, made through the API. key: what a caller shows; secret: what the target gets.

    url: of the proxy at its edge; path: of the proxy there, for requests by hand. rules, filters: those of the proxy.
    """

    client_id: str
    caller_id: str
    key: str
    sender_id: str
    secret: str
    target_id: str
    proxy_id: str
    region: str
    url: str
    port: int
    path: str
    rules: tuple[Rule, ...]
    filters: tuple[Filter, ...]
    change: Change
    """Of the last of these writes."""

    @property
    def edge_url(self) -> str:
        """The edge's base URL."""
        return self.url.removesuffix(self.path)


class Workers:
    """One connection to each of the `count` workers of the edge on `port`; use as a context manager."""

    def __init__(self, port: int, count: int) -> None:
        self.port, self.count = port, count
        self._clients: dict[str, RawClient] = {}

    def __enter__(self) -> Self:
        spare = contextlib.ExitStack()
        deadline = time.monotonic() + 30
        with spare:
            while len(self._clients) < self.count:
                assert time.monotonic() < deadline, f"{len(self._clients)} of {self.count} workers answer"
                client = RawClient(self.port)
                client.send(get("/api/nobody", key=None))
                worker = (client.answer().get("exeat-request-id") or "")[:-8]
                if worker in self._clients:
                    spare.callback(client.socket.close)  # kept open meanwhile: the next one goes elsewhere
                else:
                    self._clients[worker] = client
        return self

    def __exit__(self, *exc: object) -> None:
        for client in self._clients.values():
            client.socket.close()

    def ask(self, request: bytes) -> list[RawAnswer]:
        """The answer of every worker."""
        return [self._ask(client, request) for client in self._clients.values()]

    def since(
        self, moment: float, request: bytes, shows: Callable[[RawAnswer], object], *, seconds: float = 20.0
    ) -> float:
        """Seconds from `moment` (monotonic) until every worker has given an answer that `shows` it.

        Every answer counts as of the moment it was complete. Fails after `seconds`.
        """
        left, last = list(self._clients.values()), None
        while left:
            now = time.monotonic()
            assert now - moment < seconds, f"not in force after {seconds} s; the last answer: {last}"
            for client in list(left):
                last = self._ask(client, request)
                if shows(last):
                    left.remove(client)
        return time.monotonic() - moment

    @staticmethod
    def _ask(client: RawClient, request: bytes) -> RawAnswer:
        client.send(request)
        return client.answer()


async def govern(
    api: ExeatClient,
    upstream_url: str,
    *,
    region: str,
    name: str = "acme",
    client_id: str | None = None,
    caller: Mapping[str, Any] | None = None,
    sender: Mapping[str, Any] | None = None,
    target: Mapping[str, Any] | None = None,
    proxy: Mapping[str, Any] | None = None,
    rules: Sequence[Mapping[str, Any]] = (),
    filters: Sequence[Mapping[str, Any]] = (),
) -> Governed:
    """Makes a client, a caller's apiKey, a bearer for the target, the target, a proxy, its rules and its filters.

    caller, sender, target, proxy: further fields, in the SDK's names. rules, filters: bodies in wire names.
    """
    if client_id is None:
        client_id = (await api.clients.create(name=name)).id
    secret = f"target-token-{os.urandom(12).hex()}"
    where = {"region": region}
    shows = await api.credentials.create(
        client_id,
        **{"name": f"{name} caller", "type": "proxy", "auth_type": "apiKey", **where, **(caller or {})},
    )
    told: dict[str, Any] = {"secret": {"token": secret}, **(sender or {})}
    sends = await api.credentials.create(
        client_id, **{"name": f"{name} sender", "type": "target", "auth_type": "bearer", **where, **told}
    )
    aim = await api.targets.create(
        client_id, **{"name": f"{name} target", "base_url": upstream_url, **where, **(target or {})}
    )
    joined: Proxy = await api.proxies.create(
        client_id,
        **{
            "name": f"{name} proxy",
            **where,
            "proxy_credential_ids": [shows.id],
            "target_id": aim.id,
            "target_credential_id": sends.id,
            **(proxy or {}),
        },
    )
    made = tuple([await api.proxies.rules.create(client_id, joined.id, dict(rule)) for rule in rules])
    filtered = tuple([await api.proxies.filters.create(client_id, joined.id, dict(one)) for one in filters])
    key = (caller or {}).get("secret", {}).get("key") if shows.secret is None else shows.secret
    change = (joined, *made, *filtered)[-1].change
    assert change is not None
    edge, _, path = joined.base_url.partition("/api/")
    return Governed(
        client_id=client_id,
        caller_id=shows.id,
        key=key.reveal().decode() if isinstance(key, Secret) else str(key),
        sender_id=sends.id,
        secret=_text(told["secret"]),
        target_id=aim.id,
        proxy_id=joined.id,
        region=region,
        url=joined.base_url,
        port=int(edge.rpartition(":")[2]),
        path=f"/api/{path}",
        rules=made,
        filters=filtered,
        change=change,
    )


def _text(secret: Mapping[str, Any] | None) -> str:
    found = next((value for name, value in (secret or {}).items() if name in {"token", "key"}), "")
    return found.reveal().decode() if isinstance(found, Secret) else str(found)
