"""The compiled policy: everything the edge must know to judge a request, made when a policy arrives.

It holds digests and rules but no secret: target secrets come to the edge as leases. A proxy that cannot be
compiled becomes a `BrokenProxy`, refused with 503, and never takes the others down with it (invariant 7).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from models.decision import Effect
from models.errors import ConfigurationError
from models.fields import RANGE_AND_CODING, REQUEST_DROPPED
from models.filters.compiled import CompiledFilter, CompiledFilters, compile_filters
from models.limits import Limit, request_limits
from models.ratelimit_fields import policy_field, status_template
from models.resources import Filter, Proxy, Rule, Target
from models.rules import FourScopes, Scope, compile_scope
from models.secret import Secret
from models.verifiers import Accepted, CallerVerifier

LeaseKey = tuple[str, str, str, int]
"""(target credential, scheme, host, port): a lease serves one credential at one destination."""


@dataclass(frozen=True, slots=True)
class CompiledTarget:
    """Where a proxy sends to. authority: as it goes in `Host`; base_path: without a trailing slash."""

    id: str
    scheme: str
    host: str
    port: int
    authority: bytes
    base_path: bytes
    strict_path: bool
    cookies: bool
    timeout: float
    connections: int
    ca: str | None


@dataclass(frozen=True, slots=True)
class CompiledProxy:
    """One proxy, ready to judge.

    scopes: by the id of the caller's credential. request_dropped: names of request fields that never reach the target. lane: the key of its connections
    (client, target, scheme, host, port, CA). lease_key: of the lease it sends with. scrub: full, headers or off. limit_policy, limit_status: its RateLimit fields, as templates; limit_labels: (meter, window) of each limit. filters: by the id of the caller's credential; None where no answer is ever filtered. Then its
    requests may ask for ranges and codings; else none of them does, since whether a filter applies depends on the answer's status.
    max_body_bytes, max_response_bytes: of a body that a stage reads whole, and of an answer.
    """

    id: str
    client_id: str
    region: str
    active: bool
    callers: CallerVerifier
    scopes: Mapping[str, FourScopes]
    target: CompiledTarget
    target_credential_id: str
    lease_key: LeaseKey
    limits: tuple[Limit, ...]
    limit_policy: bytes
    limit_status: bytes
    limit_labels: tuple[tuple[str, str], ...]
    lane: tuple[str, str, str, str, int, str | None]
    record_drops: bool
    request_dropped: frozenset[bytes]
    scrub: str
    filters: Mapping[str, CompiledFilters] | None = None
    max_body_bytes: int = 10_485_760
    max_response_bytes: int = 52_428_800


@dataclass(frozen=True, slots=True)
class BrokenProxy:
    """A proxy that could not be compiled. reason: for the operator's log only."""

    id: str
    reason: str
    alias: str | None = None


@dataclass(frozen=True, slots=True)
class CompiledPolicy:
    """All proxies of one region at one revision, found by id or alias."""

    revision: int
    region: str
    proxies: Mapping[bytes, CompiledProxy | BrokenProxy]
    broken: tuple[BrokenProxy, ...] = field(default=())

    @classmethod
    def empty(cls, region: str) -> CompiledPolicy:
        """A policy without any proxy."""
        return cls(0, region, {})


class ScopedCredential(Protocol):
    """What compiling needs of a credential: its rules and filters, never its secret."""

    @property
    def id(self) -> str:
        """The credential's id."""
        ...

    @property
    def auth_type(self) -> str:
        """`apiKey`, `bearer` or `none`."""
        ...

    @property
    def default_rule_effect(self) -> Effect:
        """What its scope decides where no rule matches."""
        ...

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The rules of its scope."""
        ...

    @property
    def filters(self) -> tuple[Filter, ...]:
        """The filters of its stage."""
        ...


@dataclass(frozen=True, slots=True)
class PolicySources:
    """What a policy is compiled from. accepted: how each proxy credential is verified, by credential id.

    broken: proxies of which not even the resource could be read.
    """

    revision: int
    region: str
    credentials: Iterable[ScopedCredential]
    targets: Iterable[Target]
    proxies: Iterable[Proxy]
    accepted: Mapping[str, Accepted]
    pepper: Secret
    broken: tuple[BrokenProxy, ...] = ()


_METERS = {"minute": "proxyMaxRequestsPerMinute", "day": "proxyMaxRequestsPerDay"}
"""What a record calls a proxy's own limits, which are no meters with ids."""


def compile_policy(sources: PolicySources) -> CompiledPolicy:
    """Compiles every proxy of a region; one that fails is kept as BrokenProxy under its id and alias."""
    credentials = {one.id: one for one in sources.credentials}
    targets = {one.id: one for one in sources.targets}
    scopes = _ScopeCache()
    proxies: dict[bytes, CompiledProxy | BrokenProxy] = {}
    broken = [*sources.broken]
    for proxy in sources.proxies:
        compiled: CompiledProxy | BrokenProxy
        try:
            compiled = _compile_proxy(proxy, credentials, targets, sources, scopes)
        except (ConfigurationError, KeyError) as error:
            compiled = BrokenProxy(proxy.id, str(error), proxy.alias)
            broken.append(compiled)
        proxies[proxy.id.encode()] = compiled
        if proxy.alias is not None:
            proxies[proxy.alias.encode()] = compiled
    for one in sources.broken:
        for name in (one.id, one.alias):
            if name is not None:
                proxies.setdefault(name.encode(), one)  # what cannot be read takes no name from what can
    return CompiledPolicy(sources.revision, sources.region, proxies, tuple(broken))


