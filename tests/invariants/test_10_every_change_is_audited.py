"""Invariant 10: every change is audited, because the change log is the truth.

Any sequence of writes through the API, refused ones included: what changed is exactly what its one entry in the log
says, what changed nothing has no entry, and the audit list, read page by page, is that log. Its entries alone, in
order, give every resource as the API shows it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from control_api.ledger.change import KINDS, Change
from control_api.ledger.ledger import rebuild
from control_api.presentation import WITHHELD
from tests.kit.api import REGIONS, Api, api, caller_body, proxy_body, sender_body, target_body

Key = tuple[str, str]
State = dict[Key, dict[str, Any]]

RULE = {"effect": "deny", "path": {"pattern": "^/x"}}


class Step(NamedTuple):
    """One request. flavour: which of its variants; number: which of the resources there are; fault: what is wrong with it."""

    verb: str
    kind: str
    number: int
    flavour: int
    fault: str


WHOLE, PART = ("create", "replace", "alter", "delete", "read"), ("create", "replace", "delete", "read")
VERBS = {
    "credential": (*WHOLE, "revoke"),
    "target": WHOLE,
    "proxy": WHOLE,
    "rule": ("create", *PART),
    "member": PART,
    "client": ("replace", "alter", "delete", "read"),
    "configuration": ("replace", "read"),
    "token": ("create", "delete", "read"),
}
FAULTS = ("unknown", "value", "stale", "body", "role", "scope", "repeat", "gone")
STEPS = st.sampled_from([(verb, kind) for kind, verbs in VERBS.items() for verb in verbs]).flatmap(
    lambda one: st.builds(
        Step,
        st.just(one[0]),
        st.just(one[1]),
        st.integers(0, 3),
        st.integers(0, 5),
        st.sampled_from(FAULTS) | st.just("") | st.just(""),
    )
)


class Desk:
    """One client of its own, and what was made in it."""

    def __init__(self, core: Api, client: str, auditor: str, reader: str, users: list[str]) -> None:
        self.core, self.client, self.users = core, client, users
        self.auditor, self.reader = auditor, reader
        self.ids: dict[str, list[Any]] = {
            kind: [] for kind in ("credential", "target", "proxy", "rule", "token")
        }

    def path(self, step: Step) -> str:
        """Of the resource, or of its collection when it is to be made or there is none."""
        base = f"/clients/{self.client}"
        made = self.ids.get(step.kind, [])
        one = made[step.number % len(made)] if made else "none"
        if step.kind == "token":
            here = f"/users/{self.core.user}/tokens"
            return here if step.verb == "create" else f"{here}/{one}"
        if step.kind == "member":
            return base + "/members" + ("" if step.verb == "create" else f"/{self.user(step)}")
        if step.kind in {"client", "configuration"}:
            return base if step.kind == "client" else f"{base}/configuration"
        if step.kind == "rule":
            place = ("credentials", "targets", "proxies")[step.flavour % 3]
            there = self.ids[
                place.removesuffix("ies").removesuffix("s") + ("y" if place == "proxies" else "")
            ]
            parent = there[step.number % len(there)] if there else "none"
            new = f"{base}/{place}/{parent}/rules"
            return new if step.verb == "create" else f"{base}{one}"
        found = f"{base}/{'proxies' if step.kind == 'proxy' else step.kind + 's'}"
        found = found if step.verb == "create" else f"{found}/{one}"
        return f"{found}/revoke" if step.verb == "revoke" else found

    def user(self, step: Step) -> str:
        return self.users[step.number % len(self.users)]

    def body(self, step: Step) -> Any:
        """What the request says."""
        text = f"Name {step.flavour}"
        whole = step.verb != "alter"
        if step.kind == "credential":
            sends = step.flavour % 2
            made: dict[str, Any] = (sender_body if sends else caller_body)(credentialName=text)
            if step.flavour == 2:
                del made["credentialSecret"]
            made["credentialOverlapSeconds"] = step.flavour
            return (
                made if whole else {"credentialName": text, "credentialSecret": made.get("credentialSecret")}
            )
        if step.kind == "target":
            return target_body(targetName=text) if whole else {"targetTimeoutMs": 1000 + step.flavour}
        if step.kind == "proxy":
            ids = {name: self._first(name) for name in ("caller", "sender", "target")}
            return proxy_body(ids, proxyName=text) if whole else {"proxyActive": bool(step.flavour % 2)}
        if step.kind == "rule":
            return {**RULE, "notes": text}
        if step.kind == "member":
            roles = [["auditor"], ["admin"], ["user", "auditor"]][step.flavour % 3]
            return {"userId": self.user(step), "roles": roles} if step.verb == "create" else {"roles": roles}
        if step.kind == "configuration":
            return {"configuration": {"limits": {"requestsPerDay": 10 + step.flavour}}}
        if step.kind == "token":
            return {"tokenName": text, "tokenScopes": ["read"]}
        return {"clientName": text}

    def _first(self, name: str) -> str:
        """A caller, sender or target of the client, or an id that is none."""
        if name == "target":
            return str(self.ids["target"][0]) if self.ids["target"] else "tgt_none"
        side = "proxy" if name == "caller" else "target"
        for one in self.ids["credential"]:
            found = self.core.projection.get("credential", one)
            if found is not None and found.body["credentialType"] == side:
                return str(one)
        return "cred_none"

    async def request(self, step: Step) -> list[httpx.Response]:
        """Sends it, with its fault; twice with one `Idempotency-Key` for `repeat`."""
        method = {"create": "POST", "replace": "PUT", "alter": "PATCH", "delete": "DELETE", "read": "GET"}
        path, body, more = self.path(step), self.body(step), dict[str, Any]()
        headers: dict[str, str] = {}
        if step.verb in {"delete", "read", "revoke"}:
            body = None
        if step.fault == "unknown" and body is not None:
            body = {**body, "noSuchField": 1}
        elif step.fault == "value" and body is not None:
            body = {name: [None] for name in body}
        elif step.fault == "stale":
            headers["if-match"] = "1"
        elif step.fault == "gone":
            path = path.replace("_", "_0", 2)
        elif step.fault in {"role", "scope"}:
            more["token"] = self.auditor if step.fault == "role" else self.reader
        elif step.fault == "repeat":
            headers["idempotency-key"] = f"at {self.core.head}"
        if step.fault == "body":
            more["content"] = b'{"a": 1'
        elif body is not None:
            more["json"] = body
        verb = method.get(step.verb, "POST")
        found = [await self.core.call(verb, path, headers=headers, **more)]
        if step.fault == "repeat" and verb == "POST":
            found.append(await self.core.call(verb, path, headers=headers, **more))
        if step.verb == "create" and found[0].status_code == 201 and step.kind in self.ids:
            name = f"{step.kind}Id"
            made = next(value for key, value in found[0].json().items() if key != "message")[0]
            where = path.removeprefix(f"/clients/{self.client}")
            self.ids[step.kind].append(f"{where}/{made[name]}" if step.kind == "rule" else made[name])
        return found


def state(core: Api) -> State:
    """Every resource there is, as it is kept."""
    return {
        (kind, one.id): json.loads(json.dumps(one.body))
        for kind in KINDS
        for one in core.projection.list(kind)
    }


def difference(before: State, after: State) -> dict[Key, tuple[Any, Any]]:
    """What is not as it was: (before, after) of each, None for not there."""
    keys = before.keys() | after.keys()
    return {key: (before.get(key), after.get(key)) for key in keys if before.get(key) != after.get(key)}


async def taken(desk: Desk, step: Step) -> None:
    """One step, and what must hold of it."""
    core = desk.core
    before, head = state(core), core.head
    answers = await desk.request(step)
    after, first = state(core), answers[0]
    changed = difference(before, after)
    if not first.is_success or step.verb == "read":
        assert core.head == head, (step, first.text)
        assert changed == {}, step
        return
    assert core.head == head + 1, (step, first.text)
    assert first.headers["exeat-revision"] == str(core.head)
    assert [answer.headers["exeat-revision"] for answer in answers[1:]] == [str(core.head)] * len(answers[1:])
    entry = await core.plane.ledger.change(core.head)
    assert entry is not None
    assert entry.actor == core.user
    assert entry.client_id == (None if step.kind == "token" else desk.client)
    told = {item.key: (item.before, item.after) for item in entry.items}
    assert {key: pair for key, pair in told.items() if pair[0] != pair[1]} == changed, step
    assert all(before.get(key) == pair[0] and after.get(key) == pair[1] for key, pair in told.items()), step


async def history(core: Api, client: str, limit: int) -> list[dict[str, Any]]:
    """The whole audit list of a client, page by page, newest first."""
    found, query = [], {"limit": str(limit)}
    while True:
        page = (await core.get(f"/clients/{client}/audit", params=query)).json()
        found += page["audit"]
        if "nextCursor" not in page:
            return found
        query["cursor"] = page["nextCursor"]


async def log(core: Api) -> list[Change]:
    """Every change there is, oldest first."""
    found: list[Change] = []
    while batch := await core.plane.ledger.log.after(found[-1].revision if found else 0, 500):
        found += batch
    return found


def shown(body: dict[str, Any] | None) -> dict[str, Any] | None:
    """A body without what even the audit list leaves out."""
    return None if body is None else {name: one for name, one in body.items() if name not in WITHHELD}


async def story(core: Api, steps: list[Step], limit: int) -> None:
    """A client's life, and what its audit list says of it."""
    client = await core.new_client("Audited")
    core.client = client
    auditor, token = await core.new_member("auditor")
    reader = await core.new_token(core.user, ["read"])
    users = [auditor, *[(await core.new_user())[0] for _ in range(2)]]
    desk = Desk(core, client, token, reader, users)
    for kind, flavour in (("credential", 0), ("credential", 1), ("target", 0), ("proxy", 0)):
        await taken(desk, Step("create", kind, 0, flavour, ""))
    for step in steps:
        await taken(desk, step)

    everything = await log(core)
    assert [one.revision for one in everything] == list(range(1, core.head + 1))
    mine = [one for one in everything if one.client_id == client]
    audit = await history(core, client, limit)
    expected = [
        (one.revision, one.actor, one.action, item.kind, item.id, shown(item.before), shown(item.after))
        for one in reversed(mine)
        for item in one.items
    ]
    names = ("revision", "actor", "action", "resourceType", "resourceId", "before", "after")
    assert [tuple(entry[name] for name in names) for entry in audit] == expected
    assert len({entry["auditId"] for entry in audit}) == len(audit)

    told: State = {}
    for entry in sorted(audit, key=lambda one: int(one["revision"])):
        key = (entry["resourceType"], entry["resourceId"])
        assert entry["before"] == told.get(key), entry
        if entry["after"] is None:
            del told[key]
        else:
            told[key] = entry["after"]
    own = {key: shown(body) for key, body in state(core).items() if _owner(core, key) == client}
    assert told == own


