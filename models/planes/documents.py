"""Resources as signed documents: how the control plane writes them, and how an edge makes a policy of them.

A document that cannot be read breaks the proxies that need it and nothing else (invariant 7); it is never read
halfway. No secret is in any document: what a caller presents is verified by the vault's sheet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

import orjson
from pydantic import AwareDatetime, ConfigDict, ValidationError

from models.custody.capability import Wanted
from models.custody.sheet import Entry, Sheet
from models.ids import RESOURCE_ID
from models.planes.state import Document, RegionState
from models.policy import BrokenProxy, PolicySources
from models.resources import Placement, Proxy, Target, dotted, problems
from models.resources.base import Effect, Flag, Name, Region, ResourceId, Value, whole, wire_names
from models.resources.filter import Filters
from models.resources.problems import GUARDED
from models.resources.rule import Rules
from models.secret import Secret
from models.verifiers import Accepted

CREDENTIAL: Final = "credential"
TARGET: Final = "target"
PROXY: Final = "proxy"

_ONE_CALLER, _CALLERS = "proxyProxyCredentialId", "proxyProxyCredentialIds"


class PolicyCredential(Value):
    """A credential as an edge knows it: everything but the secret.

    placement: where it stands in a request; None for `none` only. version: of its secret. status: `revoked`
    is terminal.
    """

    model_config = ConfigDict(
        alias_generator=wire_names(
            "credential", {"client_id": "clientId", "rules": "rules", "filters": "filters"}
        )
    )

    id: ResourceId
    client_id: ResourceId
    name: Name
    type: Literal["proxy", "target"]
    auth_type: Literal["apiKey", "bearer", "none"]
    region: Region
    placement: Placement | None = None
    version: Annotated[int, whole(0, 2**53)] = 0
    status: Literal["active", "revoked"] = "active"
    default_rule_effect: Effect = "allow"
    expires_at: AwareDatetime | None = None
    offline: Flag = True
    overlap_seconds: Annotated[int, whole(0, 31_536_000)] = 0
    rules: Rules = ()
    filters: Filters = ()

    @property
    def expires_ms(self) -> int | None:
        """Wall milliseconds from which on it opens nothing; None for never."""
        return None if self.expires_at is None else round(self.expires_at.timestamp() * 1000)

    def live(self, now_ms: int) -> bool:
        """Neither revoked nor expired."""
        return self.status == "active" and (self.expires_ms is None or self.expires_ms > now_ms)


Resource = PolicyCredential | Target | Proxy
_KINDS: Final[dict[str, type[PolicyCredential | Target | Proxy]]] = {
    CREDENTIAL: PolicyCredential,
    TARGET: Target,
    PROXY: Proxy,
}


def credential_document(
    credential_id: str,
    client_id: str,
    revision: int,
    body: Mapping[str, Any],
    rules: Iterable[Mapping[str, Any]],
    *,
    filters: Iterable[Mapping[str, Any]] = (),
) -> Document:
    """A credential's document. body: wire form without secret, with `credentialPlacement` and the like; rules: in the order
    in which they are reported, each with its `ruleId`; filters: each with its `filterId`. Raises ValueError for a body
    with a secret.
    """
    if body.get(GUARDED) is not None:
        raise ValueError("a document holds no secret")
    rest = {name: value for name, value in body.items() if name != GUARDED}
    return _document((CREDENTIAL, credential_id), client_id, revision, rest, rules, filters=filters)


def target_document(
    target_id: str,
    client_id: str,
    revision: int,
    body: Mapping[str, Any],
    rules: Iterable[Mapping[str, Any]],
    *,
    filters: Iterable[Mapping[str, Any]] = (),
) -> Document:
    """A target's document; arguments as for `credential_document`."""
    return _document((TARGET, target_id), client_id, revision, body, rules, filters=filters)


def proxy_document(
    proxy_id: str,
    client_id: str,
    revision: int,
    body: Mapping[str, Any],
    rules: Iterable[Mapping[str, Any]],
    *,
    filters: Iterable[Mapping[str, Any]] = (),
) -> Document:
    """A proxy's document; arguments as for `credential_document`. The list of callers wins over the single id."""
    other = _ONE_CALLER if body.get(_CALLERS) else _CALLERS
    rest = {name: value for name, value in body.items() if name != other}
    return _document((PROXY, proxy_id), client_id, revision, rest, rules, filters=filters)


