"""Rules: what a scope decides, and what four of them decide together."""

from __future__ import annotations

import itertools

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.decision import ScopeOutcome
from models.errors import ConfigurationError, PatternError
from models.patterns import compile_set
from models.request import CanonicalRequest
from models.resources.rule import BodyCheck, FieldCheck, Matcher, PathCheck, Rule
from models.rules import FourScopes, compile_scope, judge
from tests.models.small_rules import NAMES, call, outcome, rule


def matches(one: Rule, request: CanonicalRequest) -> bool:
    return outcome([one], request).matched == (one.id,)


# --- one scope


@pytest.mark.parametrize("default", ["allow", "deny"])
def test_without_a_matching_rule_the_default_decides(default):
    """No rules, or none that matches."""
    nothing = ScopeOutcome("proxy", default, "default")
    assert outcome([], default=default) == nothing
    assert outcome([rule("r", path=PathCheck(pattern="^/admin"))], default=default) == nothing


@pytest.mark.parametrize(
    ("effects", "effect", "by"),
    [
        (["allow"], "allow", "r0"),
        (["deny"], "deny", "r0"),
        (["allow", "allow"], "allow", "r0"),
        (["deny", "allow"], "deny", "r0"),
        (["allow", "deny"], "deny", "r1"),
        (["allow", "deny", "deny", "allow"], "deny", "r1"),
    ],
)
@pytest.mark.parametrize("default", ["allow", "deny"])
def test_any_matching_deny_denies(effects, effect, by, default):
    """Every matching rule is collected; the default has no say once one matches."""
    rules = [rule(f"r{index}", each) for index, each in enumerate(effects)]
    assert outcome(rules, default=default) == ScopeOutcome(
        "proxy", effect, by, tuple(one.id for one in rules)
    )


def test_priority_orders_what_is_reported_and_nothing_else():
    """Highest first, then as given; a low deny still beats a high allow."""
    rules = [
        rule("low", "deny", priority=1),
        rule("high", "allow", priority=9),
        rule("mid-a", "deny", priority=5),
        rule("mid-b", "deny", priority=5),
    ]
    assert outcome(rules) == ScopeOutcome("proxy", "deny", "mid-a", ("high", "mid-a", "mid-b", "low"))
    allows = [rule("b", "allow"), rule("a", "allow", priority=1)]
    assert outcome(allows).by == "a"


def test_inactive_rules_are_as_if_they_were_not_there():
    """Neither matched nor listed, in either mode."""
    rules = [rule("r", active=False), rule("s", mode="shadow", active=False)]
    assert outcome(rules) == ScopeOutcome("proxy", "allow", "default")


def test_shadow_rules_are_listed_and_decide_nothing():
    """A matching shadow deny does not deny; it does not keep the default from deciding either."""
    shadows = [rule("s1", mode="shadow"), rule("s2", mode="shadow", priority=3)]
    assert outcome(shadows) == ScopeOutcome("proxy", "allow", "default", (), ("s2", "s1"))
    assert outcome([*shadows, rule("r", "allow")], default="deny") == ScopeOutcome(
        "proxy", "allow", "r", ("r",), ("s2", "s1")
    )
    assert outcome([rule("s", mode="shadow", path=PathCheck(pattern="^/x"))]).shadow == ()


# --- one rule


@pytest.mark.parametrize(
    ("methods", "method", "found"),
    [
        (None, b"GET", True),
        (None, b"PURGE", True),
        (("GET",), b"GET", True),
        (("GET", "POST"), b"POST", True),
        (("GET",), b"POST", False),
        (("GET",), b"GETS", False),
        (("GET",), b"get", False),
    ],
)
def test_methods_are_compared_exactly(methods, method, found):
    """Methods are case-sensitive tokens (RFC 9110 section 9.1); without a list any will do."""
    assert matches(rule("r", methods=methods), call(method=method)) is found


def test_a_method_that_only_other_rules_name_does_not_match_those_that_name_another():
    """Each rule is asked by its own list."""
    rules = [rule("get", methods=("GET",)), rule("post", methods=("POST",)), rule("any")]
    assert outcome(rules, call(method=b"POST")).matched == ("post", "any")
    assert outcome(rules, call(method=b"PUT")).matched == ("any",)


@pytest.mark.parametrize(
    ("pattern", "path", "found"),
    [
        ("^/admin", b"/admin/x", True),
        ("^/admin", b"/v1/admin", False),
        ("admin", b"/v1/admin", True),
        ("Admin", b"/v1/admin", False),
        ("(?i)Admin", b"/v1/admin", True),
        ("%2F", b"/a%2Fb", True),
        ("", b"/", True),
    ],
)
def test_path_patterns_are_searched_in_the_canonical_path(pattern, path, found):
    """Unanchored, with case; must_not_exist is the opposite."""
    assert matches(rule("r", path=PathCheck(pattern=pattern)), call(path)) is found
    absent = PathCheck(pattern=pattern, presence="must_not_exist")
    assert matches(rule("r", path=absent), call(path)) is not found


