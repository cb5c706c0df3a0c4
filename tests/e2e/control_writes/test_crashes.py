"""Writes through a real control process that is cut off at every named point: all of a write is there, or nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from control_api.ledger.crash import POINTS
from models.custody.orders import Forget
from tests.e2e.control_writes.prepared import CREDENTIAL, TOKEN, Prepared, is_whole, one
from tests.kit.control import ControlProcess
from tests.kit.edge import until

KEYED = {"idempotency-key": "the-one-write"}


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
