"""Answers as values: plain names, real types, tolerant of what is new, silent about secrets (sdk/answers.py)."""

from __future__ import annotations

from typing import Any

import pytest

from models.resources.base import Value
from sdk import answers
from sdk.answers import Answered, Client, Credential, Proxy, Rule, Target, Token, User, read
from sdk.errors import UnexpectedAnswer
from sdk.fields import SETTABLE, wire_name

PROXY = {
    "proxyId": "p",
    "proxyName": "n",
    "proxyRegion": "r",
    "proxyTargetId": "t",
    "proxyTargetCredentialId": "c",
}


@pytest.mark.parametrize("kind", SETTABLE, ids=lambda kind: kind.__name__)
def test_answers_have_every_field_that_can_be_set(kind: type[Value]) -> None:
    """By the same plain name and the same wire name."""
    answer: type[Answered] = getattr(answers, kind.__name__)
    names = dict(zip(answer.__struct_fields__, answer.__struct_encode_fields__, strict=True))
    for attribute in SETTABLE[kind].__annotations__:
        assert names[attribute] == wire_name(kind, attribute)


@pytest.mark.parametrize("kind", [User, Token, Client, Credential, Target, Proxy, Rule])
def test_read_only_fields_have_their_names(kind: type[Answered]) -> None:
    """Id, times and revision of API.md section 2."""
    names = dict(zip(kind.__struct_fields__, kind.__struct_encode_fields__, strict=True))
    prefix = kind.__name__.lower()
    assert (names["id"], names["created_at"], names["revision"]) == (
        f"{prefix}Id",
        f"{prefix}CreatedAt",
        "revision",
    )


def test_unknown_fields_are_kept_in_wire() -> None:
    """A newer server does not break an older client, and what it added can be sent back."""
    data = {**PROXY, "proxyColour": {"a": 1}, "meters": []}
    proxy = read(Proxy, data)
    assert proxy.wire == data
    assert "colour" not in repr(proxy).lower()
    assert repr(proxy).startswith("Proxy(id='p', name='n', region='r'")


@pytest.mark.parametrize(
    "bad", [None, [], "x", {}, {**PROXY, "proxyId": None}, {**PROXY, "revision": "hidden"}]
)
def test_what_is_no_resource_is_unexpected(bad: Any) -> None:
    """The error says where and never what."""
    with pytest.raises(UnexpectedAnswer, match="Proxy") as error:
        read(Proxy, bad)
    assert "hidden" not in str(error.value)
    assert error.value.__context__ is None


@pytest.mark.parametrize(
    ("secret", "text"),
    [
        ({"key": "the-secret", "in": "header"}, b"the-secret"),
        ({"token": "the-secret", "prefix": "Bearer"}, b"the-secret"),
        ("the-secret", b"the-secret"),
    ],
)
def test_a_generated_secret_is_read_from_its_wire_form(secret: Any, text: bytes) -> None:
    """Of an apiKey, of a bearer, or alone; it is in no wire form."""
    data = {
        "credentialId": "c",
        "credentialName": "n",
        "credentialType": "proxy",
        "credentialAuthType": "apiKey",
        "credentialRegion": "r",
        "credentialSecret": secret,
    }
    credential = read(Credential, data)
    assert credential.secret is not None
    assert credential.secret.reveal() == text
    assert "the-secret" not in repr(credential) + repr(credential.wire)
    for unreadable in ({"passphrase": "the-secret"}, 5, {"key": 5}):
        with pytest.raises(UnexpectedAnswer) as error:
            read(Credential, {**data, "credentialSecret": unreadable})
        assert "the-secret" not in str(error.value)


def test_answers_are_frozen() -> None:
    """A value that was answered is not changed by accident."""
    with pytest.raises(AttributeError):
        read(Proxy, PROXY).name = "x"  # type: ignore[misc]  # what is tested
