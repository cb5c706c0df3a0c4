"""The one table of routes: method, path, who may call it, with which token scope, and what it takes and gives.

Server, access check, OpenAPI document and tests read it; there is no other list. A method or path that is not
here is 404, whoever asks.

Who may do what. Per client, a member's roles add up: every role reads; `user` also tests targets; `admin` also
writes credentials, targets, proxies, rules and filters; `owner` also changes or deletes the client itself, its configuration
and its members. Whoever is no member sees 404. The platform's operator makes users and clients, and looks after
tokens of others; operator is no role in any client. A token's scopes do not include each other: `read` reads,
`write` changes, `operate` is needed on top of being the operator.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from models.planes.feed import UPLINK_MAX

Access = Literal["open", "token", "holder", "operator", "member", "region"]
"""open: no token. token: any valid one. holder: the user in the path, or the operator with scope `operate`.
operator: the platform's. member: a role of the client in the path. region: that region's key."""
Scope = Literal["read", "write", "operate"]
Shape = Literal[
    "user", "token", "client", "configuration", "member", "credential", "target", "proxy", "rule", "filter", "nothing", "test",
    "audit", "endpoint", "revision", "health", "ready", "openapi", "docs", "feed", "uplink",
    "request", "telemetry", "usage",
]  # fmt: skip

READERS: Final = frozenset({"owner", "admin", "user", "auditor"})
TESTERS: Final = frozenset({"owner", "admin", "user"})
WRITERS: Final = frozenset({"owner", "admin"})
OWNERS: Final = frozenset({"owner"})
SCOPES: Final[tuple[Scope, ...]] = ("read", "write", "operate")

BODY_MAX: Final = 1 << 20
"""Longest request body in bytes, where a route does not say otherwise."""

LIST: Final = ("limit", "cursor")
AUDIT: Final = ("resourceId", "actor", "after", "before", "limit", "cursor")
REQUESTS: Final = ("status", "code", "credentialId", "processedAfter", "processedBefore", "limit", "cursor")
TELEMETRY: Final = ("from", "to", "interval")


@dataclass(frozen=True, slots=True)
class Route:
    """One row.

    path: with `{name}` for what varies. name: `module.function` below `control_api.handlers`. roles: for access
    `member`. scope: None without a user token. takes, gives: shapes of request and answer. plural: the list's name
    in the answer. status: of success. query: the parameters it knows. summary: one line for people. body_max: longest
    body in bytes; one that may be longer than BODY_MAX is read only when the caller may send it.
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
    body_max: int = BODY_MAX

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


def _parts(plural: str, variable: str, noun: str, part: Literal["rule", "filter"]) -> list[Route]:
    """List, create, read, replace and delete of the rules or filters of a credential, target or proxy."""
    parts = f"{part}s"
    path = f"/v1/clients/{{clientId}}/{plural}/{{{variable}}}/{parts}"
    item = f"{path}/{{{part}Id}}"
    return [
        Route("GET", path, f"{parts}.list_all", "member", "read", 200, part, parts, f"Lists the {parts} of a {noun}",
              READERS, None, LIST),
        Route("POST", path, f"{parts}.create", "member", "write", 201, part, parts, f"Makes a {part} of a {noun}",
              WRITERS, part),
        Route("GET", item, f"{parts}.read", "member", "read", 200, part, parts, f"Reads a {part} of a {noun}", READERS),
        Route("PUT", item, f"{parts}.replace", "member", "write", 200, part, parts, f"Replaces a {part} of a {noun}",
              WRITERS, part),
        Route("DELETE", item, f"{parts}.delete", "member", "write", 204, "nothing", parts,
              f"Deletes a {part} of a {noun}", WRITERS),
    ]  # fmt: skip


def _records(path: str, whose: str) -> list[Route]:
    """Requests and telemetry of a client or a proxy."""
    return [
        Route("GET", f"{path}/requests", "requests.list_all", "member", "read", 200, "request", "requests",
              f"Lists the requests of a {whose}, newest first", READERS, None, REQUESTS),
        Route("GET", f"{path}/requests/{{requestId}}", "requests.read", "member", "read", 200, "request", "requests",
              f"Reads the record of a request of a {whose}", READERS),
        Route("GET", f"{path}/telemetry", "telemetry.read", "member", "read", 200, "telemetry", "telemetry",
              f"Counts and latencies of a {whose} over time; buckets without requests are left out", READERS, None,
              TELEMETRY),
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
    *_parts("credentials", "credentialId", "credential", "rule"),
    *_parts("targets", "targetId", "target", "rule"),
    *_parts("proxies", "proxyId", "proxy", "rule"),
    *_parts("credentials", "credentialId", "credential", "filter"),
    *_parts("targets", "targetId", "target", "filter"),
    *_parts("proxies", "proxyId", "proxy", "filter"),

    Route("GET", f"{_CLIENT}/audit", "audit.list_all", "member", "read", 200, "audit", "audit", "Lists changes, newest first",
          READERS, None, AUDIT),
    *_records(_CLIENT, "client"),
    *_records(f"{_CLIENT}/proxies/{{proxyId}}", "proxy"),
    Route("GET", f"{_CLIENT}/billing/usage", "billing.usage", "member", "read", 200, "usage", "usage",
          "A month's counts and bytes: the client's total, then each proxy's", READERS, None, ("month",)),
    Route("GET", "/v1/endpoints", "endpoints.list_all", "token", "read", 200, "endpoint", "endpoints", "Lists the regions",
          query=LIST),
    Route("GET", "/v1/revisions/{revision}", "revisions.read", "token", "read", 200, "revision", "revisions",
          "Says which regions and edges have a revision"),
    Route("GET", "/v1/regions/{region}/feed", "feed.poll", "region", None, 200, "feed", "", "What a region is to enforce",
          query=("after", "wait")),
    Route("POST", "/v1/regions/{region}/uplink", "feed.uplink", "region", None, 204, "nothing", "",
          "What a region reports", takes="uplink", body_max=UPLINK_MAX),
)
# fmt: on
"""Every route there is."""
