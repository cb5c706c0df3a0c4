"""Callers' credentials: where they are looked for, that two must agree, and that only digests are kept."""

from __future__ import annotations

from itertools import permutations

import pytest

from models.errors import CredentialRejected
from models.request import CanonicalRequest
from models.secret import Secret
from models.verifiers import Accepted, CallerVerifier, keyed_digest, without_parameters

PEPPER = Secret(b"p" * 32)
KEY, OTHER, TOKEN = b"caller-key-0123456789", b"other-key-0123456789", b"bearer-token-0123456789"


def accepted(identity: str, kind: str, *values: bytes, **place: str) -> Accepted:
    return Accepted(identity, kind, tuple(keyed_digest(value, PEPPER) for value in values), **place)


ALL = CallerVerifier(
    [
        accepted("key", "apiKey", KEY),
        accepted("other", "apiKey", OTHER),
        accepted("token", "bearer", TOKEN),
        accepted("scheme", "bearer", b"scheme-token-0123456", prefix="Token"),
        accepted("custom", "apiKey", b"custom-key-012345678", name="X-Custom"),
        accepted("prefixed", "apiKey", b"prefixed-key-0123456", name="X-Prefixed", prefix="Key"),
        accepted("query", "apiKey", b"query-key-0123456789", location="query", name="api_key"),
    ],
    PEPPER,
)


def ask(*headers: tuple[bytes, bytes], query: bytes = b"", verifier: CallerVerifier = ALL) -> str | None:
    request = CanonicalRequest(b"GET", b"/", query, list(headers))
    try:
        return verifier.authenticate(request)
    except CredentialRejected:
        return None


@pytest.mark.parametrize(
    ("name", "value", "identity"),
    [
        (b"authorization", KEY, "key"),
        (b"authorization", b"Bearer " + KEY, "key"),
        (b"authorization", b"bEARER " + KEY, "key"),
        (b"x-api-key", KEY, "key"),
        (b"x-api-key", OTHER, "other"),
        (b"authorization", b"Bearer " + TOKEN, "token"),
        (b"authorization", b"Token scheme-token-0123456", "scheme"),
        (b"x-custom", b"custom-key-012345678", "custom"),
        (b"x-prefixed", b"Key prefixed-key-0123456", "prefixed"),
    ],
)
def test_where_a_credential_is_presented(name: bytes, value: bytes, identity: str) -> None:
    """API.md section 3: apiKey raw, after Bearer or in X-API-Key; bearer after its scheme; or where it says."""
    assert ask((b"accept", b"*/*"), (name, value)) == identity


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (b"authorization", TOKEN),
        (b"x-api-key", TOKEN),
        (b"x-api-key", b"Bearer " + KEY),
        (b"authorization", b"Basic " + KEY),
        (b"authorization", b"Bearer"),
        (b"authorization", b""),
        (b"authorization", KEY + b"x"),
        (b"authorization", KEY[:-1]),
        (b"authorization", KEY.upper()),
        (b"authorization", b"Bearer scheme-token-0123456"),
        (b"authorization", b"custom-key-012345678"),
        (b"x-custom", KEY),
        (b"x-prefixed", b"prefixed-key-0123456"),
        (b"authorization", b"query-key-0123456789"),
        (b"x-other", KEY),
    ],
)
def test_nowhere_else(name: bytes, value: bytes) -> None:
    """A known value in another place, and an unknown one anywhere, is refused."""
    assert ask((name, value)) is None


def test_no_credential_is_refused() -> None:
    """Also where nothing is accepted at all."""
    assert ask() is None
    assert ask((b"authorization", KEY), verifier=CallerVerifier([], PEPPER)) is None


def test_query_credentials_are_found_by_decoded_name() -> None:
    """The parameter's name may be escaped; its value is decoded too."""
    assert ask(query=b"a=b&api_key=query-key-0123456789") == "query"
    assert ask(query=b"api%5Fkey=query%2Dkey-0123456789") == "query"
    assert ask(query=b"API_KEY=query-key-0123456789") is None


PLACES = [
    (b"authorization", KEY),
    (b"authorization", b"Bearer " + OTHER),
    (b"x-api-key", OTHER),
    (b"x-api-key", b"unknown-key-00000000"),
    (b"x-custom", b"custom-key-012345678"),
    (b"authorization", b"Bearer " + TOKEN),
    (b"authorization", b""),
]


@pytest.mark.parametrize(("one", "two"), list(permutations(PLACES, 2)))
def test_two_credentials_that_differ_are_refused(one: tuple[bytes, bytes], two: tuple[bytes, bytes]) -> None:
    """Whichever comes first, and whichever would be accepted alone."""
    same = one[1].removeprefix(b"Bearer ") == two[1].removeprefix(b"Bearer ")
    assert (ask(one, two) is not None) is same


def test_a_header_and_a_query_that_differ_are_refused() -> None:
    """The query is looked at although a header already holds an accepted one."""
    assert ask((b"x-api-key", KEY), query=b"api_key=query-key-0123456789") is None
    assert ask((b"x-api-key", KEY), query=b"api_key=nonsense") is None
    assert ask(query=b"api_key=query-key-0123456789&api_key=x") is None


def test_the_same_credential_twice_is_one() -> None:
    """Clients that send Authorization and X-API-Key alike are served."""
    assert ask((b"x-api-key", KEY), (b"authorization", KEY), (b"authorization", b"Bearer " + KEY)) == "key"


def test_an_old_value_stays_valid_beside_the_new_one() -> None:
    """More than one digest is a rotation under way."""
    both = CallerVerifier([accepted("key", "apiKey", KEY, OTHER)], PEPPER)
    assert (ask((b"x-api-key", KEY), verifier=both), ask((b"x-api-key", OTHER), verifier=both)) == (
        "key",
        "key",
    )


def test_the_places_to_strip_are_known() -> None:
    """Whatever may hold a caller's credential never reaches a target, an expired one's place included."""
    assert ALL.strip_headers == {b"authorization", b"x-api-key", b"x-custom", b"x-prefixed"}
    assert ALL.strip_query == {b"api_key"}
    expired = CallerVerifier(
        [Accepted("old", "apiKey", (), "query", "k"), Accepted("older", "apiKey", ())], PEPPER
    )
    assert expired.strip_headers == {b"authorization", b"x-api-key"}
    assert expired.strip_query == {b"k"}
    assert ask((b"x-api-key", KEY), verifier=expired) is None


def test_digests_depend_on_the_pepper() -> None:
    """A digest of one worker says nothing to another, and is no plain hash."""
    assert keyed_digest(KEY, PEPPER) != keyed_digest(KEY, Secret(b"q" * 32))
    assert len(keyed_digest(KEY, PEPPER)) == 32


@pytest.mark.parametrize(
    ("query", "left"),
    [
        (b"", b""),
        (b"a=1&key=2&b=3", b"a=1&b=3"),
        (b"key=2", b""),
        (b"k%65y=2&a=%41", b"a=%41"),
        (b"key&key=&a&&b", b"a&&b"),
        (b"keys=1&Key=2", b"keys=1&Key=2"),
    ],
)
def test_parameters_are_taken_out_and_the_rest_stands(query: bytes, left: bytes) -> None:
    """By decoded name; the other pieces are neither decoded nor put in order."""
    assert without_parameters(query, frozenset({b"key"})) == left
