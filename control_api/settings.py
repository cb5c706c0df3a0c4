"""The control API's settings: one typed model over `EXEAT_…` environment variables and command line options.

The only place of `control_api` that reads them. A value that does not say exactly what its type asks for is refused
by the setting's name, never guessed at.
"""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BeforeValidator, Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from control_api.ledger.crash import POINTS
from models.errors import ConfigurationError

_INTEGER: Final = re.compile(r"[0-9]{1,15}")
_NUMBER: Final = re.compile(r"[0-9]{1,12}(\.[0-9]{1,9})?")


def _whole(value: object) -> object:
    # Pydantic alone would take "1.0", "1_000" and " 5 " for an integer.
    if isinstance(value, str):
        if not _INTEGER.fullmatch(value):
            raise ValueError("must be a whole number")
        return int(value)
    return value


def _number(value: object) -> object:
    # Pydantic alone would take "inf", "nan" and "1e400" for a number.
    if isinstance(value, str):
        if not _NUMBER.fullmatch(value):
            raise ValueError("must be a number such as 10 or 0.5")
        return float(value)
    return value


def _switch(value: object) -> object:
    # Pydantic alone would take "t", "y", "on" and more; a switch that opens a port is spelled out.
    if isinstance(value, str):
        if value.lower() not in {"true", "false"}:
            raise ValueError("must be true or false")
        return value.lower() == "true"
    return value


Port = Annotated[int, BeforeValidator(_whole), Field(ge=0, le=65535)]
Seconds = Annotated[float, BeforeValidator(_number), Field(gt=0, le=86_400)]
Switch = Annotated[bool, BeforeValidator(_switch)]


class ControlSettings(BaseSettings):
    """Everything the control API can be told. Field `x_y` is the environment variable `EXEAT_X_Y`."""

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
        Path(".exeat"), description="directory of all state: control store, keys, owner's token, logs"
    )
    host: str = Field("127.0.0.1", min_length=1, max_length=255, description="address to listen on")
    port_base: Annotated[Port, Field(ge=1)] = Field(
        7700, description="first port of this installation, the control API's"
    )
    port: Port | None = Field(None, description="port of the control API; unset: port_base; 0: any free one")
    insecure_bind: Switch = Field(
        default=False, description="true lets it listen on a non-loopback address without TLS"
    )
    tls_certificate: Path | None = Field(None, description="certificate chain (PEM) to serve TLS with")
    tls_key: Path | None = Field(None, description="private key (PEM) of tls_certificate")
    drain_seconds: Seconds = Field(10.0, description="how long requests in flight may take after SIGTERM")
    crash_point: str = Field(
        "", description="for tests: the named point of a write at which the process ends as if killed"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="least level logged")
    log_stderr: Switch = Field(
        default=True, description="also log to stderr, not only to <home>/logs/control.log"
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.tls_certificate is None) != (self.tls_key is None):
            missing = "tls_key" if self.tls_key is None else "tls_certificate"
            raise _NamedError(missing, "certificate and key are given together")
        if self.tls_certificate is None and not self.insecure_bind and not is_loopback(self.host):
            raise _NamedError(
                "host",
                f"{self.host} is not a loopback address: give EXEAT_TLS_CERTIFICATE and EXEAT_TLS_KEY,"
                " or accept plain HTTP with EXEAT_INSECURE_BIND=true",
            )
        if self.crash_point and self.crash_point not in POINTS:
            raise _NamedError("crash_point", f"must be one of {', '.join(POINTS)}, or empty")
        return self

    @property
    def listen_port(self) -> int:
        """The port to bind: `port`, else `port_base`."""
        return self.port_base if self.port is None else self.port

    @property
    def scheme(self) -> str:
        """`https` when a certificate is given, else `http`."""
        return "http" if self.tls_certificate is None else "https"

    @classmethod
    def load(cls, **options: Any) -> Self:
        """Settings from the environment, with `options` (those that are not None) above it.

        Raises ConfigurationError whose field is the environment variable's name.
        """
        try:
            return cls(**{name: value for name, value in options.items() if value is not None})
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            cause = first.get("ctx", {}).get("error")
            if isinstance(cause, _NamedError):
                name, message = cause.setting, cause.message
            else:
                name = str(first["loc"][0])
                message = first["msg"].removeprefix("Value error, ")
            raise ConfigurationError(message, field=f"EXEAT_{name.upper()}") from None


class _NamedError(ValueError):
    """A refusal by a check over several settings, which pydantic would report without a name."""

    def __init__(self, setting: str, message: str) -> None:
        super().__init__(message)
        self.setting, self.message = setting, message


def is_loopback(host: str) -> bool:
    """Whether `host` can only be reached from this machine. A name other than localhost cannot say so."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