def _owner(core: Api, key: Key) -> str | None:
    if key[0] == "client":
        return key[1]
    found = core.projection.get(*key)
    return None if found is None else found.client_id


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Api, Callable[..., Any]]]:
    """A Core API whose regions follow, and the way to run something on its loop."""
    home: Path = tmp_path_factory.mktemp("audited")
    with asyncio.Runner() as runner:
        context = api(home)
        core = runner.run(context.__aenter__())
        yield core, runner.run
        runner.run(context.__aexit__(None, None, None))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(STEPS, min_size=4, max_size=14), st.integers(1, 7))
def test_any_history_is_in_the_audit_list(
    running: tuple[Api, Callable[..., Any]], steps: list[Step], limit: int
) -> None:
    """Every write has its entry, every entry its write; refusals, repetitions and reads have none."""
    core, run = running
    run(story(core, steps, limit))


def test_what_is_kept_is_what_the_log_says(running: tuple[Api, Callable[..., Any]]) -> None:
    """Rebuilt from the log alone, everything is as the API has it: nothing was written beside it."""
    core, run = running
    run(story(core, [Step("create", "rule", 0, number, "") for number in range(3)], 5))
    rebuilt = run(rebuild(core.plane.store))
    again = {(kind, one.id): one.body for kind in KINDS for one in rebuilt.list(kind)}
    assert again == state(core)
    assert rebuilt.revision == core.head


def test_changes_of_the_system_are_in_the_log(running: tuple[Api, Callable[..., Any]]) -> None:
    """The owner, its token and the regions came to be by changes as well, and by nothing else."""
    core, run = running
    found = run(log(core))
    first = [(one.action, item.kind) for one in found if one.actor == "system" for item in one.items]
    assert {"user", "token", "region"} <= {kind for _, kind in first}
    regions = {item.id for one in found for item in one.items if item.kind == "region"}
    assert regions == set(REGIONS)
