"""Filters over the Core API, on all three kinds of parent."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from control_api import references
from control_api.handlers.filters import FILTERS
from control_api.handlers.parts import Parts
from models.resources.filter import MOST_PATHS
from tests.kit.api import REGIONS, Api, fields, one
from tests.kit.plane import until

GOOD: dict[str, Any] = {"action": "mask", "paths": ["$..pan"]}


async def parents(core: Api) -> dict[str, str]:
    """A path to the filters of one of each kind."""
    ids = await core.stack()
    return {
        "credential": f"{{c}}/credentials/{ids['caller']}/filters",
        "target": f"{{c}}/targets/{ids['target']}/filters",
        "proxy": f"{{c}}/proxies/{ids['proxy']}/filters",
    }


def filtered(core: Api) -> list[Any]:
    """The region's documents with filters in them."""
    found = [orjson.loads(one.text) for one in core.regions[REGIONS[0]].state.documents.values()]
    return [document for document in found if "filters" in document]


async def test_filters_are_made_read_replaced_and_deleted(core: Api) -> None:
    """The happy path under every kind of parent; the region gets the parent with its filters."""
    for kind, path in (await parents(core)).items():
        made = await core.make(path, {**GOOD, "mask": {"keepLast": 4}, "methods": ["get"]})
        assert made["filterId"].startswith("flt_")
        assert (made["clientId"], made["methods"], made["statuses"]) == (core.client, ["GET"], ["all"])
        assert made["mask"] == {"character": "*", "keepLast": 4}
        assert (made["appliesTo"], made["onUnparsable"], made["priority"]) == ("response", "block", 0)
        item = f"{path}/{made['filterId']}"
        assert one(await core.get(item)) == made
        assert (await core.get(path)).json()["filters"] == [made]
        put = one(await core.put(item, {**made, "active": False}))
        assert put["active"] is False
        assert (await core.patch(item, {"active": True})).status_code == 404
        assert (await core.put(item, GOOD, headers={"if-match": str(made["revision"])})).status_code == 412
        await until(lambda: len(filtered(core)) == 1)
        [document] = filtered(core)
        assert [part["filterId"] for part in document["filters"]] == [made["filterId"]]
        assert document[f"{kind}Id"] in path
        assert (await core.delete(item)).status_code == 204
        await until(lambda: not filtered(core))
        assert (await core.get(item)).status_code == 404


async def test_a_filter_belongs_to_its_parent(core: Api) -> None:
    """Under another parent, or another client's, there is no such filter; rules are other parts."""
    found = await parents(core)
    made = await core.make(found["target"], GOOD)
    for path in (found["proxy"], found["credential"], "{c}/targets/tgt_unknown/filters"):
        assert (await core.get(f"{path}/{made['filterId']}")).status_code == 404
        assert (await core.put(f"{path}/{made['filterId']}", GOOD)).status_code == 404
        assert (await core.delete(f"{path}/{made['filterId']}")).status_code == 404
    rules = found["target"].replace("filters", "rules")
    assert (await core.get(f"{rules}/{made['filterId']}")).status_code == 404
    assert (await core.get(rules)).json()["rules"] == []
    mine = found["target"].replace("{c}", f"/clients/{core.client}")
    core.client = await core.new_client("Other")
    theirs = mine.replace(mine.split("/")[2], core.client)
    assert (await core.get(theirs)).status_code == 404
    assert (await core.post(theirs, GOOD)).status_code == 404


async def test_filters_go_with_their_parent_and_every_change_is_audited(core: Api) -> None:
    """In the same change, with what they were."""
    path = (await parents(core))["proxy"]
    made = await core.make(path, GOOD)
    await core.put(f"{path}/{made['filterId']}", {**GOOD, "action": "destroy"})
    assert (await core.delete(path.removesuffix("/filters"))).status_code == 204
    found = (await core.get(f"{{c}}/audit?resourceId={made['filterId']}")).json()["audit"]
    assert [(entry["action"], entry["resourceType"]) for entry in found] == [
        ("delete", "filter"),
        ("update", "filter"),
        ("create", "filter"),
    ]
    assert found[0]["before"]["action"] == "destroy"
    assert found[0]["after"] is None


async def test_refused_filters_are_named_and_nothing_is_stored(core: Api) -> None:
    """A field each, whatever is wrong with it."""
    path = (await parents(core))["target"]
    made = await core.make(path, GOOD)
    head = core.head
    cases: list[tuple[dict[str, Any], str]] = [
        ({"action": "hash"}, "action"),
        ({"action": "unknown"}, "action"),
        ({"appliesTo": "request"}, "appliesTo"),
        ({"paths": []}, "paths"),
        ({"paths": ["$.a"] * (MOST_PATHS + 1)}, "paths"),
        ({"paths": ["$[0:1]"]}, "paths[0]"),
        ({"paths": ["$.a", "$[?@.a]"]}, "paths[1]"),
        ({"paths": ["$." + "a" * 1023]}, "paths[0]"),
        ({"paths": None}, "paths"),
        ({"methods": ["GTE"]}, "methods[0]"),
        ({"path": {"pattern": "("}}, "path.pattern"),
        ({"statuses": ["2XX"]}, "statuses[0]"),
        ({"statuses": [200]}, "statuses[0]"),
        ({"mask": {"character": "##"}}, "mask.character"),
        ({"mask": {"keepLast": -1}}, "mask.keepLast"),
        ({"redact": {}}, "redact"),
        ({"action": "redact", "mask": {}}, "mask"),
        ({"action": "redact", "redact": {"entities": ["NAME"]}}, "redact.entities[0]"),
        ({"action": "redact", "redact": {"minScore": 2}}, "redact.minScore"),
        ({"onUnparsable": "maybe"}, "onUnparsable"),
        ({"priority": -1}, "priority"),
        ({"active": "yes"}, "active"),
        ({"colour": 1}, "colour"),
        ({"filterId": "flt_mine"}, "filterId"),
        ({"rules": []}, "rules"),
    ]
    for change, field in cases:
        assert field in fields(await core.post(path, {**GOOD, **change})), change
        assert field in fields(await core.put(f"{path}/{made['filterId']}", {**GOOD, **change})), change
    owner = path.removesuffix("/filters")
    assert fields(await core.patch(owner, {"filters": [GOOD]})) == ["filters"]
    assert core.head == head
    assert one(await core.get(f"{path}/{made['filterId']}")) == made


async def test_there_are_bounds_beside_the_other_filters(core: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """How many, and what their path patterns weigh together; each parent has its own."""
    found = await parents(core)
    path = found["target"]
    heavy = {**GOOD, "path": {"pattern": r"\pL{60}"}}
    for _ in range(6):
        made = await core.make(path, heavy)
    answer = await core.post(path, heavy)
    assert fields(answer) == ["path.pattern"]
    assert "beside the other filters" in answer.json()["errors"][0]["message"]
    assert (await core.put(f"{path}/{made['filterId']}", heavy)).status_code == 200
    assert (await core.post(path, GOOD)).status_code == 201
    assert (await core.post(found["proxy"], heavy)).status_code == 201
    monkeypatch.setattr(references, "MOST_FILTERS", 7)
    assert fields(await core.post(path, GOOD)) == ["filters"]
    assert (await core.put(f"{path}/{made['filterId']}", GOOD)).status_code == 200


def test_handlers_are_those_of_parts() -> None:
    """Documented once, for rules and filters alike."""
    assert isinstance(FILTERS, Parts)
    assert all(getattr(FILTERS, name).__doc__ for name in ("list_all", "read", "create", "replace", "delete"))
