"""The control API's settings: one typed model over `EXEAT_…` environment variables and command line options.

The only place of `control_api` that reads them. A value that does not say exactly what its type asks for is refused
by the setting's name, never guessed at.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from control_api.ledger.crash import POINTS
from models.setting_types import Count, NamedError, Port, Seconds, Switch, is_loopback, refused


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
    record_days: Annotated[Count, Field(le=3650)] = Field(
        30, description="how many days request records and per-minute counts are kept"
    )
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
            raise NamedError(missing, "certificate and key are given together")
        if self.tls_certificate is None and not self.insecure_bind and not is_loopback(self.host):
            raise NamedError(
                "host",
                f"{self.host} is not a loopback address: give EXEAT_TLS_CERTIFICATE and EXEAT_TLS_KEY,"
                " or accept plain HTTP with EXEAT_INSECURE_BIND=true",
            )
        if self.crash_point and self.crash_point not in POINTS:
            raise NamedError("crash_point", f"must be one of {', '.join(POINTS)}, or empty")
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
            raise refused(error) from None
