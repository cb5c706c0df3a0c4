"""The client: the tenant that owns credentials, targets and proxies, and its default limits.

Values only; members and roles belong to the control plane and are not held here.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import ConfigDict

from models.resources.base import Name, Permits, ResourceId, Value, wire_names


class Limits(Value):
    """Requests per UTC calendar minute and day; None is no limit."""

    requests_per_minute: Permits | None = None
    requests_per_day: Permits | None = None


class ClientConfiguration(Value):
    """What new proxies of the client inherit."""

    limits: Limits = Limits()


class Client(Value):
    """A tenant (API.md section 2, client)."""

    model_config = ConfigDict(alias_generator=wire_names("client", {}))
    read_only: ClassVar[frozenset[str]] = frozenset(
        {"clientMembers", "clientCreatedAt", "clientUpdatedAt", "revision"}
    )

    id: ResourceId
    name: Name
    configuration: ClientConfiguration = ClientConfiguration()
