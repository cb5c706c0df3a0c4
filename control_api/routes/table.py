"""The one table of routes: method, path, who may call it, with which token scope, and what it takes and gives.

Server, access check, OpenAPI document and tests read it; there is no other list. A method or path that is not
here is 404, whoever asks.

Who may do what. Per client, a member's roles add up: every role reads; `user` also tests targets; `admin` also
writes credentials, targets, proxies and rules; `owner` also changes or deletes the client itself, its configuration
and its members. Whoever is no member sees 404. The platform's operator makes users and clients, and looks after
tokens of others; operator is no role in any client. A token's scopes do not include each other: `read` reads,
`write` changes, `operate` is needed on top of being the operator.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Access = Literal["open", "token", "holder", "operator", "member", "region"]
"""open: no token. token: any valid one. holder: the user in the path, or the operator with scope `operate`.
operator: the platform's. member: a role of the client in the path. region: that region's key."""
Scope = Literal["read", "write", "operate"]
Shape = Literal[
    "user", "token", "client", "configuration", "member", "credential", "target", "proxy", "rule", "nothing", "test",
    "audit", "endpoint", "revision", "health", "ready", "openapi", "docs", "feed", "uplink",
]  # fmt: skip

READERS: Final = frozenset({"owner", "admin", "user", "auditor"})
TESTERS: Final = frozenset({"owner", "admin", "user"})
WRITERS: Final = frozenset({"owner", "admin"})
OWNERS: Final = frozenset({"owner"})
ROLES: Final = ("owner", "admin", "user", "auditor")
SCOPES: Final[tuple[Scope, ...]] = ("read", "write", "operate")

LIST: Final = ("limit", "cursor")
AUDIT: Final = ("resourceId", "actor", "after", "before", "limit", "cursor")


@dataclass(frozen=True, slots=True)
class Route:
    """One row.

    path: with `{name}` for what varies. name: `module.function` below `control_api.handlers`. roles: for access
    `member`. scope: None without a user token. takes, gives: shapes of request and answer. plural: the list's name
    in the answer. status: of success. query: the parameters it knows. summary: one line for people.
    """

    method: str
    path: str
    name: str
    access: Access
    scope: Scope | None
    status: int
    gives: Shape
    plural: str
    summary: str
    roles: frozenset[str] = frozenset()
    takes: Shape | None = None
    query: tuple[str, ...] = ()

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the path's variable parts, in order."""
        return tuple(part[1:-1] for part in self.path.split("/") if part.startswith("{"))

    @property
    def conditional(self) -> bool:
        """Whether `If-Match` is looked at: everything that changes one existing resource."""
        return self.method in {"PUT", "PATCH", "DELETE"} or self.name == "credentials.revoke"


def _resource(plural: str, one: Shape, variable: str, noun: str, *, patch: bool = True) -> list[Route]:
    """List, create, read, replace, alter and delete of a client's credentials, targets or proxies."""
    path = f"/v1/clients/{{clientId}}/{plural}"
    item = f"{path}/{{{variable}}}"
    routes = [
        Route("GET", path, f"{plural}.list_all", "member", "read", 200, one, plural, f"Lists {plural}", READERS, None, LIST),
        Route("POST", path, f"{plural}.create", "member", "write", 201, one, plural, f"Makes a {noun}", WRITERS, one),
        Route("GET", item, f"{plural}.read", "member", "read", 200, one, plural, f"Reads a {noun}", READERS),
        Route("PUT", item, f"{plural}.replace", "member", "write", 200, one, plural, f"Replaces a {noun}", WRITERS, one),
    ]  # fmt: skip
    if patch:
        routes.append(
            Route("PATCH", item, f"{plural}.alter", "member", "write", 200, one, plural,
                  f"Alters a {noun} (RFC 7396)", WRITERS, one)
        )  # fmt: skip
    routes.append(
        Route("DELETE", item, f"{plural}.delete", "member", "write", 204, "nothing", plural,
              f"Deletes a {noun} that nothing refers to", WRITERS)
    )  # fmt: skip
    return routes


def _rules(plural: str, variable: str, noun: str) -> list[Route]:
    path = f"/v1/clients/{{clientId}}/{plural}/{{{variable}}}/rules"
    item = f"{path}/{{ruleId}}"
    return [
        Route("GET", path, "rules.list_all", "member", "read", 200, "rule", "rules", f"Lists the rules of a {noun}",
              READERS, None, LIST),
        Route("POST", path, "rules.create", "member", "write", 201, "rule", "rules", f"Makes a rule of a {noun}",
              WRITERS, "rule"),
        Route("GET", item, "rules.read", "member", "read", 200, "rule", "rules", f"Reads a rule of a {noun}", READERS),
        Route("PUT", item, "rules.replace", "member", "write", 200, "rule", "rules", f"Replaces a rule of a {noun}",
              WRITERS, "rule"),
        Route("DELETE", item, "rules.delete", "member", "write", 204, "nothing", "rules",
              f"Deletes a rule of a {noun}", WRITERS),
    ]  # fmt: skip


