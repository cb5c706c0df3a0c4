"""Types of settings, and how a refusal names its variable."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, TypeAdapter, ValidationError, model_validator

from models.setting_types import Count, NamedError, Port, Seconds, Switch, Whole, refused


class Sample(BaseModel):
    """Settings with one check over two of them."""

    workers: Count = 1
    spare: Whole = 0

    @model_validator(mode="after")
    def spare_fits(self) -> Sample:
        """No more spare workers than workers."""
        if self.spare > self.workers:
            raise NamedError("spare", "must not exceed EXEAT_WORKERS")
        return self


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (Whole, "007", 7),
        (Count, "1", 1),
        (Port, "65535", 65535),
        (Seconds, "0.5", 0.5),
        (Switch, "TRUE", True),
    ],
    ids=["whole", "count", "port", "seconds", "switch"],
)
def test_a_plainly_spelled_value_is_taken(kind: object, text: str, value: object) -> None:
    """Digits, a decimal point, true or false."""
    assert TypeAdapter(kind).validate_python(text) == value


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        *((Whole, text) for text in ("1.0", "1_000", " 5 ", "-1", "", "٣", "1" * 16)),
        (Count, "0"),
        (Port, "65536"),
        *((Seconds, text) for text in ("inf", "nan", "1e400", "0", "-1", "31622401")),
        *((Switch, text) for text in ("t", "yes", "on", "1", "")),
    ],
    ids=str,
)
def test_what_could_mean_two_things_is_refused(kind: object, text: str) -> None:
    """Pydantic alone would take most of these."""
    with pytest.raises(ValidationError):
        TypeAdapter(kind).validate_python(text)


@given(st.text(max_size=20))
def test_any_text_for_a_whole_number_is_ascii_digits_or_refused(text: str) -> None:
    """No digit of another script, no sign and no blank gets through."""
    try:
        value = TypeAdapter(Whole).validate_python(text)
    except ValidationError:
        assert not (text.isascii() and text.isdigit() and len(text) <= 15)
    else:
        assert text.isascii()
        assert text.isdigit()
        assert value == int(text)


@pytest.mark.parametrize(
    ("given_settings", "name", "message"),
    [
        ({"workers": "many"}, "EXEAT_WORKERS", "whole number"),
        ({"spare": "2"}, "EXEAT_SPARE", "must not exceed"),
    ],
    ids=["one", "several"],
)
def test_a_refusal_names_the_variable_and_never_the_value(
    given_settings: dict[str, str], name: str, message: str
) -> None:
    """Also where the check was over several settings."""
    with pytest.raises(ValidationError) as caught:
        Sample.model_validate(given_settings)
    error = refused(caught.value)
    assert error.field == name
    assert message in str(error)
    assert "many" not in str(error)
