"""Resources as callers see them: ids, times, revision and read-only fields added, what is internal left out.

Pure. No digest of a token, no key of a region and no secret is ever part of what is shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Protocol

from control_api.kinds import KINDS
from control_api.ledger.projection import Projection, Resource
from models.clock import iso_ms

INTERNAL: Final = frozenset({"tokenDigest", "regionKeyDigest", "vaultIdentity", "credentialPlacement"})
WITHHELD: Final = frozenset({"tokenDigest", "regionKeyDigest"})
"""What even the audit list leaves out."""


class Health(Protocol):
    """What is known of the regions at the moment."""

    def acknowledged(self, region: str) -> int:
        """The revision up to which a region has everything."""
        ...

    def failing(self, region: str) -> Mapping[str, str]:
        """Credentials that its vault could not take, and why."""
        ...


def show(resource: Resource, projection: Projection, health: Health) -> dict[str, Any]:
    """A resource's wire form, which may be sent back with PUT."""
    kind = KINDS[resource.kind]
    shown: dict[str, Any] = {kind.id_name: resource.id}
    if resource.client_id is not None and kind.owned:
        shown["clientId"] = resource.client_id
    if kind.name == "token" and resource.parent is not None:
        shown["userId"] = resource.parent[1]
    shown |= {
        name: value for name, value in resource.body.items() if name not in INTERNAL and name != "userId"
    }
    if kind.name == "credential":
        shown["credentialStatus"] = credential_status(resource, health)
    elif kind.name == "proxy":
        callers = shown["proxyProxyCredentialIds"]
        if len(callers) == 1:
            shown["proxyProxyCredentialId"] = callers[0]
        shown["proxyBaseURL"] = base_url(resource, projection)
    shown[kind.created_at] = iso_ms(resource.created_ms)
    shown[kind.updated_at] = iso_ms(resource.updated_ms)
    shown["revision"] = resource.revision
    return shown


def credential_status(resource: Resource, health: Health) -> str:
    """active, pending (its region has not taken over its last change yet), failing or revoked."""
    body = resource.body
    if body["credentialStatus"] == "revoked":
        return "revoked"
    region = body["credentialRegion"]
    if resource.id in health.failing(region):
        return "failing"
    return "active" if health.acknowledged(region) >= resource.revision else "pending"


def base_url(proxy: Resource, projection: Projection) -> str:
    """Where callers reach a proxy."""
    region = projection.get("region", proxy.body["proxyRegion"])
    root = "" if region is None else str(region.body["endpointBaseURL"]).rstrip("/")
    return f"{root}/api/{proxy.id}"


def show_members(client: Resource) -> list[dict[str, Any]]:
    """The members of a client, each with the client's revision, which `If-Match` is about."""
    return [
        {"clientId": client.id, **member, "revision": client.revision}
        for member in client.body["clientMembers"]
    ]


def audited(body: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """One side of a change as the audit list shows it."""
    if body is None:
        return None
    return {name: value for name, value in body.items() if name not in WITHHELD}