def test_the_same_pattern_in_many_rules_counts_for_each():
    """Also when one of them wants it absent."""
    rules = [
        rule("a", path=PathCheck(pattern="^/a")),
        rule("b", path=PathCheck(pattern="^/b")),
        rule("a2", path=PathCheck(pattern="^/a")),
        rule("not-a", path=PathCheck(pattern="^/a", presence="must_not_exist")),
    ]
    assert outcome(rules, call(b"/a")).matched == ("a", "a2")
    assert outcome(rules, call(b"/b")).matched == ("b", "not-a")


def test_all_checks_of_a_rule_must_hold():
    """Method, path, every header check and every query check; any one missing and the rule does not match."""
    whole = rule(
        "r",
        methods=("POST",),
        path=PathCheck(pattern="^/a$"),
        header_checks=(FieldCheck(name="x-a"), FieldCheck(name="x-b", value="^1$")),
        query_checks=(
            FieldCheck(name="^q$", value="^a b$"),
            FieldCheck(name="^z$", presence="must_not_exist"),
        ),
    )
    parts = {"path": b"/a", "method": b"POST", "query": b"q=a+b", "headers": [(b"x-a", b""), (b"x-b", b"1")]}
    assert matches(whole, call(**parts))
    for change in (
        {"path": b"/b"},
        {"method": b"GET"},
        {"query": b"q=a"},
        {"query": b"q=a+b&z"},
        {"headers": [(b"x-a", b"")]},
        {"headers": [(b"x-b", b"1")]},
        {"headers": [(b"x-a", b""), (b"x-b", b"2")]},
    ):
        assert not matches(whole, call(**{**parts, **change}))


def test_rules_with_and_without_field_checks_are_weighed_anew_for_every_request():
    """What a scope remembers of one request is nothing that another could be judged by."""
    scope = compile_scope(
        "proxy",
        [
            rule("r", "allow", path=PathCheck(pattern="^/a")),
            rule("debug", header_checks=(FieldCheck(name="x-debug"),)),
        ],
        "deny",
    )
    for _ in range(3):
        assert scope.judge(call(b"/a")).effect == "allow"
        assert scope.judge(call(b"/a", headers=[(b"x-debug", b"1")])).by == "debug"
        assert scope.judge(call(b"/b")).by == "default"


@given(st.binary(max_size=8), st.binary(max_size=8))
def test_no_byte_in_a_path_evades_a_denial(before, after):
    """The judgement does not lean on the path being ASCII, although canonical paths are."""
    one = rule("r", path=PathCheck(pattern="^/.*drop.*x$"))
    request = call(b"/" + before + b"drop" + after + b"x")
    assert outcome([one], request).effect == "deny"
    assert judge((compile_scope("proxy", [one], "allow"),) * 4, request).effect == "deny"


def test_an_automaton_that_gives_up_denies_all_the_same():
    """The scan then answers that nothing matched: it is not believed, and nothing of it is remembered."""
    crowd = [
        "zz"
    ] * 3000  # they match together, in states that the least memory the set compiles with cannot hold
    low, high = 1000, 1 << 20
    while high - low > 64:
        middle = (low + high) // 2
        try:
            compile_set([*crowd, "q$"], memory=[middle])
        except PatternError:
            low = middle
        else:
            high = middle
    starved = compile_set([*crowd, "q$"], memory=[high])
    harmless, forbidden = b"/zz zz zz zz zz", b"/zz zz zz zz zz q"
    scope = compile_scope("proxy", [rule("r", path=PathCheck(pattern="q$"))], "allow")
    scope._paths, scope._scan = starved, starved.scan
    scope._masks.exist = [0] * len(crowd) + scope._masks.exist
    scope._masks.refuse = [0] * len(starved)
    for _ in range(3):
        assert starved.scan(harmless) == starved.scan(forbidden) == []
        assert scope.judge(call(harmless)).by == "default"
        assert scope.judge(call(forbidden)).by == "r"


def test_a_rule_that_reads_as_the_default_is_refused():
    """The record says `default` where no rule decided."""
    with pytest.raises(ConfigurationError):
        compile_scope("proxy", [rule("default")], "allow")


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"path": PathCheck.model_construct(pattern="(", presence="must_exist")}, "path.pattern"),
        (
            {"header_checks": (FieldCheck.model_construct(name="(", value=None, presence="must_exist"),)},
            "headerChecks[0].name",
        ),
        (
            {"query_checks": (FieldCheck.model_construct(name="a", value="(", presence="must_exist"),)},
            "queryChecks[0].value",
        ),
        (
            {
                "body_checks": (
                    BodyCheck.model_construct(
                        json_path=Matcher.model_construct(pattern="("),
                        match_value=None,
                        presence="must_exist",
                    ),
                )
            },
            "bodyChecks[0].jsonPath.pattern",
        ),
    ],
)
def test_a_rule_that_cannot_be_compiled_fails_its_scope(fields, place):
    """It is named, and never treated as one that does not match (invariant 7)."""
    broken = rule("fine").model_copy(update={**fields, "id": "broken"})
    with pytest.raises(PatternError) as caught:
        compile_scope("proxy", [rule("other"), broken], "allow")
    assert caught.value.field == f"rules[broken].{place}"


