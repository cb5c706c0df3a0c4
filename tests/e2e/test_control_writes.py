"""Writes through real control processes: cut off at every named point, raced by two processes, killed on the way.

What a write is supposed to be is the log: all of it there or nothing, no hole, nothing twice, and everything
else (what GET shows, the audit list, what the region has, the projection that is kept) agrees with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from control_api.ledger.crash import POINTS
from control_api.ledger.projection import differences
from models.custody.orders import Forget
from tests.kit.control import REGION, ControlHome, ControlProcess, WireRegion
from tests.kit.edge import until

TOKEN = "target-token-of-the-write-0123456789"
KEYED = {"idempotency-key": "the-one-write"}
CREDENTIAL = {
    "credentialName": "cut off",
    "credentialType": "target",
    "credentialAuthType": "bearer",
    "credentialRegion": REGION,
    "credentialSecret": {"token": TOKEN},
}
TARGET = {"targetBaseURL": "https://api.example.com", "targetRegion": REGION}
CAUGHT_UP = 4.0
"""Seconds within which a control process that nobody waits at has heard of what another one did."""


class Prepared(NamedTuple):
    """A home in which nothing runs, its region, a client of the owner, and a credential with two rules."""

    home: ControlHome
    region: WireRegion
    client_id: str
    credential_id: str

    @property
    def client(self) -> str:
        return f"/clients/{self.client_id}"

    @property
    def credential(self) -> str:
        return f"{self.client}/credentials/{self.credential_id}"

    def copy(self, folder: Path) -> Prepared:
        return self._replace(home=self.home.copy(folder / "home"), region=self.region.copy())


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    home = ControlHome(tmp_path_factory.mktemp("control") / "home")
    region = WireRegion(home.home)
    with home.running() as control:
        region.announce(control.url)
        with region.following(control.url):
            client = one(control.http.post("/clients", json={"clientName": "acme"}), 201)["clientId"]
            path = f"/clients/{client}/credentials"
            made = one(control.http.post(path, json={**CREDENTIAL, "credentialName": "old"}), 201)
            credential = made["credentialId"]
            for pattern in ("^/a", "^/b"):
                rule = {"effect": "deny", "path": {"pattern": pattern}}
                answer = control.http.post(f"{path}/{credential}/rules", json=rule)
                assert answer.status_code == 201, answer.text
            region.settled(int(answer.headers["exeat-revision"]))
            until(lambda: not any(change.orders for change in home.read().changes), 10, "orders erased")
    return Prepared(home, region, client, credential)


@pytest.fixture
def prepared(original: Prepared, tmp_path: Path) -> Prepared:
    return original.copy(tmp_path)


def one(answer: httpx.Response, status: int = 200) -> dict[str, Any]:
    """The single element of a success."""
    assert answer.status_code == status, answer.text
    body = answer.json()
    (elements,) = [value for name, value in body.items() if name not in {"message", "nextCursor"}]
    (element,) = elements
    return dict(element)


def listed(control: ControlProcess, path: str) -> list[dict[str, Any]]:
    """All of a list that fits into one page."""
    answer = control.http.get(path, params={"limit": 1000})
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert "nextCursor" not in body
    (elements,) = [value for name, value in body.items() if name != "message"]
    return list(elements)


@contextlib.contextmanager
def cut_off(here: Prepared, point: str) -> Iterator[ControlProcess]:
    """A control process that ends at the point, which it must; its region follows where that is what leads there."""
    follow = here.region.following if point.endswith("-erase") else _nobody
    with here.home.running(crash_point=point) as control, follow(control.url):
        yield control
        control.killed()


@contextlib.contextmanager
def _nobody(_url: str) -> Iterator[None]:
    yield


def asked(ask: Callable[[], httpx.Response]) -> httpx.Response | None:
    """The answer; None when the process ended before it gave one."""
    try:
        return ask()
    except httpx.TransportError:
        return None


def is_whole(home: ControlHome) -> None:
    """No hole in the log, and the projection that is kept is the one that the log gives."""
    found = home.read()
    assert [change.revision for change in found.changes] == [*range(1, len(found.changes) + 1)]
    assert differences(found.kept, found.rebuilt) == []
    assert found.kept.revision == len(found.changes)


# -- crashes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("point", POINTS)
def test_creation_cut_off_is_whole_or_was_never_there(prepared: Prepared, point: str) -> None:
    """Resource, audit entry, sealed secret and `Idempotency-Key` are all there, or none; asking again gives the one result."""
    home, region, client = prepared.home, prepared.region, prepared.client
    head = len(home.read().changes)
    with cut_off(prepared, point) as control:
        answer = asked(lambda: control.http.post(f"{client}/credentials", json=CREDENTIAL, headers=KEYED))
        assert answer is None or (answer.status_code == 201 and point.endswith("-erase"))
    happened = point != "before-insert"
    assert len(home.read().changes) == head + happened

    with home.running() as control, region.following(control.url):
        found = [
            credential["credentialId"]
            for credential in listed(control, f"{client}/credentials")
            if credential["credentialName"] == "cut off"
        ]
        audit = listed(control, f"{client}/audit")
        named = [entry for entry in audit if (entry["after"] or {}).get("credentialName") == "cut off"]
        assert [entry["resourceId"] for entry in named] == found
        assert len(found) == happened

        again = control.http.post(f"{client}/credentials", json=CREDENTIAL, headers=KEYED)
        made = one(again, 201)
        assert again.headers["exeat-revision"] == str(head + 1)
        assert again.headers["exeat-propagation"] == "applied"
        assert [made["credentialId"]] == (found or [made["credentialId"]])
        if answer is not None:
            assert one(answer, 201)["credentialId"] == made["credentialId"]
        differing = control.http.post(
            f"{client}/credentials", json={**CREDENTIAL, "credentialName": "another"}, headers=KEYED
        )
        assert differing.status_code == 409

        region.settled(head + 1)
        assert ("credential", made["credentialId"]) in region.state.documents
        puts = region.puts(made["credentialId"])
        assert puts
        assert {(put.binding.version, region.secret(put)["secret"]["token"]) for put in puts} == {(1, TOKEN)}
        until(lambda: not home.read().changes[head].orders, 10, "its orders erased")
        followed = control.http.post("/clients", json={"clientName": "next"})
        assert followed.headers["exeat-revision"] == str(head + 2)
    is_whole(home)
    assert [change.action for change in home.read().of(made["credentialId"])] == ["create"]


@pytest.mark.parametrize("point", POINTS)
def test_deletion_cut_off_is_whole_or_was_never_there(prepared: Prepared, point: str) -> None:
    """A credential goes with its rules and its secret, in one step, or stays with them."""
    home, region, path = prepared.home, prepared.region, prepared.credential
    head = len(home.read().changes)
    with cut_off(prepared, point) as control:
        answer = asked(lambda: control.http.delete(path))
        assert answer is None or (answer.status_code == 204 and point.endswith("-erase"))
    happened = point != "before-insert"
    with home.running() as control, region.following(control.url):
        status = control.http.get(path).status_code
        rules = control.http.get(f"{path}/rules")
        gone = [
            entry["revision"]
            for entry in listed(control, f"{prepared.client}/audit")
            if entry["action"] == "delete" and entry["resourceId"] == prepared.credential_id
        ]
        assert (status, rules.status_code, gone) == ((404, 404, [head + 1]) if happened else (200, 200, []))
        if not happened:
            assert len(rules.json()["rules"]) == 2
            answer = control.http.delete(path)
            assert (answer.status_code, answer.headers["exeat-revision"]) == (204, str(head + 1))
        region.settled(head + 1)
        assert ("credential", prepared.credential_id) not in region.state.documents
        forgotten = [order for order in region.orders if isinstance(order, Forget)]
        assert {order.credential_id for order in forgotten} == {prepared.credential_id}
        assert control.http.delete(path).status_code == 404
    is_whole(home)


# -- two processes ----------------------------------------------------------------------------------


class Two(NamedTuple):
    """Two control processes over one home, a region that follows at the second one, and a caller at each."""

    here: Prepared
    processes: tuple[ControlProcess, ControlProcess]
    callers: tuple[httpx.AsyncClient, httpx.AsyncClient]

    def by_turns(self, number: int) -> httpx.AsyncClient:
        return self.callers[number % 2]


@pytest.fixture
async def two(prepared: Prepared) -> AsyncIterator[Two]:
    home, region = prepared.home, prepared.region
    with (
        home.running() as first,
        home.running() as second,
        region.following(second.url),
    ):
        async with first.caller() as one, second.caller() as other:
            yield Two(prepared, (first, second), (one, other))
    is_whole(home)


async def together(*work: Coroutine[Any, Any, Any]) -> list[Any]:
    """All of it at once."""
    return list(await asyncio.gather(*work))


async def heard(condition: Callable[[], Awaitable[object]]) -> None:
    """Returns once it holds at a process that nobody waits at."""
    deadline = time.monotonic() + CAUGHT_UP
    while not await condition():
        assert time.monotonic() < deadline, "the other process has not heard of it"
        await asyncio.sleep(0.02)


async def count_up(caller: httpx.AsyncClient, path: str, times: int) -> list[int]:
    """Raises a client's daily limit by one so many times, each on what it read; the revisions of that."""
    revisions = []
    while len(revisions) < times:
        now = one(await caller.get(path))
        limits = now["clientConfiguration"]["limits"]
        raised = {"clientConfiguration": {"limits": {"requestsPerDay": limits["requestsPerDay"] + 1}}}
        answer = await caller.patch(path, json=raised, headers={"if-match": str(now["revision"])})
        assert answer.status_code in {200, 412}, answer.text
        if answer.status_code == 200:
            assert one(answer)["clientConfiguration"]["limits"] == raised["clientConfiguration"]["limits"]
            revisions.append(int(answer.headers["exeat-revision"]))
    return revisions


