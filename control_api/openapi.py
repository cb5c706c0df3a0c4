"""The OpenAPI 3.1 document, made from the table of routes and the models that validate bodies.

There is no second description: what is not in the table is not in the document, and a field is described by the
model that reads it. Pure.
"""

from __future__ import annotations

from typing import Any, Final

from control_api import schemas
from control_api.routes.table import ROUTES, Route

Schema = dict[str, Any]

VERSION: Final = "1"
_ABOUT: Final = (
    "Configuration of Exeat: clients, credentials, targets, proxies, rules and filters. Every change is in the audit list and"
    " answers `exeat-revision` and `exeat-propagation`."
)
_PARAMETERS: Final[dict[str, tuple[Schema, str]]] = {
    "limit": ({"type": "integer", "minimum": 1, "maximum": 1000, "default": 100}, "how many at most"),
    "cursor": ({"type": "string"}, "`nextCursor` of the page before"),
    "resourceId": ({"type": "string"}, "changes of this resource only"),
    "actor": ({"type": "string"}, "changes of this user only"),
    "after": ({"type": "string", "format": "date-time"}, "changes later than this"),
    "before": ({"type": "string", "format": "date-time"}, "changes earlier than this"),
    "status": (
        {"anyOf": [{"type": "integer", "minimum": 100, "maximum": 999}, {"const": "unknown"}]},
        "requests answered with this status",
    ),
    "code": ({"type": "string"}, "requests with this `exeat-proxy-code`"),
    "credentialId": ({"type": "string"}, "requests of callers with this credential"),
    "processedAfter": ({"type": "string", "format": "date-time"}, "requests received later than this"),
    "processedBefore": ({"type": "string", "format": "date-time"}, "requests received earlier than this"),
    "from": ({"type": "string", "format": "date-time"}, "begin of the first bucket; an hour before `to`"),
    "to": ({"type": "string", "format": "date-time"}, "end of the last bucket; now"),
    "interval": (
        {"enum": ["minute", "hour", "day"], "default": "minute"},
        "length of a bucket; there may be 10,000",
    ),
    "month": ({"type": "string", "pattern": "^[0-9]{4}-[0-9]{2}$"}, "a UTC month; the current one"),
    "wait": ({"type": "number", "minimum": 0, "maximum": 30, "default": 0}, "seconds to wait for news"),
}
_FEED_AFTER: Final = (
    {"type": "integer", "minimum": -1, "default": -1},
    "the revision that is durable; -1 for nothing",
)
_SECURITY: Final = {
    "userToken": {
        "type": "apiKey",
        "in": "header",
        "name": "Authorization",
        "description": "A user's token, `u-…`, raw or after `Bearer`",
    },
    "regionKey": {
        "type": "apiKey",
        "in": "header",
        "name": "Authorization",
        "description": "A region's key, `r-…`, raw or after `Bearer`",
    },
}
_PROBLEMS: Final = {
    "400": "The body is not JSON, or the query cannot be read",
    "401": "No token, or one that is not valid",
    "403": "The role or the token's scope does not reach this far",
    "404": "There is no such resource, or it is another client's",
    "409": "Something else stands in the way, or the Idempotency-Key was used for another request",
    "412": "The resource is at another revision than If-Match names",
    "413": "The body is longer than 1 MiB, that of a region's report longer than 8 MiB",
    "422": "A field, parameter or header cannot be accepted; `errors` names each",
    "503": "The store, or a region that is needed, is away",
}


def document() -> Schema:
    """The whole document."""
    paths: dict[str, Schema] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Exeat Core API", "version": VERSION, "description": _ABOUT},
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": schemas.components(),
            "securitySchemes": _SECURITY,
            "responses": {f"Problem{status}": _problem(text) for status, text in _PROBLEMS.items()},
        },
    }


def operation_id(route: Route) -> str:
    """Unique per row, for generated clients: `get_clients_clientId_proxies`."""
    parts = [part.strip("{}").replace(".", "_") for part in route.path.removeprefix("/v1").split("/") if part]
    return "_".join([route.method.lower(), *parts])


