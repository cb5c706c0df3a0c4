"""The target: the third-party API that a proxy leads to, and how its base URL is read.

A base URL is taken apart once, here, so that what is dialled, named in TLS and written in `Host` cannot
differ. Nothing here resolves or dials.
"""

from __future__ import annotations

import ipaddress
import re
import ssl
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import AfterValidator, ConfigDict, Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from models.canonical import canonical_target
from models.errors import RequestMalformed
from models.resources.base import Effect, Flag, Name, Region, ResourceId, Value, whole, wire_names
from models.resources.filter import Filters
from models.resources.rule import Rules

DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_URL_MAX: Final = 2048
_CA_MAX: Final = 262_144
_URL: Final = re.compile(r"(?i:(https?)://)([^/?#]*)(/[^?#]*)?")
_AUTHORITY: Final = re.compile(r"(\[[^\]]*\]|[^:\[\]]*)(?::([0-9]*))?")
_LABEL: Final = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")


@dataclass(frozen=True, slots=True)
class BaseURL:
    """A target's base URL, taken apart.

    scheme: `http` or `https`. host: lower case; an IPv6 address without brackets. port: always a number.
    path: canonical, without a slash at its end; empty for the root. authority: as it goes into `Host`,
    IPv6 in brackets, the scheme's default port left out.
    """

    scheme: str
    host: str
    port: int
    path: str
    authority: str

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}{self.path}"


def parse_base_url(text: str) -> BaseURL:
    """Takes `targetBaseURL` apart. Raises ValueError, whose message does not repeat the URL."""
    if len(text) > _URL_MAX:
        raise ValueError(f"must be at most {_URL_MAX} characters long")
    if not text.isascii():
        raise ValueError("must be ASCII; write an international host name in its xn-- form")
    if not text.isprintable() or " " in text or "\\" in text:
        raise ValueError("must not contain blanks, control characters or backslashes")
    for character, part in (("?", "query"), ("#", "fragment")):
        if character in text:
            raise ValueError(f"must not have a {part}")
    match = _URL.fullmatch(text)
    if match is None:
        raise ValueError("must be an http:// or https:// URL")
    scheme, authority, path = match[1].lower(), match[2].lower(), match[3] or ""
    if "@" in authority:
        raise ValueError("must not hold a user or password; use a target credential")
    host, port = _host_and_port(authority, DEFAULT_PORTS[scheme])
    shown = f"[{host}]" if ":" in host else host
    if port != DEFAULT_PORTS[scheme]:
        shown += f":{port}"
    return BaseURL(scheme, host, port, _base_path(path), shown)


def _host_and_port(authority: str, default: int) -> tuple[str, int]:
    match = _AUTHORITY.fullmatch(authority)
    if match is None:
        raise ValueError("has a host or port that cannot be read")
    host, digits = match[1], match[2]
    port = default
    if digits is not None:
        port = int(digits) if 0 < len(digits) <= 5 else 0
        if not 1 <= port <= 65535:
            raise ValueError("must have a port from 1 to 65535, or none")
    if host.startswith("["):
        try:
            address = ipaddress.IPv6Address(host[1:-1])
        except ValueError:
            address = None
        if address is None or address.scope_id is not None:
            raise ValueError("has a bad IPv6 address (a zone is not allowed)")
        return address.compressed, port
    _check_host(host)
    return host, port


def _check_host(host: str) -> None:
    if not host:
        raise ValueError("must name a host")
    labels = host.split(".")
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise ValueError("has a bad host name")
    # The resolver reads 127.1, 0x7f.1 and 2130706433 as addresses; only the plain form is unambiguous.
    if _NUMBER.fullmatch(labels[-1]):
        try:
            ipaddress.IPv4Address(host)
        except ValueError:
            raise ValueError("has a bad IPv4 address") from None


def _base_path(path: str) -> str:
    if path in {"", "/"}:
        return ""
    try:
        canonical = canonical_target(path.encode())[0].decode()
    except RequestMalformed as error:
        raise ValueError(f"has a path that is not canonical: {error.detail}") from None
    canonical = canonical.removesuffix("/")
    if "//" in canonical or canonical.endswith("/"):
        raise ValueError("has a path with an empty segment")
    return canonical


def _to_base_url(value: object) -> BaseURL:
    if isinstance(value, BaseURL):
        return value
    if not isinstance(value, str):
        raise PydanticCustomError("wrong_type", "must be a string")
    return parse_base_url(value)


class _BaseURLSchema:
    """Teaches pydantic the BaseURL type: a string on the wire, in canonical form when given back."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        del source, handler
        return core_schema.no_info_plain_validator_function(
            _to_base_url, serialization=core_schema.to_string_ser_schema(when_used="always")
        )

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        del schema, handler
        return {"type": "string", "format": "uri", "maxLength": _URL_MAX}


def _check_ca(value: str) -> str:
    if "PRIVATE KEY" in value:
        raise ValueError("must hold certificates only, never a private key")
    if not value.isascii():
        raise ValueError("must be one or more certificates in PEM form")
    try:
        ssl.create_default_context(cadata=value)
    except (ssl.SSLError, ValueError):
        raise ValueError("must be one or more certificates in PEM form") from None
    return value


def _check_test_path(value: str) -> str:
    if not value.startswith("/") or "#" in value:
        raise ValueError("must start with / and have no fragment")
    try:
        canonical_target(value.encode())
    except (RequestMalformed, UnicodeEncodeError):
        raise ValueError("is not a canonical path and query") from None
    return value


class Target(Value):
    """An upstream API (API.md section 2, target). timeout_ms: until the response head, in milliseconds."""

    model_config = ConfigDict(
        alias_generator=wire_names(
            "target",
            {
                "client_id": "clientId",
                "rules": "rules",
                "filters": "filters",
                "base_url": "targetBaseURL",
                "ca": "targetCA",
            },
        )
    )
    read_only: ClassVar[frozenset[str]] = frozenset({"targetCreatedAt", "targetUpdatedAt", "revision"})
    later: ClassVar[frozenset[str]] = frozenset({"validators"})

    id: ResourceId
    client_id: ResourceId
    name: Name
    base_url: Annotated[BaseURL, _BaseURLSchema()]
    test_path: Annotated[str, Field(max_length=_URL_MAX), AfterValidator(_check_test_path)] | None = None
    region: Region
    default_rule_effect: Effect = "allow"
    timeout_ms: Annotated[int, whole(1, 3_600_000)] = 30_000
    connections: Annotated[int, whole(1, 65_536)] = 256
    ca: Annotated[str, Field(min_length=1, max_length=_CA_MAX), AfterValidator(_check_ca)] | None = None
    scrub: Literal["full", "headers", "off"] = "full"
    cookies: Flag = False
    path_strict: Flag = True
    rules: Rules = ()
    filters: Filters = ()
