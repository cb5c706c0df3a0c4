"""The kinds of resources that callers write, and how each is named on the wire.

One small table, so that reading a body, showing a resource and describing both cannot drift apart.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from models.resources import Client, Credential, Filter, Proxy, Rule, Target
from models.resources.base import Value
from models.resources.member import Member
from models.resources.token import Token
from models.resources.user import User

PARTS: Final = ("rules", "filters")
"""What of credentials, targets and proxies has paths of its own, by the names of the fields."""


@dataclass(frozen=True, slots=True)
class Kind:
    """model: what validates it. fixed: fields that never change after creation. hidden: attributes of the model
    that are no part of the body: ids stand beside it, rules and filters have paths of their own, secrets go to the vault.
    """

    name: str
    plural: str
    model: type[Value]
    fixed: tuple[str, ...] = ()
    hidden: frozenset[str] = frozenset({"id", "client_id", *PARTS})
    owned: bool = True
    own_read_only: frozenset[str] = field(default=frozenset())

    @property
    def id_name(self) -> str:
        """Its id on the wire, for example `proxyId`."""
        return f"{self.name}Id"

    @property
    def created_at(self) -> str:
        """For example `proxyCreatedAt`."""
        return f"{self.name}CreatedAt"

    @property
    def updated_at(self) -> str:
        """For example `proxyUpdatedAt`."""
        return f"{self.name}UpdatedAt"

    @property
    def read_only(self) -> frozenset[str]:
        """Wire names that only the control plane sets."""
        return self.model.read_only | {self.id_name, "clientId"} | self.own_read_only


USER: Final = Kind("user", "users", User, owned=False)
TOKEN: Final = Kind(
    "token",
    "tokens",
    Token,
    hidden=frozenset({"id", "user_id"}),
    owned=False,
    own_read_only=frozenset({"userId"}),
)
CLIENT: Final = Kind("client", "clients", Client)
MEMBER: Final = Kind("member", "members", Member, hidden=frozenset())
CREDENTIAL: Final = Kind(
    "credential",
    "credentials",
    Credential,
    ("credentialType", "credentialAuthType", "credentialRegion"),
    frozenset({"id", "client_id", *PARTS, "secret"}),
)
TARGET: Final = Kind("target", "targets", Target, ("targetRegion",))
PROXY: Final = Kind(
    "proxy",
    "proxies",
    Proxy,
    ("proxyRegion",),
    frozenset({"id", "client_id", *PARTS, "single_credential_id"}),
)
RULE: Final = Kind("rule", "rules", Rule)
FILTER: Final = Kind("filter", "filters", Filter)

KINDS: Final = {
    kind.name: kind for kind in (USER, TOKEN, CLIENT, MEMBER, CREDENTIAL, TARGET, PROXY, RULE, FILTER)
}
"""By name."""
SINGULAR: Final = {kind.plural: kind for kind in KINDS.values()}
"""By the plural that stands in paths."""
