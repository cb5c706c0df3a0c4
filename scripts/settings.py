"""The settings of bring-up: one typed model over `EXEAT_…` environment variables and command line options.

The only place of `scripts` that reads them; what parts are told besides is in `scripts/up/environment.py`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from models.setting_types import Count, Port, Seconds, Switch, refused
from scripts.up.enrol import REGION

DEFAULT_REGIONS = ("us-east-1", "eu-west-1")
MOST_REGIONS = 16
DEMO_OFFSET = 1 + MOST_REGIONS
"""From the port base to the demo upstream's port: above every edge's, so that it stays when regions are added."""


class UpSettings(BaseSettings):
    """Everything that `exeat up`, `down`, `status` and `token` can be told. Field `x_y` is the variable `EXEAT_X_Y`."""

    model_config = SettingsConfigDict(
        env_prefix="EXEAT_",
        env_ignore_empty=True,
        enable_decoding=False,
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        validate_default=False,
    )

    home: Path = Field(Path(".exeat"), description="directory of all state of this installation")
    regions: str = Field(
        "",
        description=f"comma list of regions to run here; those of an existing home stay; unset: {','.join(DEFAULT_REGIONS)}",
    )
    port_base: Annotated[Port, Field(ge=1, le=65534)] = Field(
        7700, description="port of the control API; the edge of the i-th region listens 1 + i above it"
    )
    workers: Annotated[Count, Field(le=256)] = Field(1, description="worker processes of each edge")
    limiter_shards: Annotated[Count, Field(le=64)] = Field(
        1, description="how many limiters divide the counters of each region"
    )
    redactors: Annotated[Count, Field(le=64)] = Field(1, description="how many redactors each region has")
    demo: Switch = Field(
        default=True,
        description=f"also run the demo upstream, {DEMO_OFFSET} above the port base, and open it to the edges",
    )
    start_seconds: Seconds = Field(90.0, description="how long everything may take until it is ready")
    drain_seconds: Seconds = Field(
        5.0, description="how long requests in flight may take when all of it stops"
    )
    ray_store_megabytes: Annotated[Count, Field(ge=80, le=1 << 20)] = Field(
        100, description="size of Ray's object store, which is hardly used"
    )

    @field_validator("regions")
    @classmethod
    def _named(cls, value: str) -> str:
        names = split(value)
        if value and not names:
            raise ValueError("names no region")
        for name in names:
            if not REGION.match(name):
                raise ValueError(f"{name} is not a region's name: lower-case letters, digits and hyphens")
        if len(set(names)) != len(names):
            raise ValueError("names a region twice")
        if len(names) > MOST_REGIONS:
            raise ValueError(f"at most {MOST_REGIONS} regions run on one machine")
        return ",".join(names)

    @property
    def region_names(self) -> tuple[str, ...]:
        """`regions` one by one; empty when it is not set."""
        return tuple(split(self.regions))

    @classmethod
    def load(cls, **options: Any) -> Self:
        """Settings from the environment, with `options` (those that are not None) above it; the home is absolute.

        Raises ConfigurationError whose field is the environment variable's name.
        """
        try:
            found = cls(**{name: value for name, value in options.items() if value is not None})
        except ValidationError as error:
            raise refused(error) from None
        return found.model_copy(update={"home": found.home.absolute()})


def split(text: str) -> list[str]:
    """The pieces of a comma list, without blanks and empty ones."""
    return [piece for part in text.split(",") if (piece := part.strip())]
