"""What the caller gets back: our own fields, ids and problem documents."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from models.errors import refusals
from tests.e2e.governed_call.governed_edge import ask, passed
from tests.kit.edge import CALLER_KEY, EdgeProcess, policy, running_edge
from tests.kit.raw import RawClient, get
from tests.kit.upstream import Upstream


def test_our_names_are_ours(edge: EdgeProcess) -> None:
    """Whatever a target sends under our prefix is removed; request id, code and message are the edge's."""
    reply = ask(edge, get("/api/api/spoof"))
    ours = {name: value for name, value in reply.headers if name.startswith("exeat-")}
    assert len([name for name, _ in reply.headers if name.startswith("exeat-")]) == len(ours)
    assert re.fullmatch(r"req_[0-9a-f]{24}", ours.pop("exeat-request-id"))
    assert ours == {"exeat-proxy-code": "proxy-access-granted", "exeat-proxy-message": "Access granted"}
    assert (reply.status, reply.get("x-of-the-target"), reply.body) == (201, "kept", b"spoofed")


@pytest.mark.parametrize(
    ("data", "status", "code"),
    [
        (get("/api/nobody/x"), 404, "proxy-unknown"),
        (get("/api/api/x", key=None), 401, "credential-rejected"),
        (get("/api/inactive/x"), 403, "proxy-inactive"),
        (get("/api/closed/x"), 403, "rule-denied"),
        (get("/api/dead/x"), 502, "target-unreachable"),
        (get("/api/api//x"), 400, "request-malformed"),
        (get("/api/api/x", "Via: 1.0 a, 1.1 {via}"), 508, "proxy-loop"),
    ],
)
def test_refusals_are_problem_documents(
    edge: EdgeProcess, upstream: Upstream, data: bytes, status: int, code: str
) -> None:
    """Each refusal is problem+json with our three fields; its text is fixed, and names nothing of ours or theirs."""
    via = passed(edge, upstream, get("/api/api/x")).get("via") or ""
    reply = ask(edge, data.replace(b"1.1 {via}", via.encode()))
    kind = next(kind for kind in refusals() if kind.code == code)
    assert (reply.status, reply.get("exeat-proxy-code")) == (status, code)
    assert reply.get("exeat-proxy-message") == kind.message
    assert reply.get("content-type") == "application/problem+json"
    problem = json.loads(reply.body)
    assert problem.pop("type").startswith("urn:exeat:problem:")
    assert problem.pop("title")
    assert (problem.pop("scope", "proxy"), problem.pop("ruleId", None)) == ("proxy", None)
    assert problem == {
        "status": status,
        "detail": kind.message,
        "code": code,
        "requestId": reply.get("exeat-request-id"),
    }
    assert reply.get("connection") == ("close" if kind.closes else None)


def test_ids_of_requests_differ(edge: EdgeProcess) -> None:
    """Every answer has an id of its own, refusals included, on one connection and on several."""
    ids = [ask(edge, get("/api/api/x", key=key)).get("exeat-request-id") for key in (CALLER_KEY, None)]
    with RawClient(edge.port) as client:
        for _ in range(5):
            client.send(get("/api/api/x"))
            ids.append(client.answer().get("exeat-request-id"))
    assert None not in ids
    assert len(set(ids)) == len(ids)


def test_another_header_prefix(tmp_path: Path, upstream: Upstream) -> None:
    """EXEAT_HEADER_PREFIX renames our fields on every answer, and is what is taken from both directions."""
    environment = {"EXEAT_HEADER_PREFIX": "requestrocket"}
    with running_edge(tmp_path, policy(upstream.url), environment=environment) as edge:
        granted = ask(edge, get("/api/api/x", "RequestRocket-Proxy-Code: forged"))
        for reply in (granted, ask(edge, get("/api/api/x", key=None))):
            assert {name for name, _ in reply.headers if name.startswith(("exeat", "requestrocket"))} == {
                "requestrocket-request-id",
                "requestrocket-proxy-code",
                "requestrocket-proxy-message",
            }
        assert not [name for name, _ in upstream.seen[-1].headers if name.startswith("requestrocket")]
