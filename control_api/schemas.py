"""JSON Schemas (2020-12) of bodies and answers, from the models that validate and the structs that travel.

Pure. Where a field is only shown, or only taken, the schema says so.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from control_api.kinds import KINDS, PARTS, Kind
from control_api.routes.table import Route, Shape
from models.decision import Decision
from models.planes.feed import FeedAnswer, Uplink
from models.record import Record

Schema = dict[str, Any]

_REFERENCE: Final = "#/components/schemas/{model}"
_TIME: Final[Schema] = {"type": "string", "format": "date-time", "readOnly": True}
_ID: Final[Schema] = {"type": "string", "readOnly": True}
_REVISION: Final[Schema] = {"type": "integer", "minimum": 0, "readOnly": True}
_STATE: Final[Schema] = {"enum": ["applied", "pending"]}
_OPEN: Final[Schema] = {"type": "object", "additionalProperties": True}

_SHOWN_TOO: Final[dict[str, Schema]] = {
    "user": {"operator": {"type": "boolean", "readOnly": True}},
    "client": {
        "clientMembers": {
            "type": "array",
            "readOnly": True,
            "items": {"$ref": "#/components/schemas/MemberRequest"},
        }
    },
    "credential": {
        "credentialVersion": {"type": "integer", "minimum": 1, "readOnly": True},
        "credentialStatus": {"enum": ["active", "pending", "revoked", "failing"], "readOnly": True},
    },
    "proxy": {"proxyBaseURL": {"type": "string", "format": "uri", "readOnly": True}},
    "token": {
        "userId": _ID,
        "tokenValue": {"type": "string", "readOnly": True, "description": "Only in the answer to POST"},
    },
}
"""What a resource has besides what its model reads."""
_ONCE: Final = "Taken, never shown; one that was generated is in the answer to POST, once"


def reference(name: str) -> Schema:
    """A reference to a component."""
    return {"$ref": f"#/components/schemas/{name}"}


def request_name(shape: Shape, *, patch: bool = False) -> str:
    """The component that describes a request body."""
    if shape == "uplink":
        return "Uplink"
    return f"{shape.capitalize()}{'Patch' if patch else 'Request'}"


def answer(route: Route) -> Schema:
    """What a route answers with on success."""
    if route.gives in {"health", "ready", "configuration"}:
        return reference(f"{route.gives.capitalize()}Answer")
    if route.gives == "feed":
        return reference("FeedAnswer")
    if route.gives == "openapi":
        return _OPEN
    elements = {"type": "array", "items": reference(route.gives.capitalize())}
    properties: Schema = {route.plural: elements, "message": {"const": "Success"}}
    if "cursor" in route.query:
        properties["nextCursor"] = {"type": "string", "description": "Only when the list goes on"}
    return {"type": "object", "required": [route.plural, "message"], "properties": properties}


def components() -> dict[str, Schema]:
    """Every schema by name."""
    found: dict[str, Schema] = {}
    for kind in KINDS.values():
        found |= _of_kind(kind)
    found["ConfigurationRequest"] = _object(
        {"configuration": reference("ClientConfiguration")}, ["configuration"]
    )
    _, parts = msgspec.json.schema_components(
        (Uplink, FeedAnswer, Record, Decision), ref_template="#/components/schemas/{name}"
    )
    found["Request"] = parts.pop("Record")
    found["Request"]["properties"]["decision"] = {"anyOf": [reference("Decision"), {"type": "null"}]}
    return dict(sorted({**parts, **found, **_PLAIN}.items()))


def _of_kind(kind: Kind) -> dict[str, Schema]:
    """`<Kind>Request`, `<Kind>Patch` where there is one, `<Kind>` as it is shown, and what they are made of."""
    whole = kind.model.model_json_schema(by_alias=True, ref_template=_REFERENCE)
    found: dict[str, Schema] = whole.pop("$defs", {})
    name = kind.name.capitalize()
    properties: Schema = whole["properties"]
    taken = {one: schema for one, schema in properties.items() if one not in {kind.id_name, *PARTS}}
    for one in ("clientId", "userId") if kind.name != "member" else ("clientId",):
        taken.pop(one, None)
    required = [one for one in whole.get("required", ()) if one in taken]
    found[f"{name}Request"] = _object(taken, required)
    if kind.name in {"client", "credential", "target", "proxy"}:
        found[f"{name}Patch"] = _object(taken, [])
    shown: Schema = {kind.id_name: _ID} if kind.name != "member" else {}
    if "clientId" in properties or kind.name in {"rule", "filter", "member"}:
        shown["clientId"] = _ID
    shown |= {one: _shown(one, schema) for one, schema in taken.items()} | _SHOWN_TOO.get(kind.name, {})
    if kind.name != "member":
        shown |= {kind.created_at: _TIME, kind.updated_at: _TIME}
    found[name] = {"type": "object", "properties": {**shown, "revision": _REVISION}}
    return found


def _shown(name: str, schema: Schema) -> Schema:
    return {**schema, "description": _ONCE} if name == "credentialSecret" else schema


def _object(properties: Schema, required: list[str]) -> Schema:
    made: Schema = {"type": "object", "additionalProperties": False, "properties": properties}
    return {**made, "required": required} if required else made


_COUNTED: Final[dict[str, Schema]] = {
    name: {"type": "integer", "minimum": 0}
    for name in ("requests", "granted", "denied", "limited", "failed", "bytesIn", "bytesOut")
}
_PERCENTILE: Final[Schema] = {
    "type": ["number", "null"],
    "description": "Milliseconds: the upper bound of the histogram's bucket that it lies in, not interpolated; 60000"
    " also stands for everything above; null without a duration",
}

_PLAIN: Final[dict[str, Schema]] = {
    "Problem": {
        "type": "object",
        "required": ["type", "title", "status", "detail", "code", "requestId"],
        "properties": {
            "type": {"type": "string", "format": "uri"},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string"},
            "code": {"type": "string"},
            "requestId": {"type": "string"},
            "errors": {
                "type": "array",
                "items": _object(
                    {"field": {"type": "string"}, "message": {"type": "string"}}, ["field", "message"]
                ),
            },
            "references": {
                "type": "array",
                "items": {"type": "string"},
                "description": "What stands in the way",
            },
        },
    },
    "HealthAnswer": _object(
        {"status": {"const": "ok"}, "message": {"const": "Success"}}, ["status", "message"]
    ),
    "ReadyAnswer": _object(
        {
            "ready": {"const": True},
            "message": {"const": "Success"},
            "regions": {
                "type": "array",
                "items": _object(
                    {
                        "region": {"type": "string"},
                        "status": {"enum": ["connected", "away"]},
                        "revision": _REVISION,
                        "acknowledged": _REVISION,
                        "vaultReady": {"type": "boolean"},
                        "edges": {"type": "integer"},
                    },
                    ["region", "status"],
                ),
            },
        },
        ["ready", "regions", "message"],
    ),
    "ConfigurationAnswer": _object(
        {
            "configuration": reference("ClientConfiguration"),
            "clients": {"type": "array", "items": reference("Client")},
            "message": {"const": "Success"},
        },
        ["configuration", "clients", "message"],
    ),
    "NothingRequest": _object({}, []),
    "TestRequest": _object({"credentialId": {"type": "string"}}, []),
    "Test": _object(
        {
            "status": {"type": ["integer", "null"], "description": "Of the target's answer"},
            "code": {"type": ["string", "null"], "description": "Why there was none"},
            "durationMs": {"type": ["number", "null"]},
        },
        ["status", "code", "durationMs"],
    ),
    "Audit": _object(
        {
            "auditId": {"type": "string"},
            "at": {"type": "string", "format": "date-time"},
            "actor": {"type": "string"},
            "action": {"type": "string"},
            "resourceType": {"type": "string"},
            "resourceId": {"type": "string"},
            "before": {"type": ["object", "null"]},
            "after": {"type": ["object", "null"]},
            "revision": _REVISION,
        },
        ["auditId", "at", "actor", "action", "resourceType", "resourceId", "before", "after", "revision"],
    ),
    "Telemetry": _object(
        {
            "at": {"type": "string", "format": "date-time", "description": "Begin of the bucket"},
            **_COUNTED,
            "p50": _PERCENTILE,
            "p95": _PERCENTILE,
            "p99": _PERCENTILE,
        },
        ["at", *_COUNTED, "p50", "p95", "p99"],
    ),
    "Usage": _object(
        {
            "month": {"type": "string"},
            "proxyId": {"type": ["string", "null"], "description": "null: the whole client"},
            **_COUNTED,
        },
        ["month", "proxyId", *_COUNTED],
    ),
    "Endpoint": _object(
        {
            "endpointRegion": {"type": "string"},
            "endpointKind": {"enum": ["shared", "dedicated"]},
            "endpointBaseURL": {"type": "string", "format": "uri"},
            "endpointStatus": {"enum": ["connected", "away"]},
            "endpointRevision": _REVISION,
            "endpointCreatedAt": _TIME,
            "endpointUpdatedAt": _TIME,
            "revision": _REVISION,
        },
        ["endpointRegion", "endpointKind", "endpointBaseURL", "endpointStatus", "endpointRevision"],
    ),
    "Revision": _object(
        {
            "revision": _REVISION,
            "at": {"type": "string", "format": "date-time"},
            "status": _STATE,
            "regions": {
                "type": "array",
                "items": _object(
                    {
                        "region": {"type": "string"},
                        "status": _STATE,
                        "revision": _REVISION,
                        "edges": {
                            "type": "array",
                            "items": _object(
                                {"edge": {"type": "string"}, "status": _STATE, "revision": _REVISION},
                                ["edge", "status", "revision"],
                            ),
                        },
                    },
                    ["region", "status", "revision", "edges"],
                ),
            },
        },
        ["revision", "at", "status", "regions"],
    ),
}
