"""The edge's own answers: problem documents with our fields, and nothing internal in them."""

from __future__ import annotations

import json

import h11
import pytest

from models.errors import (
    LimiterUnavailable,
    LimitExceeded,
    Refusal,
    RequestMalformed,
    RuleDenied,
    TargetForbidden,
    refusals,
)
from proxy_edge.answers import Answers

ANSWERS = Answers("exeat")


def read(data: bytes, method: bytes = b"GET") -> tuple[int, dict[str, str], bytes]:
    """The answer as an independent parser reads it; it must be whole and nothing may follow."""
    reader = h11.Connection(h11.CLIENT)
    reader.send(h11.Request(method=method, target=b"/", headers=[(b"Host", b"e")]))
    reader.send(h11.EndOfMessage())
    reader.receive_data(data)
    head, body = reader.next_event(), b""
    assert isinstance(head, h11.Response)
    while isinstance(event := reader.next_event(), h11.Data):
        body += bytes(event.data)
    assert isinstance(event, h11.EndOfMessage)
    assert reader.trailing_data == (b"", False)
    headers = {name.decode(): value.decode() for name, value in head.headers}
    assert len(headers) == len(head.headers)
    return head.status_code, headers, body


def refusal(one: Refusal, *, limits: bytes = b"", close: bool = False, head_only: bool = False) -> bytes:
    return ANSWERS.refusal(one, "req_1", limits=limits, close=close, head_only=head_only)


@pytest.mark.parametrize("kind", [Refusal, *refusals()])
def test_every_refusal_is_a_problem_document(kind: type[Refusal]) -> None:
    """Status, code and message of the class, the request's id, and not a word of the detail."""
    special = {LimitExceeded: LimitExceeded(1, "canary"), RuleDenied: RuleDenied("canary", None)}
    one = special.get(kind) or kind("canary")
    status, headers, body = read(refusal(one))
    document = json.loads(body)
    assert status == document["status"] == kind.status
    assert headers["content-type"] == "application/problem+json"
    assert headers["exeat-proxy-code"] == document["code"] == kind.code
    assert headers["exeat-proxy-message"] == document["detail"] == kind.message
    assert headers["exeat-request-id"] == document["requestId"] == "req_1"
    assert {"type", "title"} < set(document)
    if kind is not RuleDenied:
        assert b"canary" not in body


def test_a_denial_names_scope_and_rule() -> None:
    """And null where the scope's default decided."""
    assert (
        json.loads(read(refusal(RuleDenied("proxy", "r1")))[2]).items()
        >= {"scope": "proxy", "ruleId": "r1"}.items()
    )
    assert json.loads(read(refusal(RuleDenied("target", None)))[2])["ruleId"] is None
    assert "scope" not in json.loads(read(refusal(TargetForbidden("10.0.0.1")))[2])


def test_retry_after() -> None:
    """On 429, and on 503 limiter-unavailable; nowhere else."""
    assert read(refusal(LimitExceeded(17)))[1]["retry-after"] == "17"
    assert read(refusal(LimiterUnavailable("x")))[1]["retry-after"] == "1"
    assert "retry-after" not in read(refusal(TargetForbidden("x")))[1]


def test_limits_are_told() -> None:
    """As the step worded them."""
    assert read(refusal(LimitExceeded(1), limits=b"ratelimit: x\r\n"))[1]["ratelimit"] == "x"


def test_close_is_told() -> None:
    """Only where the connection ends."""
    assert read(refusal(RequestMalformed("x"), close=True))[1]["connection"] == "close"
    assert "connection" not in read(refusal(RuleDenied("proxy", None)))[1]


def test_head_gets_the_length_and_no_body() -> None:
    """RFC 9110 section 9.3.2."""
    whole = refusal(RequestMalformed("x"))
    bare = refusal(RequestMalformed("x"), head_only=True)
    assert read(bare, b"HEAD")[2] == b""
    assert whole.startswith(bare)


def test_an_answer_may_lack_the_request_id() -> None:
    """What never became a request has none."""
    status, headers, body = read(
        ANSWERS.refusal(RequestMalformed("x"), "", limits=b"", close=True, head_only=False)
    )
    assert status == 400
    assert "exeat-request-id" not in headers
    assert "requestId" not in json.loads(body)


def test_plain_pages() -> None:
    """JSON, with or without a close, with or without a body."""
    status, headers, body = read(ANSWERS.plain(503, b'{"a":1}', close=True, head_only=False))
    assert (status, headers["connection"], body) == (503, "close", b'{"a":1}')
    status, headers, body = read(ANSWERS.plain(200, b"{}", close=False, head_only=True), b"HEAD")
    assert (status, headers["content-length"], body) == (200, "2", b"")
    assert "connection" not in headers


def test_the_prefix_is_configurable() -> None:
    """EXEAT_HEADER_PREFIX renames every field of ours."""
    answers = Answers("requestrocket")
    headers = read(answers.refusal(RequestMalformed("x"), "req_1", limits=b"", close=False, head_only=False))[
        1
    ]
    assert {name for name in headers if name.startswith("requestrocket-")} == {
        "requestrocket-proxy-code",
        "requestrocket-proxy-message",
        "requestrocket-request-id",
    }
    assert answers.granted_line == (
        b"requestrocket-proxy-code: proxy-access-granted\r\nrequestrocket-proxy-message: Access granted\r\n"
        b"requestrocket-request-id: "
    )
