"""Rules with body checks: when the body is needed, and what it decides then."""

from __future__ import annotations

from models.body_checks import NO_BODY, Body
from models.decision import Decision, ScopeOutcome
from models.request import CanonicalRequest
from models.resources.rule import FieldCheck, PathCheck, Rule
from models.rules import FourScopes, Undecided, compile_scope, judge
from tests.models.small_rules import NAMES, call, looks, rule

ADMIN = looks(r"^\$\['role'\]$", "^admin$")


def scopes_of(*rules: Rule, default: str = "allow", elsewhere: str = "allow", others: tuple[Rule, ...] = ()):
    """Four scopes, of which the proxy's has these rules and the target's `others`."""
    return (
        compile_scope(NAMES[0], [], "allow"),
        compile_scope(NAMES[1], [], "allow"),
        compile_scope(NAMES[2], rules, default),
        compile_scope(NAMES[3], others, elsewhere),
    )


def sent(raw: bytes, *rules: Rule, request: CanonicalRequest | None = None, **options) -> Decision:
    """The decision about a request with this body, which has to be needed for it."""
    undecided = FourScopes(scopes_of(*rules, **options)).judge(request or call(method=b"POST"))
    assert isinstance(undecided, Undecided)
    return undecided.judge(Body(raw))


def test_a_rule_with_body_checks_waits_for_the_body():
    """Then it matches or does not, like any other rule."""
    deny = rule("no-admins", body_checks=(ADMIN,))
    assert sent(b'{"role":"admin"}', deny).scopes[2] == ScopeOutcome(
        "proxy", "deny", "no-admins", ("no-admins",)
    )
    assert sent(b'{"role":"user"}', deny).scopes[2] == ScopeOutcome("proxy", "allow", "default")
    assert sent(b'["admin"]', deny).effect == "allow"
    only = rule("admins", "allow", body_checks=(ADMIN,))
    assert sent(b'{"role":"admin"}', only, default="deny").effect == "allow"
    assert sent(b'{"role":"user"}', only, default="deny").first_denial() == ("proxy", None)


def test_all_body_checks_of_a_rule_must_hold():
    """As of any kind of check."""
    both = rule("r", body_checks=(ADMIN, looks(r"\['x'\]$", presence="must_not_exist")))
    assert sent(b'{"role":"admin"}', both).effect == "deny"
    assert sent(b'{"role":"admin","x":1}', both).effect == "allow"


def test_a_rule_whose_head_checks_fail_needs_no_body():
    """Method, path, header and query are asked first, and nothing waits for a rule that cannot match."""
    whole = rule(
        "r",
        methods=("POST",),
        path=PathCheck(pattern="^/a$"),
        header_checks=(FieldCheck(name="x-a"),),
        query_checks=(FieldCheck(name="^q$"),),
        body_checks=(ADMIN,),
    )
    together = FourScopes(scopes_of(whole))
    parts = {"path": b"/a", "method": b"POST", "query": b"q", "headers": [(b"x-a", b"")]}
    assert isinstance(together.judge(call(**parts)), Undecided)
    for change in ({"path": b"/b"}, {"method": b"PUT"}, {"query": b""}, {"headers": []}):
        for _ in range(2):
            assert together.judge(call(**{**parts, **change})) == judge(scopes_of(), call())


def test_a_denial_by_the_head_needs_no_body():
    """Whichever scope it comes from; the rule that was to see the body does not match then."""
    body_rule = rule("body", body_checks=(ADMIN,))
    for scopes in (
        scopes_of(body_rule, rule("head")),
        scopes_of(body_rule, others=(rule("head"),)),
        scopes_of(body_rule, elsewhere="deny"),
        scopes_of(body_rule, default="deny"),
    ):
        decision = FourScopes(scopes).judge(call(method=b"POST"))
        assert isinstance(decision, Decision)
        assert decision.effect == "deny"
        assert "body" not in [one for outcome in decision.scopes for one in outcome.matched]


def test_what_the_body_may_still_allow_is_not_denied_by_the_head():
    """A default that denies, where an allow rule waits for the body."""
    allow = rule("body", "allow", body_checks=(ADMIN,))
    scopes = scopes_of(allow, rule("shadow", mode="shadow"), default="deny")
    assert isinstance(FourScopes(scopes).judge(call()), Undecided)
    assert (
        sent(b'{"role":"admin"}', allow, rule("deny-too", body_checks=(ADMIN,)), default="deny").effect
        == "deny"
    )


def test_shadow_rules_with_body_checks_are_told_apart():
    """They alone make nobody's body needed: whoever cannot read it decides without."""
    shadow = rule("s", mode="shadow", body_checks=(ADMIN,))
    undecided = FourScopes(scopes_of(shadow)).judge(call())
    assert isinstance(undecided, Undecided)
    assert not undecided.enforced
    assert undecided.without_body() == judge(scopes_of(), call())
    assert undecided.judge(Body(b'{"role":"admin"}')).scopes[2] == ScopeOutcome(
        "proxy", "allow", "default", (), ("s",)
    )
    both = FourScopes(scopes_of(shadow, rule("r", body_checks=(ADMIN,)))).judge(call())
    assert isinstance(both, Undecided)
    assert both.enforced


def test_without_a_body_no_node_matches():
    """So what must not exist holds, and what must exist does not."""
    for presence, effect in (("must_exist", "allow"), ("must_not_exist", "deny")):
        undecided = FourScopes(scopes_of(rule("r", body_checks=(looks("", presence=presence),)))).judge(
            call()
        )
        assert isinstance(undecided, Undecided)
        assert undecided.judge(NO_BODY).effect == effect