async def test_concurrent_writers_at_two_processes_lose_nothing(two: Two) -> None:
    """On resources of their own and on one that all share: every answered write is in the log, once, at its revision."""
    home, client = two.here.home, two.here.client
    start = len(home.read().changes)
    shared = one(
        await two.callers[0].post(
            "/clients",
            json={"clientName": "shared", "clientConfiguration": {"limits": {"requestsPerDay": 1}}},
        ),
        201,
    )["clientId"]

    async def make(number: int) -> tuple[int, str]:
        answer = await two.by_turns(number).post(
            f"{client}/targets", json={**TARGET, "targetName": f"own-{number}"}
        )
        return int(answer.headers["exeat-revision"]), one(answer, 201)["targetId"]

    async def name(number: int) -> tuple[int, str]:
        answer = await two.by_turns(number).post("/clients", json={"clientName": f"client-{number}"})
        return int(answer.headers["exeat-revision"]), one(answer, 201)["clientId"]

    counted, made = await together(
        together(*(count_up(two.by_turns(number), f"/clients/{shared}", 8) for number in range(6))),
        together(*(make(number) for number in range(60)), *(name(number) for number in range(60))),
    )
    revisions = [*(revision for some in counted for revision in some), *(revision for revision, _ in made)]
    assert sorted(revisions) == [*range(start + 2, start + 2 + len(revisions))]
    found = home.read()
    assert len(found.changes) == start + 1 + len(revisions)
    for revision, resource in made:
        change = found.changes[revision - 1]
        assert (change.revision, change.action, change.items[0].id) == (revision, "create", resource)

    async def shown(caller: httpx.AsyncClient) -> tuple[int, set[str], list[str]]:
        limits = one(await caller.get(f"/clients/{shared}"))["clientConfiguration"]["limits"]
        ids = set()
        for path, key, field in (
            (f"{client}/targets", "targets", "targetId"),
            ("/clients", "clients", "clientId"),
        ):
            answer = await caller.get(path, params={"limit": 1000})
            ids |= {element[field] for element in answer.json()[key]}
        audit = await caller.get(f"/clients/{shared}/audit", params={"limit": 1000})
        return limits["requestsPerDay"], ids, [entry["auditId"] for entry in audit.json()["audit"]]

    expected = {resource for _, resource in made}
    for caller in two.callers:

        async def complete(caller: httpx.AsyncClient = caller) -> bool:
            count, ids, audit = await shown(caller)
            return count == 1 + 6 * 8 and expected <= ids and len(audit) == len(set(audit)) == 1 + 6 * 8

        await heard(complete)
    region = two.here.region
    region.settled(max(revision for revision, resource in made[:60]))
    assert {("target", resource) for _, resource in made[:60]} <= region.state.documents.keys()
    assert region.revisions == sorted(set(region.revisions))