def _document(
    key: tuple[str, str],
    client_id: str,
    revision: int,
    body: Mapping[str, Any],
    rules: Iterable[Mapping[str, Any]],
    *,
    filters: Iterable[Mapping[str, Any]],
) -> Document:
    kind, identity = key
    whole_body = {
        **body,
        f"{kind}Id": identity,
        "clientId": client_id,
        "rules": [dict(rule) for rule in rules],
    }
    parts = [dict(one) for one in filters]
    if parts:
        whole_body["filters"] = parts
    return Document(kind, identity, revision, orjson.dumps(whole_body, option=orjson.OPT_SORT_KEYS))


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A document that cannot be used. reason: for the operator, without its text. alias: of a proxy, if it has one."""

    id: str
    reason: str
    alias: str | None = None


def read_document(document: Document, region: str) -> Resource | Unreadable:
    """The resource that a document holds, if all of it is understood and it is what it is filed as."""
    kind = _KINDS.get(document.kind)
    if kind is None:
        return Unreadable(document.id, "is of an unknown kind")
    value: object = None
    try:
        value = orjson.loads(document.text)
        found: Resource = kind.model_validate(value, by_alias=True, by_name=False)
        reason = _misfiled(found, document, region)
    except ValidationError as error:
        reason = "; ".join(f"{dotted(place)}: {message}" for place, message in problems(kind, error))
    except Exception as error:  # noqa: BLE001 - whatever ails one document, the others stay in force
        reason = f"cannot be read ({type(error).__name__})"
    if not reason:
        return found
    alias = value.get("proxyAlias") if document.kind == PROXY and isinstance(value, dict) else None
    known = isinstance(alias, str) and RESOURCE_ID.match(alias)
    return Unreadable(document.id, reason, alias if known else None)


def _misfiled(found: Resource, document: Document, region: str) -> str:
    if found.id != document.id:
        return "is filed under another id"
    if found.region != region:
        return "is of another region"
    if isinstance(found, PolicyCredential) and found.auth_type != "none" and found.placement is None:
        return "does not say where the credential stands"
    return ""


class DocumentReader:
    """Reads documents, each once while it stays as it is: a change costs what it touches."""

    def __init__(self) -> None:
        self._region = ""
        self._known: dict[tuple[str, str], tuple[Document, Resource | Unreadable]] = {}

    def __call__(self, state: RegionState) -> Mapping[tuple[str, str], Resource | Unreadable]:
        """Every document of `state` by (kind, id), read. What is no longer there is forgotten."""
        known = self._known if self._region == state.region else {}
        now: dict[tuple[str, str], tuple[Document, Resource | Unreadable]] = {}
        for key, document in state.documents.items():
            before = known.get(key)
            now[key] = (
                before
                if before is not None and (before[0] is document or before[0] == document)
                else (document, read_document(document, state.region))
            )
        self._region, self._known = state.region, now
        return {key: found for key, (_, found) in now.items()}


Read = Callable[[RegionState], Mapping[tuple[str, str], Resource | Unreadable]]


def policy_sources(
    state: RegionState, sheet: Sheet | None, pepper: Secret, now_ms: int, read: Read | None = None
) -> tuple[PolicySources, int | None]:
    """What to compile, and when to do so again: wall milliseconds of the next expiry, None when nothing ends.

    sheet: the newest, None before the first (then no caller is accepted). read: a `DocumentReader` that is kept
    between calls. What a revoked or expired credential accepts is empty, but its place in a request stays
    known, so that the value presented there is never forwarded.
    """
    shelves = _Shelves(state, sheet, read)
    entries = {} if sheet is None else {one.credential_id: one for one in sheet.entries}
    accepted: dict[str, Accepted] = {}
    ends: list[int] = []
    for credential in shelves.credentials.values():
        if credential.expires_ms is not None:
            ends.append(credential.expires_ms)
        if credential.type == "proxy" and credential.placement is not None:
            entry = entries.get(credential.id) if credential.live(now_ms) else None
            accepted[credential.id] = _accepted(credential, credential.placement, entry, now_ms)
            ends += [one.until_ms for one in (entry.digests if entry else ()) if one.until_ms is not None]
    sources = PolicySources(
        revision=max(state.revision, 0),
        region=state.region,
        credentials=tuple(shelves.credentials.values()),
        targets=tuple(shelves.targets.values()),
        proxies=tuple(shelves.proxies.values()),
        accepted=accepted,
        pepper=pepper,
        broken=tuple(shelves.broken),
    )
    return sources, min((end for end in ends if end > now_ms), default=None)


def _accepted(
    credential: PolicyCredential, placement: Placement, entry: Entry | None, now_ms: int
) -> Accepted:
    digests = () if entry is None else entry.digests
    return Accepted(
        credential.id,
        credential.auth_type,
        tuple(one.digest for one in digests if one.until_ms is None or one.until_ms > now_ms),
        placement.location,
        placement.name,
        placement.prefix,
    )


@dataclass(frozen=True, slots=True)
class LeaseNeeds:
    """What an edge must lease to serve its proxies.

    wanted: by proxy id, what to ask the vault for; a proxy that is not in it needs no lease or may not have one.
    free: target credentials of type `none`, which put nothing on a request. refused: target credentials that
    are revoked or expired: their leases are dropped at once and no new one is asked for. versions: of every
    target credential; a lease of an older version is renewed without waiting for its half-life.
    """

    wanted: Mapping[str, Wanted]
    free: frozenset[str]
    refused: frozenset[str]
    versions: Mapping[str, int]


def lease_needs(state: RegionState, sheet: Sheet | None, now_ms: int, read: Read | None = None) -> LeaseNeeds:
    """What the proxies of `state` need at `now_ms`; it changes with the state, the sheet and every expiry."""
    shelves = _Shelves(state, sheet, read)
    senders = {one.id: one for one in shelves.credentials.values() if one.type == "target"}
    wanted: dict[str, Wanted] = {}
    for proxy in shelves.proxies.values():
        sender, target = senders.get(proxy.target_credential_id), shelves.targets.get(proxy.target_id)
        if sender is None or target is None or sender.auth_type == "none" or not sender.live(now_ms):
            continue
        base = target.base_url
        wanted[proxy.id] = Wanted(proxy.client_id, sender.id, base.scheme, base.host, base.port)
    dead = {one.id for one in senders.values() if not one.live(now_ms)}
    return LeaseNeeds(
        wanted=wanted,
        free=frozenset(one.id for one in senders.values() if one.auth_type == "none") - dead,
        refused=frozenset(dead | set(() if sheet is None else sheet.revoked)),
        versions={one.id: one.version for one in senders.values()},
    )


class _Shelves:
    """The readable resources of a state by id; proxies that need an unreadable one are in `broken` instead."""

    def __init__(self, state: RegionState, sheet: Sheet | None, read: Read | None) -> None:
        self.credentials: dict[str, PolicyCredential] = {}
        self.targets: dict[str, Target] = {}
        self.proxies: dict[str, Proxy] = {}
        self.broken: list[BrokenProxy] = []
        faults: dict[tuple[str, str], str] = {}
        revoked = frozenset(() if sheet is None else sheet.revoked)
        proxies = []
        for (kind, identity), found in (read or DocumentReader())(state).items():
            if isinstance(found, PolicyCredential):
                # The sheet may know of a revocation before the documents do.
                dead = found.id in revoked and found.status != "revoked"
                self.credentials[found.id] = found.model_copy(update={"status": "revoked"}) if dead else found
            elif isinstance(found, Target):
                self.targets[found.id] = found
            elif isinstance(found, Proxy):
                proxies.append(found)
            elif kind == PROXY:
                self.broken.append(BrokenProxy(found.id, found.reason, found.alias))
            else:
                faults[kind, identity] = found.reason
        for proxy in proxies:
            reason = self._fault(proxy, faults)
            if reason:
                self.broken.append(BrokenProxy(proxy.id, reason, proxy.alias))
            else:
                self.proxies[proxy.id] = proxy

    def _fault(self, proxy: Proxy, faults: Mapping[tuple[str, str], str]) -> str:
        needs = [(TARGET, "target", proxy.target_id), (CREDENTIAL, "target", proxy.target_credential_id)]
        needs += [(CREDENTIAL, "proxy", one) for one in proxy.proxy_credential_ids]
        for kind, side, one in needs:
            if (kind, one) in faults:
                return f"{kind} {one}: {faults[kind, one]}"
            found = self.targets.get(one) if kind == TARGET else self.credentials.get(one)
            if found is None:
                return f"there is no {kind} {one}"
            if found.client_id != proxy.client_id:
                return f"{kind} {one} is of another client"
            if isinstance(found, PolicyCredential) and found.type != side:
                return f"credential {one} is no {side} credential"
        return ""
