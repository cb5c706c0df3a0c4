"""Members over the Core API: roles, and the owner that a client always has."""

from __future__ import annotations

from control_api.handlers import members
from tests.kit.api import Api, fields, one


async def test_members_are_added_changed_and_removed(core: Api) -> None:
    """The happy path of the four routes; the client's revision moves with each."""
    user, token = await core.new_user(["read"])
    assert (await core.get("{c}", token=token)).status_code == 404
    added = await core.make("{c}/members", {"userId": user, "roles": ["auditor"]})
    assert added == {"clientId": core.client, "userId": user, "roles": ["auditor"], "revision": core.head}
    assert (await core.get("{c}", token=token)).status_code == 200
    listed = (await core.get("{c}/members")).json()["members"]
    assert {one_member["userId"] for one_member in listed} == {core.user, user}
    path = f"{{c}}/members/{user}"
    changed = one(await core.put(path, {**added, "roles": ["user", "admin"]}))
    assert changed["roles"] == ["user", "admin"]
    assert (await core.delete(path)).status_code == 204
    assert (await core.get("{c}", token=token)).status_code == 404
    assert (await core.delete(path)).status_code == 404
    assert (await core.put(path, {"roles": ["user"]})).status_code == 404


async def test_the_last_owner_stays(core: Api) -> None:
    """Neither removed nor given another role, until there is a second one."""
    path = f"{{c}}/members/{core.user}"
    head = core.head
    assert (await core.delete(path)).status_code == 409
    assert (await core.put(path, {"roles": ["admin"]})).status_code == 409
    assert core.head == head
    await core.new_member("owner")
    assert (await core.delete(path)).status_code == 204


async def test_bad_members_are_named(core: Api) -> None:
    """An unknown user, an unknown role, a role twice, one who is a member already, another id than the path's."""
    user, _ = await core.new_user(["read"])
    head = core.head
    assert fields(await core.post("{c}/members", {"userId": "usr_nobody", "roles": ["user"]})) == ["userId"]
    assert fields(await core.post("{c}/members", {"userId": user, "roles": ["king"]})) == ["roles[0]"]
    assert fields(await core.post("{c}/members", {"userId": user, "roles": ["user", "user"]})) == ["roles"]
    assert fields(await core.post("{c}/members", {"userId": user, "roles": []})) == ["roles"]
    assert (await core.post("{c}/members", {"userId": core.user, "roles": ["user"]})).status_code == 409
    path = f"{{c}}/members/{core.user}"
    assert fields(await core.put(path, {"userId": user, "roles": ["owner"]})) == ["userId"]
    assert fields(await core.put(path, {"roles": ["owner"], "revision": 1})) == ["revision"]
    assert core.head == head


def test_a_member_is_found_by_user() -> None:
    """Or not at all."""
    assert members._find([{"userId": "usr_a", "roles": ["user"]}], "usr_b") is None
