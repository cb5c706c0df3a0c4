"""The refusals: one class for each row of API.md's table, and nothing internal in what is public."""

from __future__ import annotations

from models.errors import (
    GRANTED,
    ConfigurationError,
    ExeatError,
    LimitExceeded,
    PatternError,
    Refusal,
    RuleDenied,
    refusals,
)

TABLE = {
    400: {"request-malformed"},
    401: {"credential-rejected"},
    402: {"billing-suspended"},
    403: {"rule-denied", "proxy-inactive"},
    404: {"proxy-unknown"},
    408: {"request-timeout"},
    413: {"request-too-large", "response-too-large"},
    422: {"filter-blocked"},
    429: {"limit-exceeded"},
    431: {"request-head-too-large"},
    502: {"target-unreachable", "target-forbidden", "target-invalid", "scrub-failed", "redaction-failed"},
    503: {
        "credential-unavailable",
        "policy-unavailable",
        "limiter-unavailable",
        "record-blocked",
        "target-saturated",
    },
    504: {"target-timeout"},
    508: {"proxy-loop"},
}
"""API.md section 3, without what later issues bring (validators: request-invalid)."""


def test_statuses_and_codes_are_those_of_the_contract() -> None:
    """Every class has its row and every row its class."""
    got: dict[int, set[str]] = {}
    for kind in refusals():
        got.setdefault(kind.status, set()).add(kind.code)
    assert got == TABLE
    assert len(refusals()) == len({kind.code for kind in refusals()})


def test_what_closes_the_connection() -> None:
    """Each 400 request-malformed, 408 and 431; and a body too large to read on."""
    closing = {kind.code for kind in refusals() if kind.closes}
    assert closing == {"request-malformed", "request-timeout", "request-head-too-large", "request-too-large"}


def test_every_message_is_public_text() -> None:
    """A sentence for the caller that says nothing of this edge."""
    for kind in refusals():
        assert kind.message[0].isupper()
        assert kind.message.isascii()
        assert not kind.message.endswith(".")


def test_a_detail_is_kept_apart() -> None:
    """It is for the operator's log; the public message stays the class's own."""
    for kind in refusals():
        if kind not in {RuleDenied, LimitExceeded}:
            refusal = kind("10.0.0.1 refused")
            assert refusal.detail == "10.0.0.1 refused"
            assert "10.0.0.1" not in refusal.message


def test_a_denial_names_scope_and_rule() -> None:
    """The rule is None where the scope's default decided."""
    assert (RuleDenied("proxy", "r1").scope, RuleDenied("proxy", "r1").rule_id) == ("proxy", "r1")
    assert RuleDenied("target", None).rule_id is None
    assert "default" in RuleDenied("target", None).detail


def test_an_exhausted_limit_tells_when_to_come_back() -> None:
    """In whole seconds."""
    assert LimitExceeded(7).retry_after == 7


def test_a_configuration_error_names_its_place() -> None:
    """File, line and field, as far as they are known."""
    assert str(ConfigurationError("is bad")) == "is bad"
    assert str(ConfigurationError("is bad", field="a.b")) == "a.b: is bad"
    assert str(ConfigurationError("is bad", field="a.b", file="p.yaml", line=3)) == "p.yaml:3: a.b: is bad"
    assert isinstance(PatternError("x"), ConfigurationError)


def test_the_tree_has_one_root() -> None:
    """Whoever catches ExeatError catches all of ours."""
    assert all(issubclass(kind, Refusal) for kind in refusals())
    assert issubclass(Refusal, ExeatError)
    assert issubclass(ConfigurationError, ExeatError)
    assert GRANTED == "proxy-access-granted"
