"""Filters on answers through a real edge: retained, destroyed, masked, redacted, in the order of the stages."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from actors.names import REDACTOR
from models.errors import PeerUnavailable
from tests.kit.edge import EdgeProcess, policy, running_edge, until
from tests.kit.linked import LinkedEdge, RegionThread, linked
from tests.kit.raw import RawAnswer, RawClient, get, request
from tests.kit.redactor import core, find
from tests.kit.upstream import Answer, Seen, Upstream

PERSON = {
    "name": "Ada Lovelace",
    "card": "4111111111111111",
    "secret": {"deep": [1, 2]},
    "balance": 10.5,
    "tags": ["a", "b"],
}
JSON_TYPE = ("Content-Type", "application/json")


def served(seen: Seen) -> Answer:
    """People as JSON; other things under other paths."""
    if seen.target.startswith("/text"):
        return Answer(headers=[("Content-Type", "text/plain")], body=b"Ada Lovelace")
    if seen.target.startswith("/stream"):
        return Answer(headers=[("Content-Type", "text/event-stream")], body=b'data: {"name":"Ada"}\n\n')
    if seen.target.startswith("/large"):
        return Answer(headers=[JSON_TYPE], body=json.dumps([PERSON] * 5000).encode())
    status = 404 if seen.target.startswith("/missing") else 200
    body = json.dumps({"people": [PERSON, PERSON], "total": 2}, indent=1).encode()
    return Answer(status, [JSON_TYPE, ("ETag", '"1"'), ("Last-Modified", "then")], body)


class Place(NamedTuple):
    """The edge with its target."""

    edge: EdgeProcess
    upstream: Upstream


def document(url: str) -> dict[str, Any]:
    """One filter in each stage, each of which needs what the one before it left."""
    made = policy(
        url,
        sender={
            "filters": [{"filterId": "1-no-cards", "action": "destroy", "paths": ["$..card", "$..tags[-1]"]}]
        },
        target={"filters": [{"filterId": "2-people", "action": "retain", "paths": ["$.people"]}]},
        caller={
            "filters": [
                {
                    "filterId": "3-names",
                    "action": "mask",
                    "paths": ["$..name", "$..balance"],
                    "mask": {"keepLast": 2},
                    "statuses": ["2xx"],
                }
            ]
        },
        filters=[
            {"filterId": "4-secrets", "action": "destroy", "paths": ["$.people[*].secret"]},
            {"filterId": "off", "action": "destroy", "paths": ["$"], "active": False},
        ],
    )
    plain = {**made["proxies"][0], "proxyId": "second", "proxyAlias": "lenient"}
    made["proxies"].append(plain)
    made["targets"].append({"targetId": "bare", "targetName": "Bare", "targetBaseURL": url})
    made["credentials"] += [
        {**policy(url)["credentials"][0], "credentialId": "bare-caller"},
        {**policy(url)["credentials"][1], "credentialId": "bare-sender"},
    ]
    plain |= {
        "proxyTargetId": "bare",
        "proxyProxyCredentialId": "bare-caller",
        "proxyTargetCredentialId": "bare-sender",
        "filters": [
            {
                "filterId": "pass",
                "action": "mask",
                "paths": ["$..name"],
                "onUnparsable": "pass",
                "methods": ["GET"],
            }
        ],
    }
    return made


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with (
        Upstream(served) as upstream,
        running_edge(tmp_path_factory.mktemp("edge"), document(upstream.url)) as edge,
    ):
        yield Place(edge, upstream)


def ask(place: Place, path: str, *lines: str) -> RawAnswer:
    with RawClient(place.edge.port, 30.0) as client:
        client.send(get(path, *lines))
        return client.answer()


def code(answer: RawAnswer) -> tuple[int, str | None]:
    return answer.status, answer.get("exeat-proxy-code")


def test_an_answer_goes_through_all_four_stages(place: Place) -> None:
    """Each sees what the one before it left; the record has every filter with its count, in that order."""
    answer = ask(place, "/api/api/people", "Range: bytes=0-3", "Accept-Encoding: gzip")
    assert code(answer) == (200, "proxy-access-granted")
    left = {"name": "**********ce", "balance": "**.5", "tags": ["a"]}
    assert json.loads(answer.body) == {"people": [left, left]}
    assert answer.get("content-length") == str(len(answer.body))
    assert answer.get("etag") is None
    assert answer.get("last-modified") == "then"
    seen = place.upstream.seen[-1]
    assert (seen.get("range"), seen.all("accept-encoding")) == (None, ["identity"])
    wanted = answer.get("exeat-request-id")
    record = until(lambda: next((one for one in place.edge.records() if one["requestId"] == wanted), None))
    assert record["filters"] == [
        {"filterId": "1-no-cards", "action": "destroy", "count": 4},
        {"filterId": "2-people", "action": "retain", "count": 1},
        {"filterId": "3-names", "action": "mask", "count": 4},
        {"filterId": "4-secrets", "action": "destroy", "count": 2},
    ]
    assert record["redactions"] == {}
    assert record["bytesOut"] == len(answer.body)


def test_a_filter_applies_to_the_statuses_that_it_names(place: Place) -> None:
    """The mask is for 2xx; the others are for all."""
    answer = ask(place, "/api/api/missing")
    assert answer.status == 404
    assert json.loads(answer.body)["people"][0] == {"name": "Ada Lovelace", "balance": 10.5, "tags": ["a"]}


@pytest.mark.parametrize("path", ["text", "stream"])
def test_what_is_not_json_is_blocked_or_passes(place: Place, path: str) -> None:
    """As the filters of its proxy say."""
    answer = ask(place, f"/api/api/{path}")
    assert code(answer) == (422, "filter-blocked")
    assert b"Ada" not in answer.body
    answer = ask(place, f"/api/lenient/{path}")
    assert answer.status == 200
    assert b"Ada" in answer.body


def test_a_large_answer_is_filtered_while_others_are_served(place: Place) -> None:
    """Half a megabyte, aside, on several connections at once; and a connection goes on afterwards."""
    clients = [RawClient(place.edge.port, 60.0) for _ in range(3)]
    try:
        for client in clients:
            client.send(get("/api/lenient/large") + request("POST", "/api/lenient/large"))
        for client in clients:
            answer = client.answer()
            assert answer.status == 200
            people = json.loads(answer.body)
            assert len(people) == 5000
            assert {one["name"] for one in people} == {"*" * 12}
            assert b"Ada" in client.answer().body
    finally:
        for client in clients:
            client.socket.close()


def test_the_head_of_a_filtered_answer_says_nothing_of_the_whole(place: Place) -> None:
    """HEAD and GET do not differ in what they tell."""
    with RawClient(place.edge.port) as client:
        client.send(request("HEAD", "/api/api/people"))
        answer = client.answer(head=True)
        assert answer.status == 200
        assert (answer.get("content-length"), answer.get("etag")) == (None, None)
        client.send(get("/api/api/people"))
        assert client.answer().status == 200


# -- redaction, over the link -----------------------------------------------------------------------------

PEOPLE = {
    "contact": {"text": "Write to john.smith@example.com or call John Smith at +1 212 555 0123."},
    "items": [{"card": "4111 1111 1111 1111", "n": 7}],
}


async def ready(_payload: bytes) -> bytes:
    return b""


async def gone(_payload: bytes) -> bytes:
    raise PeerUnavailable("all redactors are dead")


class Region(NamedTuple):
    """An edge that takes its policy from a link, and what stands behind that."""

    plane: RegionThread
    edge: LinkedEdge

    def ask(self, path: str) -> RawAnswer:
        with RawClient(self.edge.port, 30.0) as client:
            client.send(get(f"/api/api/{path}"))
            return client.answer()


@pytest.fixture(scope="module")
def region(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Region]:
    """Its redactor is the real one, with its model loaded."""
    redact = {"filterId": "redact", "action": "redact", "paths": ["$"], "path": {"pattern": "^/people"}}
    core()
    body = json.dumps(PEOPLE).encode()
    folder = tmp_path_factory.mktemp("linked")
    with Upstream(lambda _: Answer(200, [JSON_TYPE], body)) as upstream, linked(folder) as (plane, edge):
        plane.region.others |= {(REDACTOR, "find"): find, (REDACTOR, "ready"): ready}
        plane.attend()
        plane.do(plane.region.sample(upstream.url, filters=[redact]))
        edge.wait_ready()
        made = Region(plane, edge)
        until(lambda: made.ask("other").status == 200, 20, "the proxy")
        yield made


def test_personal_data_comes_back_redacted(region: Region) -> None:
    """Name, e-mail, phone and card in nested JSON; the rest as it was, and other answers untouched."""
    region.plane.region.others[REDACTOR, "find"] = find
    answer = region.ask("people")
    assert code(answer) == (200, "proxy-access-granted")
    text = answer.body.decode()
    for hidden in ("john.smith", "John Smith", "555 0123", "4111"):
        assert hidden not in text
    for shown in ("<PERSON>", "<EMAIL_ADDRESS>", "<PHONE_NUMBER>", "<CREDIT_CARD>", '"n":7', "Write to"):
        assert shown in text
    assert json.loads(region.ask("other").body) == PEOPLE


@pytest.mark.soak
def test_without_redactors_nothing_passes_in_clear(region: Region) -> None:
    """It takes the five seconds in which one might come back; answers without redaction go on."""
    others = region.plane.region.others
    others[REDACTOR, "find"] = gone
    answer = region.ask("people")
    assert code(answer) == (502, "redaction-failed")
    assert b"John" not in answer.body
    assert json.loads(region.ask("other").body) == PEOPLE
    others[REDACTOR, "find"] = find
    assert until(lambda: region.ask("people").status == 200, 30, "redaction to be back")
