"""The secret type: nothing but `reveal` shows what it holds."""

from __future__ import annotations

import copy
import json
import pickle

import pytest

from models.secret import Secret

VALUE = "canary-0123456789"
SECRET = Secret(VALUE)


def test_reveal_gives_the_bytes() -> None:
    """From text or bytes alike."""
    assert SECRET.reveal() == VALUE.encode()
    assert Secret(bytearray(VALUE.encode())).reveal() == VALUE.encode()  # type: ignore[arg-type]  # any buffer
    assert (len(SECRET), bool(SECRET), bool(Secret(b""))) == (len(VALUE), True, False)


def test_no_text_of_it_shows_the_value() -> None:
    """Neither repr, str, format nor a container's repr, nor an error about it."""
    for text in (
        repr(SECRET),
        str(SECRET),
        f"{SECRET}",
        f"{SECRET!s:>40}",
        f"{[SECRET]}",
        f"{SECRET:x}",
        "{!s}".format(SECRET),  # noqa: UP032 - another way in
    ):
        assert "canary" not in text
        assert "**" in text
    with pytest.raises(TypeError) as error:
        json.dumps({"a": SECRET})
    assert "canary" not in str(error.value)


def test_it_is_never_pickled() -> None:
    """So it reaches no other process and no file by accident."""
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError):
            pickle.dumps(SECRET, protocol)


def test_copies_are_the_secret_itself() -> None:
    """Frozen models copy their values; the bytes are not multiplied."""
    assert copy.copy(SECRET) is SECRET
    assert copy.deepcopy([SECRET])[0] is SECRET


def test_equality_is_of_values_and_of_secrets_only() -> None:
    """A secret equals no plain text, and is no dictionary key."""
    assert Secret(VALUE) == SECRET
    assert Secret("other") != SECRET
    assert SECRET != VALUE
    assert VALUE.encode() != SECRET
    with pytest.raises(TypeError):
        hash(SECRET)


def test_it_has_no_other_attribute() -> None:
    """vars() and __dict__ show nothing."""
    assert not hasattr(SECRET, "__dict__")
