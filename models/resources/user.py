"""The user: a person or service that holds tokens and is a member of clients.

Values only. Which clients a user belongs to, and as what, stands in those clients.
"""

from __future__ import annotations

import re
from typing import Annotated, ClassVar, Final

from pydantic import AfterValidator, ConfigDict, Field

from models.resources.base import Name, ResourceId, Value, wire_names

_EMAIL: Final = re.compile(r"[^@\s\x00-\x1f\x7f]{1,64}@[^@\s\x00-\x1f\x7f]{1,189}")


def _check_email(value: str) -> str:
    if not value.isprintable() or not _EMAIL.fullmatch(value):
        raise ValueError("must be an e-mail address such as name@example.org")
    return value


class User(Value):
    """A user (API.md section 2, users). The platform's operator is made at the first start, never over the API."""

    model_config = ConfigDict(alias_generator=wire_names("user", {}))
    read_only: ClassVar[frozenset[str]] = frozenset(
        {"clientId", "operator", "userCreatedAt", "userUpdatedAt", "revision"}
    )

    id: ResourceId
    name: Name
    email: Annotated[str, Field(max_length=254), AfterValidator(_check_email)] | None = None
