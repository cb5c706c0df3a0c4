"""Users, tokens and members as values."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from models.resources.base import Value
from models.resources.member import Member
from models.resources.token import Token
from models.resources.user import User

USER = {"userId": "usr_a", "userName": "Ada"}
TOKEN = {"tokenId": "tok_a", "userId": "usr_a", "tokenName": "ci", "tokenScopes": ["read", "write"]}
MEMBER = {"userId": "usr_a", "roles": ["owner", "auditor"]}


def test_their_wire_names_are_those_of_the_contract() -> None:
    """Read and written alike."""
    for kind, body in ((User, USER), (Token, TOKEN), (Member, MEMBER)):
        value = kind.model_validate(body, by_alias=True, by_name=False)
        assert value.model_dump(mode="json", by_alias=True, exclude_none=True) == body
    assert User.model_validate({**USER, "userEmail": "ada@example.org"}).email == "ada@example.org"


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (User, {**USER, "userEmail": "ada"}),
        (User, {**USER, "userEmail": "a b@example.org"}),
        (User, {**USER, "userEmail": "a@b@c"}),
        (User, {**USER, "userEmail": "a@" + "b" * 300}),
        (User, {**USER, "userName": " Ada"}),
        (User, {**USER, "operator": True}),
        (Token, {**TOKEN, "tokenScopes": []}),
        (Token, {**TOKEN, "tokenScopes": ["read", "read"]}),
        (Token, {**TOKEN, "tokenScopes": ["admin"]}),
        (Token, {**TOKEN, "tokenExpiresAt": "tomorrow"}),
        (Member, {**MEMBER, "roles": []}),
        (Member, {**MEMBER, "roles": ["owner", "owner"]}),
        (Member, {**MEMBER, "roles": "owner"}),
        (Member, {**MEMBER, "userId": "a/b"}),
    ],
)
def test_what_does_not_fit_is_refused(kind: type[Value], body: dict[str, Any]) -> None:
    """Each for its one reason."""
    with pytest.raises(ValidationError) as refused:
        kind.model_validate(body, by_alias=True, by_name=False)
    assert refused.value.error_count() == 1
