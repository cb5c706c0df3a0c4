"""Writes through two real control processes at once, and through one that is killed on the way."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any, NamedTuple

import httpx
import pytest

from tests.e2e.control_writes.prepared import CREDENTIAL, Prepared, is_whole, one
from tests.kit.control import REGION, ControlProcess

TARGET = {"targetBaseURL": "https://api.example.com", "targetRegion": REGION}
CAUGHT_UP = 4.0
"""Seconds within which a control process that nobody waits at has heard of what another one did."""


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
