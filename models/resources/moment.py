"""Moments on the wire: ISO 8601 with an offset in, UTC with milliseconds out.

Only what can be written as such a time is accepted, so that no later conversion can fail.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

from pydantic import AfterValidator, AwareDatetime, BeforeValidator
from pydantic_core import PydanticCustomError

from models.clock import iso_ms

_ISO: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LAST: Final = datetime(9999, 12, 30, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)


def _check_shape(value: object) -> object:
    # Pydantic alone would take "5" and 5 for seconds since 1970, and a date for its midnight.
    if isinstance(value, (int, float)) or (isinstance(value, str) and not _ISO.match(value)):
        raise PydanticCustomError("wrong_type", "must be an ISO 8601 time such as 2030-01-31T00:00:00Z")
    return value


def _check_range(value: datetime) -> datetime:
    if not _EPOCH <= value <= _LAST:
        raise ValueError("must lie between the years 1970 and 9999")
    return value


Moment = Annotated[AwareDatetime, BeforeValidator(_check_shape), AfterValidator(_check_range)]


def milliseconds(moment: datetime) -> int:
    """Wall milliseconds since 1970 of an aware moment; what is finer is cut off."""
    return (moment - _EPOCH) // _MILLISECOND


def written(moment: datetime) -> str:
    """As API.md section 2 asks, for example `2026-11-23T10:00:00.000Z`."""
    return iso_ms(milliseconds(moment))
