"""Step 8, first half: what a credential puts on a request, and that it shows nowhere else."""

from __future__ import annotations

import pickle
from types import SimpleNamespace
from typing import cast

import pytest

from models.errors import CredentialUnavailable
from models.policy import CompiledProxy, LeaseKey
from models.resources import ApiKeySecret, BearerSecret, NoSecret, SecretBody
from models.secret import Secret
from proxy_edge.steps.lease import (
    Injection,
    LeaseWait,
    StaticLeases,
    injection,
    lease,
    prefixed,
    without_injected,
)

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


KEY = ("sender", "https", "target.test", 443)


def sending(key: LeaseKey) -> CompiledProxy:
    """A proxy as far as this step looks at it."""
    return cast("CompiledProxy", SimpleNamespace(lease_key=key))


def test_lease_of_a_file() -> None:
    """The one of this credential at this destination, or 503: what is not there will not come."""
    made = Injection.in_query("key", "", SECRET)
    leases = StaticLeases({KEY: made})
    assert lease(leases, sending(KEY)) is made
    for other in (
        ("other", *KEY[1:]),
        (*KEY[:2], "else.test", 443),
        (*KEY[:3], 444),
        ("sender", "http", *KEY[2:]),
    ):
        with pytest.raises(CredentialUnavailable):
            lease(leases, sending(other))
    assert leases.query_names(KEY) == {b"key"}
    assert leases.query_names(("other", *KEY[1:])) == frozenset()
    assert "canary" not in repr(leases)


def test_a_wait_calls_back_once() -> None:
    """When it is decided, with nothing; nobody is called who has gone."""
    called: list[str] = []
    came, refused, abandoned = LeaseWait(), LeaseWait(), LeaseWait()
    for name, wait in (("came", came), ("refused", refused), ("abandoned", abandoned)):
        wait.on_ready(lambda name=name: called.append(name))
    abandoned.abandon()
    came.resolve()
    refused.resolve(CredentialUnavailable("no"))
    abandoned.resolve()
    came.resolve()
    assert called == ["came", "refused"]
    assert (came.ready, came.refusal) == (True, None)
    assert not refused.ready
    assert isinstance(refused.refusal, CredentialUnavailable)


@pytest.mark.parametrize(
    ("body", "line", "query"),
    [
        (ApiKeySecret(key=SECRET, name="X-Key"), b"x-key: canary &=+/ 0123\r\n", b""),
        (
            ApiKeySecret.model_validate({"key": "canary-0123", "in": "query", "name": "k"}, by_name=False),
            b"",
            b"k=canary-0123",
        ),
        (BearerSecret(token=SECRET), b"authorization: Bearer canary &=+/ 0123\r\n", b""),
        (NoSecret(), b"", b""),
        (None, b"", b""),
    ],
)
def test_what_each_secret_puts_on_a_request(body: SecretBody | None, line: bytes, query: bytes) -> None:
    """A header line or a parameter, as the credential says."""
    made = injection(body)
    assert (made.header_line, made.query) == (line, query)


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
