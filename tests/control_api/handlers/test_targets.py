"""Targets over the Core API, and the test that an edge carries out."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from control_api.handlers import targets
from models.planes.feed import COMMAND, Command, CommandResult, Uplink
from tests.kit.api import REGIONS, Api, caller_body, fields, one, sender_body, target_body
from tests.kit.plane import VERIFIER

US, EU = REGIONS


async def test_a_target_is_made_read_replaced_altered_and_deleted(core: Api) -> None:
    """The happy path of its routes, with the defaults of API.md."""
    made = await core.make("{c}/targets", target_body(targetTestPath="/ping"))
    path = f"{{c}}/targets/{made['targetId']}"
    assert made["targetTimeoutMs"] == 30_000
    assert made["targetScrub"] == "full"
    assert made["targetBaseURL"] == "https://api.example.com/v2"
    assert one(await core.get(path)) == made
    assert (await core.get("{c}/targets")).json()["targets"] == [made]
    put = one(await core.put(path, {**made, "targetTimeoutMs": 5}))
    assert (put["targetTimeoutMs"], put["targetTestPath"]) == (5, "/ping")
    patched = one(await core.patch(path, {"targetTestPath": None}))
    assert "targetTestPath" not in patched
    assert (await core.delete(path)).status_code == 204
    assert (await core.get(path)).status_code == 404


async def test_a_referenced_target_stays(core: Api) -> None:
    """409 names the proxy."""
    ids = await core.stack()
    refused = await core.delete(f"{{c}}/targets/{ids['target']}")
    assert (refused.status_code, refused.json()["references"]) == (409, [ids["proxy"]])


async def test_bad_targets_are_named(core: Api) -> None:
    """With nothing stored."""
    made = await core.make("{c}/targets", target_body())
    head = core.head
    for change, field in (
        ({"targetBaseURL": "ftp://x"}, "targetBaseURL"),
        ({"targetBaseURL": "https://x/?q=1"}, "targetBaseURL"),
        ({"targetRegion": "nowhere-1"}, "targetRegion"),
        ({"targetTimeoutMs": "5"}, "targetTimeoutMs"),
        ({"targetScrub": "half"}, "targetScrub"),
        ({"targetColor": 1}, "targetColor"),
    ):
        assert field in fields(await core.post("{c}/targets", target_body(**change)))
    assert fields(await core.patch(f"{{c}}/targets/{made['targetId']}", {"targetRegion": EU})) == [
        "targetRegion"
    ]
    assert core.head == head


async def test_a_test_is_carried_out_by_an_edge(core: Api) -> None:
    """The region gets a signed command; its result's status and timing are all that is answered."""
    ids = await core.stack()
    asked = asyncio.get_running_loop().create_task(
        core.post(
            f"{{c}}/targets/{ids['target']}/test",
            {"credentialId": ids["sender"]},
            headers={"idempotency-key": "t"},
        )
    )
    command = None
    while command is None:
        found = [signed for answer in core.regions[US].answers for signed in answer.commands]
        command = msgspec.msgpack.decode(VERIFIER.verify(COMMAND, found[0]), type=Command) if found else None
        await asyncio.sleep(0)
    assert (command.kind, command.target_id, command.credential_id) == (
        "testTarget",
        ids["target"],
        ids["sender"],
    )
    result = CommandResult(id=command.id, edge="edge-a", status=204, duration_ms=1.5)
    await core.plane.feed.uplink(US, Uplink(results=(result,)))
    answered = {"status": 204, "code": None, "durationMs": 1.5}
    assert one(await asked) == answered

    path, key = f"{{c}}/targets/{ids['target']}/test", {"idempotency-key": "t"}
    assert one(await core.post(path, {"credentialId": ids["sender"]}, headers=key)) == answered
    assert (await core.post(path, {}, headers=key)).status_code == 409
    await core.post("{c}/targets", target_body(), headers={"idempotency-key": "w"})
    assert (await core.post(path, {}, headers={"idempotency-key": "w"})).status_code == 409


async def test_a_test_without_an_edge_is_unavailable(core: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """503 when none answers in time."""
    monkeypatch.setattr(targets, "TEST_SECONDS", 0.05)
    ids = await core.stack()
    answer = await core.post(f"{{c}}/targets/{ids['target']}/test")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


async def test_a_test_takes_a_fitting_credential_only(core: Api) -> None:
    """Of the client, of the target side, of the region."""
    ids = await core.stack()
    away = (await core.make("{c}/credentials", sender_body(EU)))["credentialId"]
    mine, core.client = core.client, await core.new_client("Other")
    foreign = (await core.make("{c}/credentials", sender_body()))["credentialId"]
    core.client = mine
    path = f"{{c}}/targets/{ids['target']}/test"
    for value in ("cred_unknown", foreign, ids["caller"], away, 5):
        assert fields(await core.post(path, {"credentialId": value})) == ["credentialId"]
    assert fields(await core.post(path, {"path": "/"})) == ["path"]
    assert (await core.post("{c}/targets/tgt_unknown/test")).status_code == 404
    assert caller_body()