_CLIENT: Final = "/v1/clients/{clientId}"

# fmt: off
ROUTES: Final[tuple[Route, ...]] = (
    Route("GET", "/v1/health", "health.health", "open", None, 200, "health", "", "Whether the process lives"),
    Route("GET", "/v1/ready", "health.ready", "open", None, 200, "ready", "", "Whether writes work; regions and their state"),
    Route("GET", "/v1/openapi.json", "documents.openapi_document", "open", None, 200, "openapi", "", "This document"),
    Route("GET", "/docs", "documents.browse", "open", None, 200, "docs", "", "This document, to read"),

    Route("POST", "/v1/users", "users.create", "operator", "operate", 201, "user", "users", "Makes a user", takes="user"),
    Route("GET", "/v1/users/me", "users.me", "token", "read", 200, "user", "users", "Reads the user whose token this is"),
    Route("GET", "/v1/users/{userId}/tokens", "tokens.list_all", "holder", "read", 200, "token", "tokens",
          "Lists a user's tokens", query=LIST),
    Route("POST", "/v1/users/{userId}/tokens", "tokens.create", "holder", "write", 201, "token", "tokens",
          "Makes a token; the answer has its value, once", takes="token"),
    Route("DELETE", "/v1/users/{userId}/tokens/{tokenId}", "tokens.delete", "holder", "write", 204, "nothing", "tokens",
          "Revokes a token at once"),

    Route("GET", "/v1/clients", "clients.list_all", "token", "read", 200, "client", "clients",
          "Lists the clients the user is a member of", query=LIST),
    Route("POST", "/v1/clients", "clients.create", "operator", "operate", 201, "client", "clients",
          "Makes a client, whose owner is who made it", takes="client"),
    Route("GET", _CLIENT, "clients.read", "member", "read", 200, "client", "clients", "Reads a client", READERS),
    Route("PUT", _CLIENT, "clients.replace", "member", "write", 200, "client", "clients", "Replaces a client", OWNERS,
          "client"),
    Route("PATCH", _CLIENT, "clients.alter", "member", "write", 200, "client", "clients", "Alters a client (RFC 7396)",
          OWNERS, "client"),
    Route("DELETE", _CLIENT, "clients.delete", "member", "write", 204, "nothing", "clients",
          "Deletes a client that owns nothing", OWNERS),
    Route("GET", f"{_CLIENT}/configuration", "clients.read_configuration", "member", "read", 200, "configuration", "",
          "Reads what new proxies inherit", READERS),
    Route("PUT", f"{_CLIENT}/configuration", "clients.replace_configuration", "member", "write", 200, "configuration", "",
          "Replaces what new proxies inherit", OWNERS, "configuration"),
    Route("GET", f"{_CLIENT}/members", "members.list_all", "member", "read", 200, "member", "members",
          "Lists members and their roles", READERS, None, LIST),
    Route("POST", f"{_CLIENT}/members", "members.create", "member", "write", 201, "member", "members", "Adds a member",
          OWNERS, "member"),
    Route("PUT", f"{_CLIENT}/members/{{userId}}", "members.replace", "member", "write", 200, "member", "members",
          "Replaces a member's roles", OWNERS, "member"),
    Route("DELETE", f"{_CLIENT}/members/{{userId}}", "members.delete", "member", "write", 204, "nothing", "members",
          "Removes a member; not the last owner", OWNERS),

    *_resource("credentials", "credential", "credentialId", "credential"),
    Route("POST", f"{_CLIENT}/credentials/{{credentialId}}/revoke", "credentials.revoke", "member", "write", 200,
          "credential", "credentials", "Revokes a credential: at once, for ever, also while referenced", WRITERS, "nothing"),
    *_resource("targets", "target", "targetId", "target"),
    Route("POST", f"{_CLIENT}/targets/{{targetId}}/test", "targets.test", "member", "write", 200, "test", "targets",
          "Calls the test path from an edge; answers status and timing only", TESTERS, "test"),
    *_resource("proxies", "proxy", "proxyId", "proxy"),
    *_rules("credentials", "credentialId", "credential"),
    *_rules("targets", "targetId", "target"),
    *_rules("proxies", "proxyId", "proxy"),

    Route("GET", f"{_CLIENT}/audit", "audit.list_all", "member", "read", 200, "audit", "audit", "Lists changes, newest first",
          READERS, None, AUDIT),
    Route("GET", "/v1/endpoints", "endpoints.list_all", "token", "read", 200, "endpoint", "endpoints", "Lists the regions",
          query=LIST),
    Route("GET", "/v1/revisions/{revision}", "revisions.read", "token", "read", 200, "revision", "revisions",
          "Says which regions and edges have a revision"),
    Route("GET", "/v1/regions/{region}/feed", "feed.poll", "region", None, 200, "feed", "", "What a region is to enforce",
          query=("after", "wait")),
    Route("POST", "/v1/regions/{region}/uplink", "feed.uplink", "region", None, 204, "nothing", "",
          "What a region reports", takes="uplink"),
)
# fmt: on
"""Every route there is."""