async def test_two_processes_let_one_have_what_only_one_may(two: Two) -> None:
    """One key, one alias, one reference: asked for at both at once, exactly one write is done each time."""
    client = two.here.client
    first = two.callers[0]
    caller = one(
        await first.post(
            f"{client}/credentials",
            json={
                **CREDENTIAL,
                "credentialType": "proxy",
                "credentialAuthType": "apiKey",
                "credentialSecret": {"key": "caller-key-0123456789"},
            },
        ),
        201,
    )["credentialId"]
    sender = two.here.credential_id

    for number in range(6):
        keyed = {"idempotency-key": f"both-{number}"}
        target = {**TARGET, "targetName": f"target-{number}"}
        answers = await together(
            *(each.post(f"{client}/targets", json=target, headers=keyed) for each in (*two.callers,) * 2)
        )
        (target_id,) = {one(answer, 201)["targetId"] for answer in answers}
        assert len({answer.headers["exeat-revision"] for answer in answers}) == 1

        proxy = {
            "proxyName": "proxy",
            "proxyRegion": REGION,
            "proxyProxyCredentialIds": [caller],
            "proxyTargetId": target_id,
            "proxyTargetCredentialId": sender,
            "proxyAlias": f"alias-{number}",
        }
        answers = await together(*(each.post(f"{client}/proxies", json=proxy) for each in two.callers))
        assert sorted(answer.status_code for answer in answers) == [201, 422]

        spare = one(await first.post(f"{client}/targets", json=target), 201)["targetId"]
        joined = {**proxy, "proxyTargetId": spare, "proxyAlias": f"spare-{number}"}
        deleted, referred = await together(
            two.by_turns(number).delete(f"{client}/targets/{spare}"),
            two.by_turns(number + 1).post(f"{client}/proxies", json=joined),
        )
        assert (deleted.status_code, referred.status_code) in {(204, 422), (409, 201)}


