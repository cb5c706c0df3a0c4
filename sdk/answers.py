"""Resources as the Core API answers them: small frozen values with plain attribute names and real types.

Read from the wire form of API.md section 2; a field that this version does not know is ignored here and still
in `wire`. Secrets are `Secret`, whose text never shows by accident, and are in no `wire`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final, TypeVar

import msgspec
from pydantic.alias_generators import to_camel

from models.resources.base import wire_names
from models.resources.secrets import SECRET_FIELD_OF
from models.secret import Secret
from sdk.errors import UnexpectedAnswer
from sdk.wire import Change

_ONCE: Final = ("credentialSecret", "tokenValue")
"""Fields with a secret that is shown once."""


def _named(prefix: str, **irregular: str) -> Callable[[str], str]:
    return wire_names(prefix, irregular)


def _part(kind: str) -> Callable[[str], str]:
    """Parts have plain names but for what every resource has."""
    own = {"id": f"{kind}Id", "created_at": f"{kind}CreatedAt", "updated_at": f"{kind}UpdatedAt"}
    return lambda name: own.get(name) or to_camel(name)


class Answered(msgspec.Struct, frozen=True, kw_only=True, rename=lambda name: f" {name}"):
    """wire: as it was answered, fit for a `replace`, without secrets. change: of the write that this answers."""

    wire: dict[str, Any] = msgspec.field(default_factory=dict)
    change: Change | None = None

    def __repr__(self) -> str:
        """What there is, short enough for a notebook: empty fields left out, moments in ISO 8601."""
        names = [name for name in self.__struct_fields__ if name not in {"wire", "change"}]
        found = {name: getattr(self, name) for name in (*names, "change")}
        fields = [
            f"{name}={_shown(value)}" for name, value in found.items() if value is not None and value != ()
        ]
        return f"{type(self).__name__}({', '.join(fields)})"


class User(
    Answered, frozen=True, kw_only=True, rename=_named("user", revision="revision", operator="operator")
):
    """operator: of the platform."""

    id: str
    name: str
    email: str | None = None
    operator: bool = False
    created_at: datetime | None = None
    updated_at: datetime | None = None
    revision: int = 0


class Token(
    Answered, frozen=True, kw_only=True, rename=_named("token", revision="revision", user_id="userId")
):
    """value: the token's text, in the answer to its creation only."""

    id: str
    name: str
    scopes: tuple[str, ...]
    user_id: str | None = None
    expires_at: datetime | None = None
    value: Secret | None = None
    created_at: datetime | None = None
    revision: int = 0


class Limits(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    omit_defaults=True,
    rename={"requests_per_minute": "requestsPerMinute", "requests_per_day": "requestsPerDay"},
):
    """Requests per UTC calendar minute and day; None is no limit."""

    requests_per_minute: int | None = None
    requests_per_day: int | None = None


class Configuration(Answered, frozen=True, kw_only=True, rename=None):
    """What new proxies of a client inherit."""

    limits: Limits = Limits()


class Member(Answered, frozen=True, kw_only=True, rename={"user_id": "userId", "client_id": "clientId"}):
    """A user's roles in a client. revision: the client's."""

    user_id: str
    roles: tuple[str, ...]
    client_id: str | None = None
    revision: int = 0


class Client(Answered, frozen=True, kw_only=True, rename=_named("client", revision="revision")):
    """A tenant."""

    id: str
    name: str
    members: tuple[Member, ...] = ()
    configuration: Configuration = Configuration()
    created_at: datetime | None = None
    updated_at: datetime | None = None
    revision: int = 0


class Credential(
    Answered,
    frozen=True,
    kw_only=True,
    rename=_named("credential", revision="revision", client_id="clientId"),
):
    """secret: one that was generated, in the answer to its creation only. status: active, pending, revoked, failing."""

    id: str
    name: str
    type: str
    auth_type: str
    region: str
    client_id: str | None = None
    secret: Secret | None = None
    default_rule_effect: str = "allow"
    expires_at: datetime | None = None
    offline: bool = True
    overlap_seconds: int = 0
    version: int = 0
    status: str = ""
    created_at: datetime | None = None
    updated_at: datetime | None = None
    revision: int = 0


class Target(
    Answered,
    frozen=True,
    kw_only=True,
    rename=_named(
        "target", revision="revision", client_id="clientId", base_url="targetBaseURL", ca="targetCA"
    ),
):
    """timeout_ms: until the response head."""

    id: str
    name: str
    base_url: str
    region: str
    client_id: str | None = None
    test_path: str | None = None
    default_rule_effect: str = "allow"
    timeout_ms: int = 30_000
    connections: int = 256
    ca: str | None = None
    scrub: str = "full"
    cookies: bool = False
    path_strict: bool = True
    created_at: datetime | None = None
    updated_at: datetime | None = None
    revision: int = 0


class TargetTest(
    Answered,
    frozen=True,
    kw_only=True,
    rename={"duration_ms": "durationMs"},
):
    """status: of the target's answer, None when there was none; code: of the refusal then."""

    status: int | None = None
    code: str | None = None
    duration_ms: float | None = None


