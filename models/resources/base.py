"""What all resources share: the frozen base model, wire names, bounded types and the secret field type.

Attribute names are plain here; the name on the wire comes from an alias generator per resource. A secret
must never be serialised in clear or reach an error text, so errors of these models hide their input.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
)
from pydantic.alias_generators import to_camel
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from models.errors import PatternError
from models.ids import RESOURCE_ID
from models.patterns import pattern_size
from models.secret import Secret

MASK: Final = "**********"
_REGION: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")
SECRET_MAX_BYTES: Final = 8192
"""A secret shares the head with the rest of the request; longer ones do not fit usual servers' limits."""


class Value(BaseModel):
    """Base of resources and their parts: immutable, closed against unknown fields, silent about input.

    read_only: wire names that only the control plane sets. later: wire names of API.md that this version
    does not have. Both are refused with a message that says so.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        validate_by_alias=True,
        validate_by_name=True,
        alias_generator=to_camel,
    )

    read_only: ClassVar[frozenset[str]] = frozenset()
    later: ClassVar[frozenset[str]] = frozenset()


def wire_names(prefix: str, irregular: Mapping[str, str]) -> Callable[[str], str]:
    """Alias generator of one resource: `name` -> `proxyName`; `irregular` holds the exceptions."""

    def alias(attribute: str) -> str:
        return irregular.get(attribute) or to_camel(f"{prefix}_{attribute}")

    return alias


def _check_id(value: str) -> str:
    if not RESOURCE_ID.match(value):
        raise ValueError(
            "must be 1 to 128 URL-safe characters (letters, digits, . _ ~ -), the first a letter or digit"
        )
    return value


def _check_name(value: str) -> str:
    if not value.isprintable() or value != value.strip():
        raise ValueError("must be printable, without blanks at its ends")
    return value


def check_region(value: str) -> str:
    """A region's name, fit for paths, labels and host names. Raises ValueError."""
    if not _REGION.fullmatch(value):
        raise ValueError("must be 1 to 63 letters, digits, - or _, the first a letter or digit")
    return value


def _check_pattern(value: str) -> str:
    try:
        pattern_size(value)
    except PatternError as error:
        raise ValueError(error.message) from None
    return value


def _sequence(value: object) -> object:
    """Tuples are written as lists; nothing else is a sequence on the wire."""
    if isinstance(value, (list, tuple)):
        return tuple(value)
    raise PydanticCustomError("wrong_type", "must be a list")


def whole(least: int, most: int) -> Any:
    """Field constraints of a whole number; `true`, `"5"` and `5.0` are not numbers on the wire."""
    return Field(strict=True, ge=least, le=most)


Sequence = BeforeValidator(_sequence)
Flag = Annotated[bool, Field(strict=True)]
Effect = Literal["allow", "deny"]
Presence = Literal["must_exist", "must_not_exist"]
ResourceId = Annotated[str, AfterValidator(_check_id)]
Name = Annotated[str, Field(min_length=1, max_length=128), AfterValidator(_check_name)]
Region = Annotated[str, AfterValidator(check_region)]
Pattern = Annotated[str, AfterValidator(_check_pattern)]
Permits = Annotated[int, whole(1, 1_000_000_000)]
"""Requests in a window; zero is refused, because it reads as `none allowed` and as `no limit` alike."""


def _to_secret(value: object) -> Secret:
    """A secret fit for a header or query: printable ASCII, no blanks at its ends, bounded."""
    if isinstance(value, str):
        # surrogatepass: an encoding error would carry the secret inside the exception object.
        value = Secret(value.encode("utf-8", "surrogatepass"))
    if not isinstance(value, Secret):
        raise PydanticCustomError("wrong_type", "must be a string")
    text = value.reveal()
    if not text:
        raise ValueError("must not be empty")
    if len(text) > SECRET_MAX_BYTES:
        raise ValueError(f"must be at most {SECRET_MAX_BYTES} bytes long")
    if min(text) < 0x20 or max(text) > 0x7E:
        raise ValueError("must be printable ASCII without control characters")
    if text != text.strip():
        raise ValueError("must not begin or end with a blank")
    return value


class _SecretSchema:
    """Teaches pydantic the Secret type: taken from a string, given back only as a mask."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        del source, handler
        return core_schema.no_info_plain_validator_function(
            _to_secret,
            serialization=core_schema.plain_serializer_function_ser_schema(lambda _: MASK),
        )

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        del schema, handler
        return {"type": "string", "writeOnly": True, "maxLength": SECRET_MAX_BYTES}


SecretText = Annotated[Secret, _SecretSchema()]
