"""Names, ids, numbers and the secret field type that all resources share."""

from __future__ import annotations

import json
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, ValidationError

from models.resources.base import MASK, SECRET_MAX_BYTES, Name, ResourceId, SecretText, wire_names
from models.secret import Secret

CANARY = "c4n4ry-0123456789abcdef"


class Holder(BaseModel):
    model_config = ConfigDict(hide_input_in_errors=True)
    value: SecretText


class Named(BaseModel):
    id: ResourceId = "a"
    name: Name = "a"


def test_wire_names_prefix_and_exceptions():
    """An attribute's wire name is the prefix and the name in camel case, but for the exceptions."""
    alias = wire_names("proxy", {"client_id": "clientId"})
    assert alias("name") == "proxyName"
    assert alias("max_requests_per_minute") == "proxyMaxRequestsPerMinute"
    assert alias("client_id") == "clientId"


@pytest.mark.parametrize("value", [CANARY, Secret(CANARY)])
def test_a_secret_is_taken_from_text_or_secret(value):
    """Both a string and a Secret become a Secret with the same bytes."""
    assert Holder(value=value).value == Secret(CANARY)


def test_a_secret_is_never_given_back():
    """No dump, repr or JSON of a model shows a secret, and it cannot be pickled."""
    holder = Holder(value=CANARY)
    shown = [repr(holder), str(holder), str(holder.model_dump()), holder.model_dump_json()]
    assert not [text for text in shown if CANARY in text]
    assert json.loads(holder.model_dump_json()) == {"value": MASK}
    with pytest.raises(TypeError):
        pickle.dumps(holder)


def test_the_json_schema_of_a_secret_is_write_only():
    """A generated API description knows that the field is never read."""
    assert Holder.model_json_schema()["properties"]["value"]["writeOnly"] is True


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("", "must not be empty"),
        (" " + CANARY, "must not begin or end with a blank"),
        (CANARY + " ", "must not begin or end with a blank"),
        (CANARY + "\r\nX-Injected: 1", "control characters"),
        (CANARY + "\t", "control characters"),
        (CANARY + "\x7f", "control characters"),
        (CANARY + "é", "printable ASCII"),
        (CANARY + "\udcff", "printable ASCII"),
        (CANARY * 400, f"at most {SECRET_MAX_BYTES} bytes"),
        (12345678901234567890, "must be a string"),
        ([CANARY], "must be a string"),
        (None, "must be a string"),
    ],
)
def test_an_unfit_secret_is_refused_without_showing_it(value, message):
    """What cannot stand in a header is refused; the error has the reason and nothing of the value."""
    with pytest.raises(ValidationError) as caught:
        Holder(value=value)
    assert message in str(caught.value)
    assert "c4n4ry" not in str(caught.value)
    assert "1234567890" not in str(caught.value)


@given(st.text(max_size=200))
def test_any_text_is_a_secret_fit_for_a_header_or_refused_silently(text):
    """Whatever the text, it is accepted only as printable ASCII, and else never echoed."""
    fit = bool(text) and text == text.strip(" ") and all(" " <= character <= "~" for character in text)
    if fit:
        assert Holder(value=text).value.reveal() == text.encode()
        return
    with pytest.raises(ValidationError) as caught:
        Holder(value=text)
    assert len(text) < 8 or text not in str(caught.value)


@pytest.mark.parametrize("value", ["", "-a", "a b", "a/b", "é", "a" * 129, "a\n", ".", "a%20"])
def test_an_id_is_url_safe_and_bounded(value):
    """An id needs no escape in a URL."""
    with pytest.raises(ValidationError):
        Named(id=value)


@pytest.mark.parametrize("value", ["", " a", "a ", "a\nb", "\x1b[0m", "a" * 129, "\u202eabc"])
def test_a_name_is_printable_and_bounded(value):
    """A name is fit for a log line: no control or direction characters, no blank ends."""
    with pytest.raises(ValidationError):
        Named(name=value)


def test_names_may_be_international():
    """A name is text for people."""
    assert Named(name="Zahlungen für Ökostrom").name == "Zahlungen für Ökostrom"