def test_a_callers_variety_does_not_grow_a_scope():
    """Each memory is bounded, and being emptied changes no answer."""
    rules = [rule(f"r{index}", path=PathCheck(pattern=f"[{index}]")) for index in range(10)]
    rules += [rule(f"h{index}", header_checks=(FieldCheck(name=f"x-{index}"),)) for index in range(10)]
    plain, mixed = compile_scope("proxy", rules[:10], "allow"), compile_scope("proxy", rules, "allow")
    for digits in itertools.chain.from_iterable(
        itertools.combinations("0123456789", size) for size in range(11)
    ):
        request = call(
            b"/" + "".join(digits).encode(), headers=[(f"x-{one}".encode(), b"") for one in digits]
        )
        assert plain.judge(request).matched == tuple(f"r{one}" for one in digits)
        assert mixed.judge(request).matched == tuple(f"{kind}{one}" for kind in "rh" for one in digits)
    for scope in (plain, mixed):
        assert max(len(scope._settled), len(scope._open), len(scope._outcomes)) <= 512


# --- four scopes


@pytest.mark.parametrize("effects", list(itertools.product(["allow", "deny"], repeat=4)))
def test_all_four_scopes_must_allow(effects):
    """One that denies is enough; the first that does is the one that is told."""
    scopes = tuple(compile_scope(name, [], effect) for name, effect in zip(NAMES, effects, strict=True))
    decision = judge(scopes, call())
    assert tuple(one.scope for one in decision.scopes) == NAMES
    assert tuple(one.effect for one in decision.scopes) == effects
    if "deny" in effects:
        assert decision.effect == "deny"
        assert decision.first_denial() == (NAMES[effects.index("deny")], None)
    else:
        assert decision.effect == "allow"
        with pytest.raises(ValueError, match="no scope denies"):
            decision.first_denial()


def test_the_first_denial_names_its_rule():
    """Null only where a default decided."""
    scopes = (
        compile_scope(NAMES[0], [rule("ok", "allow")], "deny"),
        compile_scope(NAMES[1], [rule("no", priority=2), rule("nope")], "allow"),
        compile_scope(NAMES[2], [], "deny"),
        compile_scope(NAMES[3], [], "allow"),
    )
    assert judge(scopes, call()).first_denial() == ("targetCredential", "no")


def test_the_same_outcomes_give_the_same_decision_object():
    """So that what is derived from it, its packed form for one, is made once."""
    scopes = tuple(compile_scope(name, [], "allow") for name in NAMES)
    decision = judge(scopes, call())
    assert judge(scopes, call(b"/other")) is decision
    assert decision.packed is decision.packed


def test_a_decision_has_the_fields_of_the_record():
    """As a mapping by API.md's names, and packed by position."""
    scopes = tuple(
        compile_scope(name, [rule("s", mode="shadow"), rule("r", "allow")], "deny") for name in NAMES
    )
    decision = judge(scopes, call())
    by_name = {"effect": "allow", "by": "r", "matched": ["r"], "shadow": ["s"]}
    assert msgspec.to_builtins(decision, builtin_types=()) == {
        "effect": "allow",
        "scopes": tuple({"scope": name, **by_name, "matched": ("r",), "shadow": ("s",)} for name in NAMES),
    }
    assert msgspec.json.decode(msgspec.json.encode(decision)) == {
        "effect": "allow",
        "scopes": [{"scope": name, **by_name} for name in NAMES],
    }
    assert msgspec.msgpack.decode(decision.packed) == [
        "allow",
        [[name, "allow", "r", ["r"], ["s"]] for name in NAMES],
    ]


# --- against the semantics, written down once more and as naively as they read


def test_a_callers_variety_does_not_grow_four_scopes():
    """However many methods and paths a caller tries, what four scopes remember is bounded."""
    rules = [rule(f"r{bit}", path=PathCheck(pattern=f"x{bit}y")) for bit in range(10)]
    together = FourScopes((compile_scope("proxy", rules, "allow"),) * 4)

    for number in range(1024):
        marks = "".join(f"x{bit}y" for bit in range(10) if number >> bit & 1)
        together.judge(call(f"/{marks}".encode()))

    assert len(together._settled) <= 512


def test_four_scopes_whose_automaton_gives_up_deny_all_the_same():
    """When the common set answers nothing at all, the scopes are asked one by one and nothing is remembered."""
    scopes = (compile_scope("proxy", [rule("r", path=PathCheck(pattern="secret"))], "allow"),) * 4
    together = FourScopes(scopes)
    together._scan = lambda _path: []

    assert together.judge(call(b"/public")).effect == "allow"
    assert together.judge(call(b"/secret")).effect == "deny"