def _operation(route: Route) -> Schema:
    operation: Schema = {
        "operationId": operation_id(route),
        "summary": route.summary,
        "description": _who(route),
        "tags": [route.name.partition(".")[0]],
        "security": _security(route),
        "responses": _responses(route),
    }
    parameters = _parameters(route)
    if parameters:
        operation["parameters"] = parameters
    if route.takes is not None:
        operation["requestBody"] = _body(route)
    if route.access == "member":
        operation["x-exeat-roles"] = sorted(route.roles)
    if route.scope is not None:
        operation["x-exeat-scope"] = route.scope
    return operation


def _who(route: Route) -> str:
    who = {
        "open": "Needs no token.",
        "token": "For every user.",
        "holder": "For the user himself; for others the operator, with the scope `operate`.",
        "operator": "For the platform's operator.",
        "member": f"For members with one of the roles {', '.join(sorted(route.roles))}.",
        "region": "For the region itself, with its key.",
    }[route.access]
    return who if route.scope is None else f"{who} Token scope: `{route.scope}`."


def _security(route: Route) -> list[dict[str, list[str]]]:
    if route.access == "open":
        return []
    return [{"regionKey" if route.access == "region" else "userToken": []}]


def _parameters(route: Route) -> list[Schema]:
    found: list[Schema] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in route.parameters
    ]
    for name in route.query:
        schema, text = _FEED_AFTER if (route.access, name) == ("region", "after") else _PARAMETERS[name]
        found.append({"name": name, "in": "query", "required": False, "schema": schema, "description": text})
    if route.conditional:
        found.append(_header("If-Match", "The revision that the resource must be at, bare or quoted"))
    if route.method == "POST" and route.access != "region":
        found.append(_header("Idempotency-Key", "Kept 24 h per token; the same request is carried out once"))
    return found


def _header(name: str, text: str) -> Schema:
    return {
        "name": name,
        "in": "header",
        "required": False,
        "schema": {"type": "string"},
        "description": text,
    }


def _body(route: Route) -> Schema:
    name = schemas.request_name(route.takes or "nothing", patch=route.method == "PATCH")
    content = {"schema": schemas.reference(name)}
    kinds = ["application/json"]
    if route.method == "PATCH":
        kinds.append("application/merge-patch+json")
    return {"required": route.takes not in {"nothing", "test"}, "content": dict.fromkeys(kinds, content)}


def _responses(route: Route) -> Schema:
    success: Schema = {"description": "Success"}
    if route.gives == "docs":
        success["content"] = {"text/html": {"schema": {"type": "string"}}}
    elif route.gives != "nothing":
        success["content"] = {"application/json": {"schema": schemas.answer(route)}}
    if route.scope in {"write", "operate"} and route.gives != "test":
        success["headers"] = {
            "exeat-revision": {"schema": {"type": "integer"}, "description": "Place in the change log"},
            "exeat-propagation": {
                "schema": {"enum": ["applied", "pending"]},
                "description": "Whether the region has it; waited for at most 2 s",
            },
        }
    statuses = {str(route.status): success}
    for status in sorted(_possible(route)):
        statuses[status] = {"$ref": f"#/components/responses/Problem{status}"}
    return statuses


def _possible(route: Route) -> set[str]:
    """The problems a route can answer with."""
    found = set() if route.access == "open" else {"401"}
    if route.access in {"member", "holder", "operator", "token"}:
        found |= {"403", "422"}
    if route.parameters:
        found |= {"404"}
    if route.query or route.takes is not None:
        found |= {"400", "422"}
    if route.takes is not None:
        found |= {"413"}
    if route.method != "GET" or route.gives in {"ready", "request", "telemetry", "usage"}:
        found |= {"503"}
    if route.method != "GET" and route.access != "region":
        found |= {"409"}
    if route.conditional:
        found |= {"412"}
    return found


def _problem(text: str) -> Schema:
    return {
        "description": text,
        "content": {"application/problem+json": {"schema": schemas.reference("Problem")}},
    }
