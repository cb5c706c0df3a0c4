"""The token: what a user presents to the Core API, and how far it reaches.

Values only; the token's text is never part of this model.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field, field_validator

from models.resources.base import Name, ResourceId, Sequence, Value, wire_names
from models.resources.moment import Moment

Scope = Literal["read", "write", "operate"]
"""What a token is good for; none includes another."""


class Token(Value):
    """A token (API.md section 2, users and tokens). scopes: each at most once, in the order given."""

    model_config = ConfigDict(alias_generator=wire_names("token", {"user_id": "userId"}))
    read_only: ClassVar[frozenset[str]] = frozenset(
        {"tokenValue", "tokenCreatedAt", "tokenUpdatedAt", "revision", "clientId"}
    )

    id: ResourceId
    user_id: ResourceId
    name: Name
    scopes: Annotated[tuple[Scope, ...], Sequence, Field(min_length=1, max_length=3)]
    expires_at: Moment | None = None

    @field_validator("scopes")
    @classmethod
    def _each_once(cls, value: tuple[Scope, ...]) -> tuple[Scope, ...]:
        if len(set(value)) != len(value):
            raise ValueError("names a scope twice")
        return value
