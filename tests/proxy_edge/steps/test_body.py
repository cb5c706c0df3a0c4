"""Step 7: what can be judged at all, and in which time."""

from __future__ import annotations

import pytest

from models.body_checks import MAX_PATH
from models.errors import PolicyUnavailable, RequestJsonTooLarge, RequestMalformed, RequestTooLarge
from models.request import CanonicalRequest
from models.resources.rule import Rule
from models.rules import FourScopes, Undecided, compile_scope
from models.strict_json import MAX_VALUES
from proxy_edge.steps.body import check_announced, check_size, decide, within


def undecided(**rule: object) -> Undecided:
    looks = {"bodyChecks": [{"jsonPath": {"pattern": r"\['a'\]$"}, "matchValue": {"pattern": "^1$"}}]}
    rules = [Rule.model_validate({"ruleId": "r", "effect": "deny", **looks, **rule})]
    names = ("proxyCredential", "targetCredential", "proxy", "target")
    first, second, third, fourth = (
        compile_scope(name, rules if name == "proxy" else [], "allow") for name in names
    )
    waits = FourScopes((first, second, third, fourth)).judge(CanonicalRequest(b"POST", b"/", b"", []))
    assert isinstance(waits, Undecided)
    return waits


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(b"content-type", b"text/plain")],
        [(b"content-encoding", b"identity"), (b"content-encoding", b"IDENTITY")],
        [(b"accept-encoding", b"gzip")],
    ],
    ids=["none", "type", "identity", "accept"],
)
def test_a_body_without_a_coding_can_be_judged(headers: list[tuple[bytes, bytes]]) -> None:
    """Whatever its content type; up to the cap."""
    check_announced(headers, None, 10)
    check_announced(headers, 10, 10)
    with pytest.raises(RequestTooLarge):
        check_announced(headers, 11, 10)


@pytest.mark.parametrize("value", [b"gzip", b"", b"identity, gzip", b"x-identity", b"identity;q=1"])
def test_a_coding_cannot(value: bytes) -> None:
    """Not even an empty one, nor one beside identity."""
    with pytest.raises(RequestMalformed):
        check_announced([(b"content-encoding", b"identity"), (b"content-encoding", value)], 1, 10)


def test_size_is_bounded_exactly() -> None:
    """The cap itself is allowed."""
    check_size(10, 10)
    with pytest.raises(RequestTooLarge):
        check_size(11, 10)


def test_the_body_decides() -> None:
    """What is not strict JSON is malformed, and the refusal says nothing of it."""
    assert decide(undecided(), b'{"a":1}').effect == "deny"
    assert decide(undecided(), b'{"a":2}').effect == "allow"
    assert decide(undecided(), b"").effect == "allow"
    with pytest.raises(RequestMalformed) as caught:
        decide(undecided(), b"canary")
    assert "canary" not in str(caught.value)


def test_json_too_large_to_judge_is_refused_with_its_bounds() -> None:
    """The caller is told how much may be asked; the code is that of every body that cannot be judged."""
    for raw in (b"[" + b"1," * (MAX_VALUES - 1) + b"1]", b'{"%b":1}' % (b"n" * MAX_PATH)):
        with pytest.raises(RequestJsonTooLarge) as caught:
            decide(undecided(), raw)
        refusal = caught.value
        assert (refusal.status, refusal.code, refusal.closes) == (400, "request-malformed", True)
        assert f"{MAX_VALUES:,} values" in refusal.message
        assert f"{MAX_PATH:,} bytes" in refusal.message


def test_a_watch_gives_up_after_its_time() -> None:
    """And refuses: a body that was not judged matches nothing and is allowed nothing."""
    times = iter([100.0, 104.0, 105.0, 105.1])
    watch = within(5.0, lambda: next(times))
    watch()
    watch()
    with pytest.raises(PolicyUnavailable):
        decide(undecided(), b'{"a":1}', watch)
