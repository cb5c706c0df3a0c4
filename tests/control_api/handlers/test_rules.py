"""Rules over the Core API, on all three kinds of parent."""

from __future__ import annotations

from typing import Any

import pytest

from control_api import references
from control_api.handlers import rules
from tests.kit.api import REGIONS, Api, fields, one

PARENTS = ("credentials", "targets", "proxies")


async def parents(core: Api) -> dict[str, str]:
    """A path to the rules of one of each kind."""
    ids = await core.stack()
    return {
        "credentials": f"{{c}}/credentials/{ids['caller']}/rules",
        "targets": f"{{c}}/targets/{ids['target']}/rules",
        "proxies": f"{{c}}/proxies/{ids['proxy']}/rules",
    }


async def test_rules_are_made_read_replaced_and_deleted(core: Api) -> None:
    """The happy path under every kind of parent; the region gets the parent with its rules."""
    for path in (await parents(core)).values():
        made = await core.make(path, {"effect": "deny", "methods": ["get"], "path": {"pattern": "^/admin"}})
        assert made["methods"] == ["GET"]
        assert made["mode"] == "enforce"
        assert made["path"] == {"pattern": "^/admin", "presence": "must_exist"}
        assert made["clientId"] == core.client
        item = f"{path}/{made['ruleId']}"
        assert one(await core.get(item)) == made
        assert (await core.get(path)).json()["rules"] == [made]
        put = one(await core.put(item, {**made, "effect": "allow"}))
        assert put["effect"] == "allow"
        assert (await core.patch(item, {"effect": "deny"})).status_code == 404
        documents = core.regions[REGIONS[0]].state.documents.values()
        assert any(made["ruleId"].encode() in document.text for document in documents)
        assert (await core.delete(item)).status_code == 204
        assert (await core.get(item)).status_code == 404


async def test_a_rule_belongs_to_its_parent(core: Api) -> None:
    """Under another parent, or another client's, there is no such rule."""
    found = await parents(core)
    made = await core.make(found["targets"], {"effect": "deny"})
    for path in (found["proxies"], found["credentials"], "{c}/targets/tgt_unknown/rules"):
        assert (await core.get(f"{path}/{made['ruleId']}")).status_code == 404
        assert (await core.delete(f"{path}/{made['ruleId']}")).status_code == 404
    mine = found["targets"].replace("{c}", f"/clients/{core.client}")
    core.client = await core.new_client("Other")
    theirs = mine.replace(mine.split("/")[2], core.client)
    assert (await core.get(theirs)).status_code == 404
    assert (await core.post(theirs, {"effect": "deny"})).status_code == 404


async def test_refused_patterns_and_sets_are_named(core: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pattern that RE2 refuses, one over our bounds, and one that is too much beside the others."""
    path = (await parents(core))["targets"]
    head = core.head
    cases: list[tuple[dict[str, Any], str]] = [
        ({"path": {"pattern": "("}}, "path.pattern"),
        ({"path": {"pattern": "a{101}"}}, "path.pattern"),
        ({"path": {"pattern": "x" * 1025}}, "path.pattern"),
        ({"path": {"pattern": "(?=a)"}}, "path.pattern"),
        ({"headerChecks": [{"name": "x", "value": "["}]}, "headerChecks[0].value"),
        ({"queryChecks": [{"value": "x"}]}, "queryChecks[0].name"),
        ({"bodyChecks": [{"jsonPath": {"pattern": "["}}]}, "bodyChecks[0].jsonPath.pattern"),
        ({"methods": ["GTE"]}, "methods[0]"),
        ({"priority": 1001}, "priority"),
        ({"effect": "maybe"}, "effect"),
        ({"claimChecks": []}, "claimChecks"),
        ({"colour": 1}, "colour"),
        ({"ruleId": "rule_mine"}, "ruleId"),
    ]
    for change, field in cases:
        assert field in fields(await core.post(path, {"effect": "deny", **change})), change
    assert core.head == head

    heavy = r"\pL{60}"
    made = 0
    while (
        answer := await core.post(path, {"effect": "deny", "path": {"pattern": f"{heavy}{made}"}})
    ).is_success:
        made += 1
        assert made < 20, "no set was ever too large"
    assert fields(answer) == ["path.pattern"]
    assert "beside the other rules" in answer.json()["errors"][0]["message"]
    assert core.head == head + made
    assert (await core.post(path, {"effect": "deny", "path": {"pattern": "^/light"}})).status_code == 201

    monkeypatch.setattr(references, "PROGRAM_MAX", references.PROGRAM_MAX // 10)
    looks = {"jsonPath": {"pattern": heavy}, "matchValue": {"pattern": heavy}}
    answer = await core.post(path, {"effect": "deny", "bodyChecks": [looks]})
    assert fields(answer) == ["bodyChecks"]
    monkeypatch.undo()

    monkeypatch.setattr(references, "RULES_MAX", made)
    assert fields(await core.post(path, {"effect": "deny"})) == ["rules"]
    assert rules.create.__doc__
