"""The member: a user's roles in one client.

Values only; what a role may do stands in the Core API's table of routes.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator

from models.resources.base import ResourceId, Sequence, Value

Role = Literal["owner", "admin", "user", "auditor"]


class Member(Value):
    """A member of a client (API.md section 2, clients)."""

    read_only: ClassVar[frozenset[str]] = frozenset({"clientId", "revision"})

    user_id: ResourceId
    roles: Annotated[tuple[Role, ...], Sequence, Field(min_length=1, max_length=4)]

    @field_validator("roles")
    @classmethod
    def _each_once(cls, value: tuple[Role, ...]) -> tuple[Role, ...]:
        if len(set(value)) != len(value):
            raise ValueError("names a role twice")
        return value
