"""The credential: how a caller proves itself to the edge, or the edge to a target.

Which shape `secret` has follows from `auth_type`. Secret values are `Secret` throughout and never leave
this model in clear.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Final, Literal

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_core import PydanticCustomError

from models.resources.base import Effect, Flag, Name, Region, ResourceId, Value, whole, wire_names
from models.resources.filter import Filters
from models.resources.moment import Moment
from models.resources.problems import Problem, as_error, problems
from models.resources.rule import Rules
from models.resources.secrets import SECRET_KINDS, NoSecret, SecretBody, secret_values

LEAST_LENGTH: Final = {"proxy": 16, "target": 8}
"""Bytes. A caller's secret must resist guessing; a target's must be long enough to be scrubbed."""

_LATER_AUTH_TYPES: Final = frozenset(
    {"jwt", "basicAuth", "custom", "customToken", "oauth2", "jwtVerify", "awsSigV4", "mtls"}
)
_GENERATED: Final = frozenset({"apiKey", "bearer"})


def _check_auth_type(value: object) -> object:
    if isinstance(value, str) and value in _LATER_AUTH_TYPES:
        raise ValueError(f"{value} is not available in this version (apiKey, bearer and none are)")
    return value


class Credential(Value):
    """A proxy or target credential (API.md section 2, credential and secrets).

    secret: None only on the proxy side, for apiKey and bearer, where the control plane generates one.
    overlap_seconds: how long an old proxy secret stays valid after it was replaced.
    """

    model_config = ConfigDict(
        alias_generator=wire_names(
            "credential", {"client_id": "clientId", "rules": "rules", "filters": "filters"}
        )
    )
    read_only: ClassVar[frozenset[str]] = frozenset(
        {"credentialVersion", "credentialStatus", "credentialCreatedAt", "credentialUpdatedAt", "revision"}
    )

    id: ResourceId
    client_id: ResourceId
    name: Name
    type: Literal["proxy", "target"]
    auth_type: Annotated[Literal["apiKey", "bearer", "none"], BeforeValidator(_check_auth_type)]
    region: Region
    secret: SecretBody | None = Field(default=None, validate_default=True)
    default_rule_effect: Effect = "allow"
    expires_at: Moment | None = None
    offline: Flag = True
    overlap_seconds: Annotated[int, whole(0, 31_536_000)] = 0
    rules: Rules = ()
    filters: Filters = ()

    @field_validator("auth_type")
    @classmethod
    def _side_of_none(cls, value: str, info: ValidationInfo) -> str:
        if value == "none" and info.data.get("type") == "proxy":
            raise ValueError("none is for target credentials only: a caller always authenticates")
        return value

    @field_validator("secret", mode="before")
    @classmethod
    def _shape(cls, value: object, info: ValidationInfo) -> SecretBody | None:
        """Reads the shape that the auth type asks for; a nested error keeps its own location."""
        auth_type, side = info.data.get("auth_type"), info.data.get("type")
        if auth_type is None or side is None:
            return None  # reported where it is wrong; the shape cannot be known
        kind = SECRET_KINDS[auth_type]
        if value is None:
            if auth_type == "none":
                return NoSecret()
            if side == "proxy" and auth_type in _GENERATED:
                return None
            raise ValueError(f"is required for a {side} credential of type {auth_type}")
        if isinstance(value, kind):
            return value
        if not isinstance(value, dict):
            names = ", ".join(field.alias or "" for field in kind.model_fields.values())
            message = f"must be a mapping with the fields of {auth_type} ({names or 'none'})"
            raise PydanticCustomError("wrong_type", message)
        try:
            return kind.model_validate(value, by_alias=True, by_name=False)
        except ValidationError as error:
            # Raised anew without input, and without names that may be a secret in the wrong place.
            raise as_error(problems(kind, error, below_secret=True)) from None

    @field_validator("secret")
    @classmethod
    def _long_enough(cls, value: SecretBody | None, info: ValidationInfo) -> SecretBody | None:
        side = info.data.get("type")
        if value is not None and side is not None:
            least = LEAST_LENGTH[side]
            message = f"of a {side} credential must have at least {least} characters"
            short = [
                Problem((name,), message) for name, secret in secret_values(value) if len(secret) < least
            ]
            if short:
                raise as_error(short)
        return value
