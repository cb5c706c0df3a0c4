"""Step 8, first half: what a credential puts on a request, and that it shows nowhere else."""

from __future__ import annotations

import pickle

import pytest

from models.errors import CredentialUnavailable
from models.secret import Secret
from proxy_edge.steps.lease import Injection, lease, prefixed, without_injected

SECRET = Secret("canary &=+/ 0123")


def test_in_a_header() -> None:
    """One line, name in lower case, the scheme word before the value."""
    made = Injection.in_header("X-Key", "Token", SECRET)
    assert made.header_line == b"x-key: Token canary &=+/ 0123\r\n"
    assert made.header_names == {b"x-key"}
    assert (made.query, made.query_names) == (b"", frozenset())
    assert (
        Injection.in_header("Authorization", "", SECRET).header_line == b"authorization: canary &=+/ 0123\r\n"
    )


def test_in_the_query() -> None:
    """Name and value percent-encoded in full."""
    made = Injection.in_query("api key", "", SECRET)
    assert made.query == b"api%20key=canary%20%26%3D%2B%2F%200123"
    assert made.query_names == {b"api key"}
    assert (made.header_line, made.header_names) == (b"", frozenset())


def test_nothing() -> None:
    """A target that wants no credential gets none, and nothing is looked for in its answers."""
    made = Injection.nothing()
    assert (made.header_line, made.query) == (b"", b"")
    assert not made.forms.found(b"anything")


@pytest.mark.parametrize("made", [Injection.in_header("a", "", SECRET), Injection.in_query("a", "b", SECRET)])
def test_the_secret_is_looked_for_in_answers_and_shown_in_none(made: Injection) -> None:
    """The bare value, not the field it stands in; no repr, no pickle."""
    assert made.forms.found(b"x canary &=+/ 0123 y")
    assert made.forms.found(b"canary%20%26%3D%2B%2F%200123")
    assert "canary" not in repr(made)
    with pytest.raises(TypeError):
        pickle.dumps(made)


def test_prefixed() -> None:
    """One blank between, none without a prefix."""
    assert prefixed("Bearer", Secret("x")) == b"Bearer x"
    assert prefixed("", Secret("x")) == b"x"


def test_lease() -> None:
    """The live one, or 503."""
    made = Injection.nothing()
    assert lease({"one": made}, "one") is made
    with pytest.raises(CredentialUnavailable):
        lease({"one": made}, "two")


@pytest.mark.parametrize(
    ("query", "left"),
    [
        (b"", b""),
        (b"a=1&api+key=2&b", b"a=1&b"),
        (b"api%20key&x=%41", b"x=%41"),
        (b"%61pi+%6Bey=1", b""),
        (b"apikey=1&API+KEY=2", b"apikey=1&API+KEY=2"),
    ],
)
def test_a_callers_own_parameter_of_that_name_goes(query: bytes, left: bytes) -> None:
    """By decoded name, so that the target never sees two."""
    assert without_injected(query, Injection.in_query("api key", "", SECRET)) == left
    assert without_injected(query, Injection.in_header("a", "", SECRET)) == query