async def test_what_one_process_made_the_other_knows(two: Two) -> None:
    """A client, a target, a rule and a change, each at once where nobody asked before; references and `If-Match` too."""
    for number in range(4):
        first, second = two.by_turns(number), two.by_turns(number + 1)
        client = one(await first.post("/clients", json={"clientName": f"client-{number}"}), 201)["clientId"]
        targets = f"/clients/{client}/targets"
        made = one(await second.post(targets, json={**TARGET, "targetName": "one"}), 201)
        path = f"{targets}/{made['targetId']}"
        renamed = await first.patch(
            path, json={"targetName": "two"}, headers={"if-match": str(made["revision"])}
        )
        again = await second.patch(
            path, json={"targetName": "three"}, headers={"if-match": str(one(renamed)["revision"])}
        )
        assert one(again)["targetName"] == "three"
        rule = {"effect": "deny", "path": {"pattern": "^/"}}
        added = one(await first.post(f"{path}/rules", json=rule), 201)
        assert one(await second.get(f"{path}/rules/{added['ruleId']}"))["effect"] == "deny"
        assert (await second.delete(path)).status_code == 204
        assert (await first.delete(f"/clients/{client}")).status_code == 204
        assert (await second.get(f"/clients/{client}-of-nobody")).status_code == 404


async def test_what_one_process_ended_ends_at_the_other(two: Two) -> None:
    """A token that is deleted, and a client: refused and unknown there, soon, though nobody wrote anything there."""
    first, second = two.callers
    user = one(await first.get("/users/me"))["userId"]
    made = one(
        await first.post(f"/users/{user}/tokens", json={"tokenName": "t", "tokenScopes": ["read"]}), 201
    )
    token = {"authorization": made["tokenValue"]}
    assert (await second.get("/users/me", headers=token)).status_code == 200  # known at once
    assert (await first.delete(f"/users/{user}/tokens/{made['tokenId']}")).status_code == 204

    async def refused() -> bool:
        return (await second.get("/users/me", headers=token)).status_code == 401

    await heard(refused)


async def test_killed_writer_loses_nothing_it_answered(prepared: Prepared) -> None:
    """One of two is killed amid writes: what it answered is there; what it did not is done once by asking the other."""
    home = prepared.home
    with home.running() as survivor, home.running() as victim:
        async with survivor.caller() as one_caller, victim.caller() as other:
            answered: dict[str, str] = {}
            open_names: list[str] = []

            async def write(number: int) -> None:
                name = f"amid-{number}"
                keyed = {"idempotency-key": name}
                try:
                    answer = await other.post("/clients", json={"clientName": name}, headers=keyed)
                except httpx.TransportError:
                    open_names.append(name)
                else:
                    answered[name] = one(answer, 201)["clientId"]
                    if len(answered) == 40:
                        os.kill(victim.process.pid, signal.SIGKILL)

            async def beside(number: int) -> None:
                answer = await one_caller.post("/clients", json={"clientName": f"beside-{number}"})
                assert answer.status_code == 201

            await together(
                *(write(number) for number in range(120)), *(beside(number) for number in range(40))
            )
            victim.killed()
            assert len(answered) >= 40
            assert open_names
            for name in [*open_names, *answered]:
                answer = await one_caller.post(
                    "/clients", json={"clientName": name}, headers={"idempotency-key": name}
                )
                answered.setdefault(name, one(answer, 201)["clientId"])
                assert one(answer, 201)["clientId"] == answered[name]
            found = await one_caller.get("/clients", params={"limit": 1000})
            names = Counter(client["clientName"] for client in found.json()["clients"])
            assert {name: names[name] for name in answered} == dict.fromkeys(answered, 1)
            assert len(answered) == 120
    is_whole(home)
