"""What callers may set on each resource, by plain names with types, and how that becomes a wire body.

The wire names come from the resources themselves (`models.resources`), so they cannot drift apart. Secrets are
revealed here, into the body that is about to be sent, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Literal, TypedDict

from models.resources import Client, Credential, Filter, Proxy, Rule, Target
from models.resources.base import Value
from models.resources.member import Member, Role
from models.resources.moment import written
from models.resources.token import Scope, Token
from models.resources.user import User
from models.secret import Secret

Effect = Literal["allow", "deny"]


class UserFields(TypedDict, total=False):
    """See API.md section 2, users."""

    name: str
    email: str | None


class TokenFields(TypedDict, total=False):
    """expires_at: aware."""

    name: str
    scopes: Sequence[Scope]
    expires_at: datetime | None


class ClientFields(TypedDict, total=False):
    """configuration: `{"limits": {"requestsPerMinute": …, "requestsPerDay": …}}`."""

    name: str
    configuration: Mapping[str, Any]


class MemberFields(TypedDict, total=False):
    """Roles of a user."""

    user_id: str
    roles: Sequence[Role]


class CredentialFields(TypedDict, total=False):
    """secret: wire form by auth type, for example `{"key": Secret(…)}`; left out for a proxy key, one is generated."""

    name: str
    type: Literal["proxy", "target"]
    auth_type: str
    region: str
    secret: Mapping[str, str | Secret] | None
    default_rule_effect: Effect
    expires_at: datetime | None
    offline: bool
    overlap_seconds: int


class TargetFields(TypedDict, total=False):
    """See API.md section 2, target."""

    name: str
    base_url: str
    test_path: str | None
    region: str
    default_rule_effect: Effect
    timeout_ms: int
    connections: int
    ca: str | None
    scrub: Literal["full", "headers", "off"]
    cookies: bool
    path_strict: bool


class ProxyFields(TypedDict, total=False):
    """See API.md section 2, proxy."""

    name: str
    region: str
    proxy_credential_ids: Sequence[str]
    target_id: str
    target_credential_id: str
    active: bool
    default_rule_effect: Effect
    alias: str | None
    max_requests_per_minute: int | None
    max_requests_per_day: int | None
    max_body_bytes: int
    max_response_bytes: int
    upgrade: Literal["none", "websocket"]
    record_policy: Literal["block", "drop"]


class RuleFields(TypedDict, total=False):
    """Checks in wire form: path `{"pattern": …}`, header and query checks `{"name": …, "value": …}`,
    body checks `{"jsonPath": {"pattern": …}, "matchValue": {"pattern": …}}`.
    """

    effect: Effect
    priority: int
    methods: Sequence[str] | None
    path: Mapping[str, str] | None
    header_checks: Sequence[Mapping[str, str]]
    query_checks: Sequence[Mapping[str, str]]
    body_checks: Sequence[Mapping[str, Any]]
    mode: Literal["enforce", "shadow"]
    active: bool
    notes: str | None


class FilterFields(TypedDict, total=False):
    """path `{"pattern": …}`, mask `{"character": …, "keepLast": …}`, redact `{"entities": […], …}` in wire form."""

    action: Literal["retain", "destroy", "mask", "redact"]
    paths: Sequence[str]
    methods: Sequence[str] | None
    path: Mapping[str, str] | None
    statuses: Sequence[str]
    applies_to: Literal["response"]
    mask: Mapping[str, Any] | None
    redact: Mapping[str, Any] | None
    on_unparsable: Literal["block", "pass"]
    priority: int
    active: bool
    notes: str | None


SETTABLE: Final[dict[type[Value], Any]] = {
    User: UserFields,
    Token: TokenFields,
    Client: ClientFields,
    Member: MemberFields,
    Credential: CredentialFields,
    Target: TargetFields,
    Proxy: ProxyFields,
    Rule: RuleFields,
    Filter: FilterFields,
}
"""Resource by resource."""


def body(kind: type[Value], given: Mapping[str, Any] | None, fields: Mapping[str, Any]) -> dict[str, Any]:
    """The wire body: `given` as it is, in wire names, then `fields` over it. Raises TypeError for an unknown field."""
    found = {} if given is None else {name: plain(value) for name, value in given.items()}
    settable = SETTABLE[kind].__annotations__
    for name, value in fields.items():
        if name not in settable:
            raise TypeError(f"{kind.__name__} has no field {name}; it has {', '.join(settable)}")
        found[wire_name(kind, name)] = plain(value)
    return found


def wire_name(kind: type[Value], attribute: str) -> str:
    """For example `proxyName` of a proxy's `name`."""
    return kind.model_fields[attribute].alias or attribute


def plain(value: Any) -> Any:
    """JSON values: secrets in clear, moments as API.md writes them. Raises ValueError for a moment without an offset."""
    if isinstance(value, Secret):
        return value.reveal().decode("utf-8", "surrogatepass")
    if isinstance(value, datetime):
        if value.utcoffset() is None:
            raise ValueError("a moment needs an offset, for example datetime.now(UTC)")
        return written(value)
    if isinstance(value, Mapping):
        return {name: plain(part) for name, part in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(part) for part in value]
    return value
