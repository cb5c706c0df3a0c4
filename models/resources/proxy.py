"""The proxy: joins proxy credentials, one target and one target credential under an address of its own.

Values only. That the ids it names exist, and belong together, is checked where all resources are known.
"""

from __future__ import annotations

import re
from typing import Annotated, ClassVar, Final, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from models.ids import PREFIXES
from models.resources.base import (
    Effect,
    Flag,
    Name,
    Permits,
    Region,
    ResourceId,
    Sequence,
    Value,
    whole,
    wire_names,
)
from models.resources.filter import Filters
from models.resources.rule import Rules

_LOOKS_LIKE_AN_ID: Final = re.compile(
    rf"(?:{'|'.join([*PREFIXES.values(), 'proxy', 'req'])})_[0-9a-f]*"
    r"|[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}|[0-9a-f]{32}",
    re.IGNORECASE,
)
_SINGLE: Final = "proxyProxyCredentialId"
_BYTES: Final = whole(1, 1_073_741_824)


def _check_alias(value: str) -> str:
    if _LOOKS_LIKE_AN_ID.fullmatch(value) or value.lower().startswith("prx_"):
        raise ValueError("must not look like an id")
    return value


def _check_upgrade(value: object) -> object:
    if value == "websocket":
        raise ValueError("websocket is not available in this version")
    return value


class Proxy(Value):
    """A proxy (API.md section 2, proxy).

    proxy_credential_ids: the credentials of which a caller presents one; on the wire either this list or
    the single id. single_credential_id: that id when there is just one, as it is read back.
    """

    model_config = ConfigDict(
        alias_generator=wire_names("proxy", {"client_id": "clientId", "rules": "rules", "filters": "filters"})
    )
    read_only: ClassVar[frozenset[str]] = frozenset(
        {"proxyBaseURL", "proxyCreatedAt", "proxyUpdatedAt", "revision"}
    )
    later: ClassVar[frozenset[str]] = frozenset({"meters", "validators"})

    id: ResourceId
    client_id: ResourceId
    name: Name
    region: Region
    single_credential_id: ResourceId | None = Field(default=None, alias=_SINGLE)
    proxy_credential_ids: Annotated[tuple[ResourceId, ...], Sequence, Field(min_length=1, max_length=16)] = (
        Field(default=(), validate_default=True)
    )
    target_id: ResourceId
    target_credential_id: ResourceId
    active: Flag = True
    default_rule_effect: Effect = "allow"
    alias: Annotated[ResourceId, AfterValidator(_check_alias)] | None = None
    max_requests_per_minute: Permits | None = None
    max_requests_per_day: Permits | None = None
    max_body_bytes: Annotated[int, _BYTES] = 10_485_760
    max_response_bytes: Annotated[int, _BYTES] = 52_428_800
    upgrade: Annotated[Literal["none"], BeforeValidator(_check_upgrade)] = "none"
    record_policy: Literal["block", "drop"] = "block"
    rules: Rules = ()
    filters: Filters = ()

    @field_validator("proxy_credential_ids", mode="before")
    @classmethod
    def _one_of_two_forms(cls, value: object, info: ValidationInfo) -> object:
        single = info.data.get("single_credential_id")
        if "single_credential_id" not in info.data:
            return ("reported-at-the-single-id",)
        if single is not None:
            if value not in ((), None):
                raise ValueError(f"give either this or {_SINGLE}, not both")
            return (single,)
        if value in ((), None):
            raise ValueError(f"is required (or {_SINGLE}): a caller always authenticates")
        return value

    @field_validator("proxy_credential_ids")
    @classmethod
    def _no_id_twice(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) != len(value):
            raise ValueError("names a credential twice")
        return value

    @model_validator(mode="after")
    def _read_back(self) -> Self:
        """Both forms compare and read back alike: a list of one has its single id, and the reverse."""
        only = self.proxy_credential_ids[0] if len(self.proxy_credential_ids) == 1 else None
        self.__dict__["single_credential_id"] = only
        return self
