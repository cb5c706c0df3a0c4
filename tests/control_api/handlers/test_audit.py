"""The audit list over the Core API."""

from __future__ import annotations

from pathlib import Path

from control_api.handlers import audit
from tests.kit.api import TARGET_TOKEN, Api, api, fields
from tests.kit.plane import HandClock


async def test_every_change_is_listed_newest_first(core: Api) -> None:
    """With who, what, before and after; secrets were never in it."""
    ids = await core.stack()
    await core.patch(f"{{c}}/proxies/{ids['proxy']}", {"proxyActive": False})
    await core.post(f"{{c}}/credentials/{ids['sender']}/revoke")
    await core.delete(f"{{c}}/proxies/{ids['proxy']}")
    answer = await core.get("{c}/audit")
    entries = answer.json()["audit"]
    assert [(entry["action"], entry["resourceType"]) for entry in entries] == [
        ("delete", "proxy"),
        ("revoke", "credential"),
        ("update", "proxy"),
        ("create", "proxy"),
        ("create", "target"),
        ("create", "credential"),
        ("create", "credential"),
        ("create", "client"),
    ]
    assert [entry["revision"] for entry in entries] == sorted((e["revision"] for e in entries), reverse=True)
    update = entries[2]
    assert (update["before"]["proxyActive"], update["after"]["proxyActive"]) == (True, False)
    assert update["actor"] == core.user
    assert update["resourceId"] == ids["proxy"]
    assert (entries[0]["after"], entries[-1]["before"]) == (None, None)
    assert TARGET_TOKEN not in answer.text
    assert len({entry["auditId"] for entry in entries}) == len(entries)


async def test_the_list_is_filtered_and_paged(tmp_path: Path) -> None:
    """By resource, actor and time; page by page it is the same list."""
    clock = HandClock()
    async with api(tmp_path, clock=clock) as core:
        ids = await core.stack()
        clock.ms += 60_000
        user, token = await core.new_member("admin")
        await core.patch(f"{{c}}/targets/{ids['target']}", {"targetName": "New"}, token=token)
        whole = (await core.get("{c}/audit")).json()["audit"]

        of_target = (await core.get(f"{{c}}/audit?resourceId={ids['target']}")).json()["audit"]
        assert [entry["action"] for entry in of_target] == ["update", "create"]
        by_user = (await core.get(f"{{c}}/audit?actor={user}")).json()["audit"]
        assert [entry["resourceId"] for entry in by_user] == [ids["target"]]
        since = whole[-1]["at"]
        later = (await core.get("{c}/audit", params={"after": since})).json()["audit"]
        assert [entry["action"] for entry in later] == ["update", "update"]
        earlier = (await core.get("{c}/audit", params={"before": later[-1]["at"]})).json()["audit"]
        assert len(earlier) + len(later) == len(whole)

        paged, cursor = [], None
        while True:
            params = {"limit": "2", **({} if cursor is None else {"cursor": cursor})}
            page = (await core.get("{c}/audit", params=params)).json()
            paged += page["audit"]
            cursor = page.get("nextCursor")
            if cursor is None:
                break
        assert paged == whole


async def test_a_deletion_with_its_rules_does_not_overfill_a_page(core: Api) -> None:
    """`limit` counts entries, not changes."""
    ids = await core.stack()
    for _ in range(2):
        await core.post(f"{{c}}/proxies/{ids['proxy']}/rules", {"effect": "deny"})
    await core.delete(f"{{c}}/proxies/{ids['proxy']}")
    whole = (await core.get("{c}/audit")).json()["audit"]
    first = (await core.get("{c}/audit?limit=2")).json()
    assert [entry["resourceType"] for entry in first["audit"]] == ["proxy", "rule"]
    rest = (await core.get("{c}/audit", params={"cursor": first["nextCursor"]})).json()
    assert first["audit"] + rest["audit"] == whole


async def test_bad_filters_are_named(core: Api) -> None:
    """Each by the name of its parameter."""
    for query, field in (
        ("after=yesterday", "after"),
        ("before=5", "before"),
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=1e2", "limit"),
        ("cursor=x", "cursor"),
        ("cursor=MTp4", "cursor"),
        ("cursor=MQ", "cursor"),
        ("colour=red", "colour"),
    ):
        assert fields(await core.get(f"{{c}}/audit?{query}")) == [field]
    assert audit.list_all.__doc__
