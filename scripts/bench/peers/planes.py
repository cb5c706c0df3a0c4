"""Exeat once more, fully governed, as one region of an installation: policy, credential and permits through the planes.

The same rules, limits and keys as the policy file's, made through the API; one worker. What differs from the row of
the policy file is where policy, lease and permits come from and where the records go.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from scripts.bench import governance, probes
from scripts.bench.errors import PeerError
from scripts.bench.governance import LOAD_PATH, Keys
from scripts.bench.installation import launch as starting
from scripts.bench.installation import owner_token, parts, until_in_force
from scripts.bench.machine import version_of
from scripts.bench.peers import Endpoint, Site, load_headers
from scripts.bench.processes import wait_until
from scripts.bench.upstream import answer_body
from scripts.up import state
from scripts.up.part import EDGE, exeat
from sdk import CallFailed, ExeatClient
from sdk.resources import Credentials, Proxies, Targets

REGION = "bench"
_PREFIX, _LIMITED = "/api/bench", "/api/bench-limited"
_START_SECONDS, _STOP_SECONDS = 90.0, 30.0


def launch(site: Site) -> Endpoint:
    """Start the installation, make what is needed, and wait until it forwards. Errors: PeerError."""
    root = site.work / "planes"
    how = starting(site.upstream_port, [REGION], start_seconds=f"{_START_SECONDS:g}")
    argv = exeat("up", "--home", str(root), "--workers", "1", *how.arguments)
    child = site.processes.start(
        "planes", argv, cores=site.cores, env=how.environment, patience=_STOP_SECONDS
    )
    wait_until(
        child, lambda: (found := state.read(root)) is not None and found.phase == "ready", _START_SECONDS
    )
    url, token, upstream = how.url, owner_token(root), f"http://127.0.0.1:{site.upstream_port}"
    try:
        client = asyncio.run(_ready(url, token, upstream, site.keys))
    except CallFailed as error:
        raise PeerError(f"failed: {error}") from error
    port, headers, path = how.base + 1, load_headers(site.keys), _PREFIX + LOAD_PATH
    wait_until(child, lambda: probes.answers(port, path, headers))

    def check() -> list[probes.Finding]:
        calls = [
            *probes.plain(path, headers, answer_body()),
            *probes.governed(site.keys, prefix=_PREFIX, limited=_LIMITED),
            probes.scrubbed(site.keys, prefix=_PREFIX),
        ]
        recorded = probes.eventually("calls are recorded", lambda: asyncio.run(_recorded(url, token, client)))
        return [*probes.run(port, calls), recorded]

    return Endpoint(
        title=f"Exeat {version_of('exeat')}, governed the same through its planes (registry, vault, limiter, recorder)",
        port=port,
        path=path,
        headers=headers,
        pid=_edge(root),
        check=check,
    )


def _edge(root: Path) -> int | None:
    """The first process of the region's edge: what it uses is the proxy's, as in the row of the policy file."""
    found = state.read(root)
    return None if found is None else next((part.pid for part in found.parts if part.part == EDGE), None)


async def _ready(url: str, token: str, upstream: str, keys: Keys) -> str:
    """Makes everything and waits until it is in force; the client's id. Errors: CallFailed, PeerError."""
    async with ExeatClient(url, token) as api:
        client_id, revision = await govern(api, REGION, upstream, keys)
        await until_in_force(api, revision)
        return client_id


async def govern(api: ExeatClient, region: str, upstream: str, keys: Keys) -> tuple[str, int]:
    """Makes everything of `scripts.bench.governance`; the client's id, and the revision of the last write.

    upstream: base URL. Errors: CallFailed.
    """
    found = await parts(api, region, upstream, keys, effect="deny")
    limits = {"bench": governance.PER_MINUTE, "bench-limited": 1}
    proxies = [
        await api.proxies.create(
            found.client_id,
            name=alias,
            alias=alias,
            default_rule_effect="deny",
            max_requests_per_minute=per_minute,
            max_requests_per_day=governance.PER_DAY,
            **found.joined,
        )
        for alias, per_minute in limits.items()
    ]
    client_id = found.client_id
    await _rules(api.credentials, client_id, found.caller_id, "proxyCredential")
    await _rules(api.credentials, client_id, found.sender_id, "targetCredential")
    last = await _rules(api.targets, client_id, found.target_id, "target")
    for proxy in proxies:
        last = await _rules(api.proxies, client_id, proxy.id, "proxy")
    return client_id, last


async def _rules(group: Credentials | Targets | Proxies, client_id: str, owner: str, scope: str) -> int:
    """Gives one resource the rules of its scope; the revision of the last."""
    last = 0
    for rule in governance.rules(scope):
        made = await group.rules.create(client_id, owner, effect=rule.effect, path={"pattern": rule.pattern})
        last = made.revision
    return last


async def _recorded(url: str, token: str, client_id: str) -> bool:
    """Whether the API knows a record of a call."""
    async with ExeatClient(url, token) as api:
        reply = await api.call("GET", f"/clients/{client_id}/requests", query={"limit": 1})
        return bool(reply.data and reply.data.get("requests"))
