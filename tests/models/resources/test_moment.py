"""Moments on the wire."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from models.resources.moment import Moment, milliseconds, written

READ: TypeAdapter[datetime] = TypeAdapter(Moment)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("2030-01-31T00:00:00Z", "2030-01-31T00:00:00.000Z"),
        ("2030-01-31T00:00:00.9999+02:00", "2030-01-30T22:00:00.999Z"),
        ("1970-01-01T00:00:00Z", "1970-01-01T00:00:00.000Z"),
        ("2030-01-31T00:00:00-14:00", "2030-01-31T14:00:00.000Z"),
    ],
)
def test_a_time_is_written_in_utc_with_milliseconds(text: str, shown: str) -> None:
    """What is finer is cut off."""
    assert written(READ.validate_python(text)) == shown


@pytest.mark.parametrize(
    "value",
    [
        5,
        5.0,
        "5",
        "soon",
        "2030-01-31",
        "2030-01-31T00:00:00",
        "0001-01-01T00:00:00Z",
        "9999-12-31T23:00:00-23:00",
        None,
    ],
)
def test_what_is_no_such_time_is_refused(value: object) -> None:
    """Numbers, dates, times without an offset, and years that cannot be written."""
    with pytest.raises(ValidationError):
        READ.validate_python(value)


@given(st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(9999, 12, 30), timezones=st.just(UTC)))  # noqa: DTZ001 - hypothesis adds the zone
def test_any_time_in_range_comes_back(moment: datetime) -> None:
    """To the millisecond."""
    assert milliseconds(READ.validate_python(written(moment))) == milliseconds(moment)
