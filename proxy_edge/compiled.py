"""From what a worker knows of its region to what it enforces: policy, and what has to be leased for it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from models.custody.capability import Wanted
from models.planes.documents import PolicyCredential, Read, lease_needs, policy_sources
from models.planes.state import RegionState
from models.policy import CompiledPolicy, CompiledProxy, LeaseKey, compile_policy
from models.secret import Secret
from proxy_edge.known import Known, with_revocations


@dataclass(frozen=True, slots=True)
class LeaseTerms:
    """What the proxies of one policy may lease.

    wanted: what to ask for, by key. free: keys that need no lease. versions: of each target credential's secret.
    names: decoded query parameters by credential. revoked: credentials.
    """

    wanted: Mapping[LeaseKey, Wanted] = field(default_factory=dict)
    free: frozenset[LeaseKey] = frozenset()
    versions: Mapping[str, int] = field(default_factory=dict)
    names: Mapping[str, frozenset[bytes]] = field(default_factory=dict)
    revoked: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Compiled:
    """What one knowledge comes to. ends_ms: wall time at which it comes to something else; None for never."""

    known: Known
    policy: CompiledPolicy
    terms: LeaseTerms
    ends_ms: int | None

    def is_over(self, now_ms: int) -> bool:
        """Whether some credential has expired since."""
        return self.ends_ms is not None and now_ms >= self.ends_ms


def compile_known(known: Known, pepper: Secret, now_ms: int, read: Read) -> Compiled:
    """Compiles everything. known: with a sheet whose digests are under `pepper`. read: kept between calls."""
    assert known.sheet is not None
    state, sheet = known.state, with_revocations(known.sheet, known.revoked)
    sources, ends_ms = policy_sources(state, sheet, pepper, now_ms, read)
    policy = compile_policy(sources)
    needs = lease_needs(state, sheet, now_ms, read)
    compiled = [one for one in policy.proxies.values() if isinstance(one, CompiledProxy)]
    terms = LeaseTerms(
        wanted={(one.credential_id, one.scheme, one.host, one.port): one for one in needs.wanted.values()},
        free=frozenset(one.lease_key for one in compiled if one.target_credential_id in needs.free),
        versions=needs.versions,
        names=_query_names(state, read),
        revoked=known.revoked,
    )
    return Compiled(known, policy, terms, ends_ms)


def _query_names(state: RegionState, read: Read) -> dict[str, frozenset[bytes]]:
    return {
        one.id: frozenset({one.placement.name.encode()})
        for one in read(state).values()
        if isinstance(one, PolicyCredential)
        and one.type == "target"
        and one.placement is not None
        and one.placement.location == "query"
    }
