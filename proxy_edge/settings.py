"""The edge's settings: one typed model over `EXEAT_…` environment variables and command line options.

This is the only place of the edge that reads the environment. A value that does not say exactly what
its type asks for is refused by the setting's name, never guessed at, cut short or replaced by a default.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import Field, SecretBytes, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from models.errors import ConfigurationError
from models.secret import Secret
from models.setting_types import Count, NamedError, Port, Seconds, Switch, is_loopback, refused, variable

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_TOKEN = re.compile(r"[a-z0-9][a-z0-9!#$%&'*+.^_`|~-]{0,63}\Z")
_SECRET_TYPES = (Secret, SecretStr, SecretBytes)
_MASK = "**********"

# A prefix names a family of headers that the edge takes away. These families are somebody else's.
_TAKEN_PREFIXES = frozenset(
    re.split(
        r"\s+",
        "accept access age alt authorization cache connection content cookie cross date dnt etag expect expires"
        " forwarded from host http if keep last link location max origin permissions pragma priority proxy range"
        " ratelimit referer referrer refresh retry sec server set strict te timing trailer transfer upgrade user"
        " vary via want warning www x",
    )
)


class EdgeSettings(BaseSettings):
    """Everything one edge can be told. Field `x_y` is the environment variable `EXEAT_X_Y`."""

    model_config = SettingsConfigDict(
        env_prefix="EXEAT_",
        env_ignore_empty=True,
        enable_decoding=False,
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        validate_default=False,
    )

    home: Path = Field(
        Path(".exeat"), description="directory of all state: rings, records, counters, logs, pid files"
    )
    policy: Path | None = Field(
        None, description="policy file (YAML) that an edge alone serves; unset: policy comes over the link"
    )
    region: str | None = Field(
        None,
        pattern=r"^[a-z0-9][a-z0-9-]{0,62}$",
        description="the region this edge serves; needed without a policy file, and a file for another is refused",
    )
    ray_address: str | None = Field(
        None, description="host:port of the region's Ray cluster, for the link; needed without a policy file"
    )
    ray_token_file: Path | None = Field(None, description="file with the token of the Ray cluster")
    ray_epoch_file: Path | None = Field(
        None,
        description="file that changes when the Ray cluster is a new one; the link then leaves and comes back",
    )
    limiter_shards: Annotated[Count, Field(le=64)] = Field(
        1,
        description="how many limiters divide the region's counters; the same for its actors and all its edges",
    )
    host: str = Field("127.0.0.1", min_length=1, max_length=255, description="address to listen on")
    port_base: Annotated[Port, Field(ge=1, le=65534)] = Field(
        7700, description="first port of this installation; the edge of the first region listens one above it"
    )
    port: Port | None = Field(None, description="port of this edge; unset: port_base + 1; 0: any free one")
    workers: Annotated[Count, Field(le=256)] = Field(1, description="worker processes that share the port")
    insecure_bind: Switch = Field(
        default=False, description="true lets the edge listen on a non-loopback address without TLS"
    )
    tls_certificate: Path | None = Field(None, description="certificate chain (PEM) to serve TLS with")
    tls_key: Path | None = Field(None, description="private key (PEM) of tls_certificate")
    egress_allow: str = Field(
        "", description="comma list of networks or host:port that targets may reach although private"
    )
    trusted_proxies: str = Field("", description="comma list of networks whose X-Forwarded-For counts")
    header_prefix: str = Field("exeat", description="prefix of the headers the edge adds to every answer")

    head_seconds: Seconds = Field(10.0, description="deadline from a request's first byte to its whole head")
    first_byte_seconds: Seconds = Field(
        10.0, description="deadline from accepting a connection to its first byte"
    )
    keepalive_seconds: Seconds = Field(
        75.0, description="how long a caller's connection may idle between requests"
    )
    body_idle_seconds: Seconds = Field(60.0, description="longest silence inside a body, in either direction")
    connect_seconds: Seconds = Field(5.0, description="deadline for connecting to a target, TLS included")

    request_line_bytes: Count = Field(8192, description="longest request line")
    head_bytes: Count = Field(65536, description="longest request head")
    head_fields: Count = Field(100, description="most header fields of one head")
    trailer_bytes: Count = Field(
        16384, description="most bytes of chunk extensions and trailers of one message"
    )
    pipelined_requests: Count = Field(16, description="pipelined requests held before reading pauses")
    pipelined_bytes: Count = Field(
        65536, description="bytes of pipelined requests held before reading pauses"
    )

    record_slots: Annotated[Count, Field(le=1 << 20)] = Field(
        4096, description="open or undelivered records that one worker's ring holds"
    )
    spool_bytes: Annotated[Count, Field(le=1 << 50)] = Field(
        1 << 30,
        description="bytes of records kept on disk while the control plane is away, without a policy file; then rings fill; a tenth more of what it refused",
    )
    drain_seconds: Seconds = Field(30.0, description="how long requests in flight may take after SIGTERM")
    offline_seconds: Seconds = Field(
        900.0, description="how long the last policy is served without its source"
    )
    target_keepalive_seconds: Seconds = Field(
        2.0,
        description="keep-alive expected of targets; unsafe methods reuse a connection idle less than half of it",
    )
    policy_poll_seconds: Seconds = Field(
        0.25, description="how often the policy file is looked at for a change"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="least level logged")
    log_stderr: Switch = Field(
        default=True, description="also log to stderr, not only to <home>/logs/edge.log"
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not _TOKEN.match(self.header_prefix):
            raise NamedError("header_prefix", "must be a lower-case HTTP token")
        if self.header_prefix.split("-", 1)[0] in _TAKEN_PREFIXES:
            raise NamedError("header_prefix", "is the beginning of standard header names")
        if (self.tls_certificate is None) != (self.tls_key is None):
            missing = "tls_key" if self.tls_key is None else "tls_certificate"
            raise NamedError(missing, "certificate and key are given together")
        if self.tls_certificate is None and not self.insecure_bind and not is_loopback(self.host):
            raise NamedError(
                "host",
                f"{self.host} is not a loopback address: give EXEAT_TLS_CERTIFICATE and EXEAT_TLS_KEY,"
                " or accept plain HTTP with EXEAT_INSECURE_BIND=true",
            )
        if self.policy_poll_seconds >= self.offline_seconds:
            raise NamedError(
                "policy_poll_seconds",
                "must be shorter than EXEAT_OFFLINE_SECONDS, or every poll would come too late",
            )
        _ = self.trusted_networks
        return self

    @property
    def listen_port(self) -> int:
        """The port to bind: `port`, else one above `port_base`."""
        return self.port_base + 1 if self.port is None else self.port

    @property
    def scheme(self) -> str:
        """`https` when a certificate is given, else `http`."""
        return "http" if self.tls_certificate is None else "https"

    @cached_property
    def trusted_networks(self) -> tuple[Network, ...]:
        """`trusted_proxies`, parsed; a bare address is a network of one."""
        networks = []
        for piece in self.trusted_proxies.split(","):
            if text := piece.strip():
                try:
                    networks.append(ipaddress.ip_network(text))
                except ValueError:
                    raise NamedError(
                        "trusted_proxies", f"{text} is not a network such as 10.0.0.0/8"
                    ) from None
        return tuple(networks)

    @classmethod
    def load(cls, **options: Any) -> Self:
        """Settings from the environment, with `options` (those that are not None) above it.

        Raises ConfigurationError whose field is the environment variable's name.
        """
        try:
            return cls(**{name: value for name, value in options.items() if value is not None})
        except ValidationError as error:
            raise refused(error) from None

    def check_mode(self) -> None:
        """Raises ConfigurationError when neither a policy file nor all that a link needs is given."""
        if self.policy is not None:
            return
        if self.region is None:
            raise ConfigurationError(
                "give the region to serve with --region, or a policy file with --policy",
                field=variable("region"),
            )
        if self.ray_address is None:
            raise ConfigurationError(
                "is needed to take the policy from the region's cluster", field=variable("ray_address")
            )

    def check_files(self) -> None:
        """Raises ConfigurationError when a file that a setting names is not there."""
        for name in ("policy", "tls_certificate", "tls_key"):
            path: Path | None = getattr(self, name)
            if path is not None and not path.is_file():
                raise ConfigurationError(f"there is no file {path}", field=variable(name))


class SettingLine(NamedTuple):
    """One line of `exeat settings`; secret values are masked in both `default` and `value`."""

    name: str
    value: str
    default: str
    description: str


def describe(settings: BaseSettings) -> list[SettingLine]:
    """Every setting in the order of its model: variable, default, current value, description."""
    return [
        SettingLine(
            variable(name),
            _shown(getattr(settings, name)),
            "" if field.is_required() else _shown(field.default),
            field.description or "",
        )
        for name, field in type(settings).model_fields.items()
    ]


def _shown(value: object) -> str:
    if isinstance(value, _SECRET_TYPES):
        return _MASK
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def environment() -> Mapping[str, str]:
    """The process environment, for `{env: NAME}` references of a policy file; the only other use of it."""
    return os.environ