class _Filtering(Protocol):
    """Whatever has filters."""

    @property
    def id(self) -> str: ...

    @property
    def filters(self) -> tuple[Filter, ...]: ...


class _ScopeCache:
    """Scopes are shared: a target's rules and filters are compiled once for all its proxies."""

    def __init__(self) -> None:
        self._made: dict[tuple[str, str], Scope] = {}
        self._filters: dict[tuple[str, str], tuple[CompiledFilter, ...]] = {}

    def get(self, name: str, owner: str, make: Callable[[], Scope]) -> Scope:
        scope = self._made.get((name, owner))
        if scope is None:
            scope = self._made[name, owner] = make()
        return scope

    def filters(self, name: str, owner: _Filtering) -> tuple[CompiledFilter, ...]:
        """The filters of a scope, compiled."""
        found = self._filters.get((name, owner.id))
        if found is None:
            found = self._filters[name, owner.id] = compile_filters(name, owner.filters)
        return found


def _compile_proxy(
    proxy: Proxy,
    credentials: Mapping[str, ScopedCredential],
    targets: Mapping[str, Target],
    sources: PolicySources,
    cache: _ScopeCache,
) -> CompiledProxy:
    target = targets[proxy.target_id]
    sender = credentials[proxy.target_credential_id]
    callers = CallerVerifier((sources.accepted[one] for one in proxy.proxy_credential_ids), sources.pepper)
    sender_scope = cache.get(
        "targetCredential",
        sender.id,
        lambda: compile_scope("targetCredential", sender.rules, sender.default_rule_effect),
    )
    proxy_scope = compile_scope("proxy", proxy.rules, proxy.default_rule_effect)
    target_scope = cache.get(
        "target", target.id, lambda: compile_scope("target", target.rules, target.default_rule_effect)
    )
    scopes: dict[str, FourScopes] = {}
    for credential_id in proxy.proxy_credential_ids:
        caller = credentials[credential_id]
        caller_scope = cache.get(
            "proxyCredential",
            caller.id,
            lambda caller=caller: compile_scope(  # type: ignore[misc]  # mypy cannot type a default-bound lambda
                "proxyCredential", caller.rules, caller.default_rule_effect
            ),
        )
        scopes[credential_id] = FourScopes((caller_scope, sender_scope, proxy_scope, target_scope))
    filters = _compile_filters(proxy, target, sender, credentials, cache)
    limits = request_limits(proxy.id, proxy.max_requests_per_minute, proxy.max_requests_per_day)
    compiled_target = compile_target(target)
    dropped = REQUEST_DROPPED | callers.strip_headers
    # Without a secret there is nothing to look for, and ranges and compression stay possible.
    scrub = "off" if sender.auth_type == "none" else target.scrub
    if scrub == "full" or filters is not None:
        dropped |= RANGE_AND_CODING
    if not compiled_target.cookies:
        dropped |= {b"cookie"}
    return CompiledProxy(
        id=proxy.id,
        client_id=proxy.client_id,
        region=sources.region,
        active=proxy.active,
        callers=callers,
        scopes=scopes,
        target=compiled_target,
        target_credential_id=sender.id,
        lease_key=(sender.id, compiled_target.scheme, compiled_target.host, compiled_target.port),
        limits=limits,
        limit_policy=policy_field(limits),
        limit_status=status_template(limits),
        limit_labels=tuple((_METERS[limit.name], limit.name) for limit in limits),
        lane=(
            proxy.client_id,
            target.id,
            compiled_target.scheme,
            compiled_target.host,
            compiled_target.port,
            compiled_target.ca,
        ),
        record_drops=proxy.record_policy == "drop",
        request_dropped=dropped,
        scrub=scrub,
        filters=filters,
        max_body_bytes=proxy.max_body_bytes,
        max_response_bytes=proxy.max_response_bytes,
    )


def _compile_filters(
    proxy: Proxy,
    target: Target,
    sender: ScopedCredential,
    credentials: Mapping[str, ScopedCredential],
    cache: _ScopeCache,
) -> Mapping[str, CompiledFilters] | None:
    """By the caller's credential, its four stages in their order; None when there is no active filter at all."""
    first = (cache.filters("targetCredential", sender), cache.filters("target", target))
    last = compile_filters("proxy", proxy.filters)
    callers = {one: cache.filters("proxyCredential", credentials[one]) for one in proxy.proxy_credential_ids}
    if not any((*first, *callers.values(), last)):
        return None
    return {one: CompiledFilters((*first, stage, last)) for one, stage in callers.items()}


def compile_target(target: Target) -> CompiledTarget:
    """The parts of a target that the hot path needs, as bytes and plain numbers."""
    base = target.base_url
    return CompiledTarget(
        id=target.id,
        scheme=base.scheme,
        host=base.host,
        port=base.port,
        authority=base.authority.encode(),
        base_path=base.path.rstrip("/").encode(),
        strict_path=target.path_strict,
        cookies=target.cookies,
        timeout=target.timeout_ms / 1000,
        connections=target.connections,
        ca=target.ca,
    )
