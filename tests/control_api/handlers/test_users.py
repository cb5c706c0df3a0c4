"""Users over the Core API."""

from __future__ import annotations

from control_api.handlers import users
from tests.kit.api import Api, fields, one


async def test_the_operator_makes_users(core: Api) -> None:
    """Who never are operators themselves, and have no token until one is made."""
    made = await core.make("/users", {"userName": "Ada", "userEmail": "ada@example.org"})
    assert made["operator"] is False
    assert made["userEmail"] == "ada@example.org"
    assert (await core.get(f"/users/{made['userId']}/tokens")).json()["tokens"] == []
    token = await core.new_token(made["userId"], ["read", "operate"])
    assert one(await core.get("/users/me", token=token)) == made
    assert (await core.post("/users", {"userName": "Eve"}, token=token)).status_code == 403


async def test_bad_users_are_named(core: Api) -> None:
    """Also who asks to be operator."""
    head = core.head
    for body, field in (
        ({}, "userName"),
        ({"userName": 5}, "userName"),
        ({"userName": "x", "userEmail": "nobody"}, "userEmail"),
        ({"userName": "x", "operator": True}, "operator"),
        ({"userName": "x", "userId": "usr_me"}, "userId"),
    ):
        assert fields(await core.post("/users", body)) == [field]
    assert core.head == head
    assert users.create.__doc__
