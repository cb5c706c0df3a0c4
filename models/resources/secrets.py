"""The shapes of `credentialSecret`, one class per auth type (API.md section 2, secrets).

The secret part of each is a `Secret`; the rest says where and how it stands in a request. A name that
would alter framing or belongs to one hop is never accepted, because the edge injects there.
"""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field, ValidationInfo

from models.fields import FRAMING, HOP_BY_HOP, RANGE_AND_CODING
from models.resources.base import SecretText, Value
from models.secret import Secret

_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}")
"""RFC 9110 section 5.6.2, with a bound of ours."""
_REFUSED_HEADERS: Final = frozenset(name.decode() for name in HOP_BY_HOP | FRAMING | RANGE_AND_CODING) | {
    "expect",
    "forwarded",
    "proxy-authorization",
    "via",
}
_REFUSED_PREFIXES: Final = ("exeat-", "x-forwarded-")


def _check_prefix(value: str) -> str:
    if not value.isascii() or not value.isprintable() or " " in value:
        raise ValueError("must be one word of printable ASCII")
    return value


Prefix = Annotated[str, Field(max_length=64), AfterValidator(_check_prefix)]
"""The scheme word that stands before the secret, with one blank between; empty for a raw value."""


def _check_place(value: str, info: ValidationInfo) -> str:
    if info.data.get("location") == "query":
        if not value.isascii() or not value.isprintable():
            raise ValueError("must be printable ASCII")
        return value
    if not _TOKEN.fullmatch(value):
        raise ValueError("must be a header name (RFC 9110 token)")
    if value.lower() in _REFUSED_HEADERS or value.lower().startswith(_REFUSED_PREFIXES):
        raise ValueError("is a framing, hop-by-hop or proxy header; a credential cannot stand there")
    return value


Location = Literal["header", "query"]
Place = Annotated[str, Field(min_length=1, max_length=256), AfterValidator(_check_place)]
"""A header or query name that a credential may have; it is judged by the field `location` before it."""


class Placement(Value):
    """Where a credential stands in a request: what is not secret of a secret's shape. location: `in` on the wire."""

    location: Location = Field(default="header", alias="in")
    name: Place = "Authorization"
    prefix: Prefix = ""


class ApiKeySecret(Value):
    """A key in a header or query parameter. location: `in` on the wire."""

    key: SecretText
    location: Location = Field(default="header", alias="in")
    name: Place = "Authorization"
    prefix: Prefix = ""


class BearerSecret(Value):
    """A token in `Authorization`, after its scheme word (RFC 6750 section 2.1)."""

    token: SecretText
    prefix: Prefix = "Bearer"


class NoSecret(Value):
    """The target asks for no credential; target side only."""


SecretBody = ApiKeySecret | BearerSecret | NoSecret

SECRET_KINDS: Final[dict[str, type[ApiKeySecret | BearerSecret | NoSecret]]] = {
    "apiKey": ApiKeySecret,
    "bearer": BearerSecret,
    "none": NoSecret,
}
SECRET_FIELD_OF: Final[dict[str, str]] = {"apiKey": "key", "bearer": "token"}
"""Wire name of the one secret value of each auth type that has one."""
SECRET_FIELDS: Final[frozenset[str]] = frozenset(SECRET_FIELD_OF.values())
"""Wire names, below `credentialSecret`, of the values that are secret in themselves."""


def placement_of(body: SecretBody) -> Placement | None:
    """Where the credential stands in a request; None for `none`."""
    if isinstance(body, ApiKeySecret):
        return Placement.model_validate({"in": body.location, "name": body.name, "prefix": body.prefix})
    if isinstance(body, BearerSecret):
        return Placement(prefix=body.prefix)
    return None


def secret_values(body: SecretBody) -> tuple[tuple[str, Secret], ...]:
    """(wire name, value) of everything secret in `body`."""
    if isinstance(body, ApiKeySecret):
        return (("key", body.key),)
    if isinstance(body, BearerSecret):
        return (("token", body.token),)
    return ()