class Proxy(
    Answered,
    frozen=True,
    kw_only=True,
    rename=_named("proxy", revision="revision", client_id="clientId", base_url="proxyBaseURL"),
):
    """base_url: where callers reach it."""

    id: str
    name: str
    region: str
    target_id: str
    target_credential_id: str
    proxy_credential_ids: tuple[str, ...] = ()
    base_url: str = ""
    client_id: str | None = None
    active: bool = True
    default_rule_effect: str = "allow"
    alias: str | None = None
    max_requests_per_minute: int | None = None
    max_requests_per_day: int | None = None
    max_body_bytes: int | None = None
    max_response_bytes: int | None = None
    upgrade: str = "none"
    record_policy: str = "block"
    created_at: datetime | None = None
    updated_at: datetime | None = None
    revision: int = 0


class Rule(Answered, frozen=True, kw_only=True, rename=_part("rule")):
    """Checks are mappings as on the wire."""

    id: str
    effect: str
    priority: int = 0
    methods: tuple[str, ...] | None = None
    path: dict[str, str] | None = None
    header_checks: tuple[dict[str, str], ...] = ()
    query_checks: tuple[dict[str, str], ...] = ()
    body_checks: tuple[dict[str, Any], ...] = ()
    mode: str = "enforce"
    active: bool = True
    notes: str | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    revision: int = 0


class Filter(Answered, frozen=True, kw_only=True, rename=_part("filter")):
    """path, mask and redact are mappings as on the wire."""

    id: str
    action: str
    paths: tuple[str, ...]
    methods: tuple[str, ...] | None = None
    path: dict[str, str] | None = None
    statuses: tuple[str, ...] = ("all",)
    applies_to: str = "response"
    mask: dict[str, Any] | None = None
    redact: dict[str, Any] | None = None
    on_unparsable: str = "block"
    priority: int = 0
    active: bool = True
    notes: str | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    revision: int = 0


class AuditEntry(
    Answered,
    frozen=True,
    kw_only=True,
    rename={"id": "auditId", "resource_type": "resourceType", "resource_id": "resourceId"},
):
    """One resource of one change. before, after: wire forms without secrets, None where there was none."""

    id: str
    at: datetime
    actor: str
    action: str
    resource_type: str
    resource_id: str
    revision: int
    before: dict[str, Any] | None = None
    after: dict[str, Any] | None = None


class Endpoint(
    Answered,
    frozen=True,
    kw_only=True,
    rename=_named("endpoint", base_url="endpointBaseURL", reached="endpointRevision"),
):
    """A region. reached: the revision up to which it has every change, `endpointRevision` on the wire."""

    region: str
    kind: str = "shared"
    base_url: str = ""
    status: str = ""
    reached: int = 0


class Reach(msgspec.Struct, frozen=True, kw_only=True):
    """How far one edge is. status: applied or pending, as seen from the revision that was asked for."""

    edge: str
    status: str = ""
    revision: int = 0


class RegionReach(msgspec.Struct, frozen=True, kw_only=True):
    """How far one region and its edges are."""

    region: str
    status: str = ""
    revision: int = 0
    edges: tuple[Reach, ...] = ()


class Revision(Answered, frozen=True, kw_only=True, rename=None):
    """Which regions and edges have a change. status: applied when all of them do."""

    revision: int
    at: datetime | None = None
    status: str = ""
    regions: tuple[RegionReach, ...] = ()

    def in_force(self) -> bool:
        """Whether every region has it, and every edge that is known there."""
        return all(
            region.status == "applied" and all(edge.status == "applied" for edge in region.edges)
            for region in self.regions
        )


class Readiness(Answered, frozen=True, kw_only=True, rename=None):
    """ready: whether writes work. regions: each with its state, as mappings."""

    ready: bool = False
    regions: tuple[dict[str, Any], ...] = ()


A = TypeVar("A", bound=Answered)


def read(kind: type[A], data: object, change: Change | None = None) -> A:
    """A value of `kind` from its wire form. Raises UnexpectedAnswer, whose text has no value of it."""
    problem = ""
    try:
        fields = dict(data) if isinstance(data, Mapping) else data
        value = msgspec.convert(fields, kind, dec_hook=_secret)
        wire = {name: part for name, part in _mapping(data).items() if name not in _ONCE}
        return msgspec.structs.replace(value, wire=wire, change=change)
    except msgspec.ValidationError as error:
        problem = str(error)
    raise UnexpectedAnswer(f"{kind.__name__}: {problem}")


def _shown(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else repr(value)


def _mapping(data: object) -> Mapping[str, Any]:
    return data if isinstance(data, Mapping) else {}


def _secret(kind: type, value: object) -> Secret:
    """A secret that is shown once: text, or the wire form of a generated `credentialSecret`."""
    texts = (
        [value]
        if isinstance(value, str)
        else [_mapping(value).get(name) for name in SECRET_FIELD_OF.values()]
    )
    for text in texts:
        if kind is Secret and isinstance(text, str):
            return Secret(text)
    raise ValueError("is not a secret that this version can read")
