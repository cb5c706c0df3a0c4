"""Rules: what a scope decides, and what four of them decide together."""

from __future__ import annotations

import itertools
import json
import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.body_checks import NO_BODY, Body
from models.decision import Decision, ScopeOutcome
from models.errors import ConfigurationError, PatternError
from models.patterns import compile_set
from models.request import CanonicalRequest
from models.resources.rule import BodyCheck, FieldCheck, Matcher, PathCheck, Rule
from models.rules import FourScopes, Undecided, compile_scope, judge

NAMES = ("proxyCredential", "targetCredential", "proxy", "target")


def rule(name: str, effect: str = "deny", **fields) -> Rule:
    return Rule(id=name, effect=effect, **fields)


def call(path=b"/", method=b"GET", query=b"", headers=()) -> CanonicalRequest:
    return CanonicalRequest(method, path, query, list(headers))


def outcome(rules, request=None, default="allow") -> ScopeOutcome:
    return compile_scope("proxy", rules, default).judge(request or call())


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


# --- rules with body checks


def looks(path: str, value: str | None = None, presence: str = "must_exist") -> BodyCheck:
    return BodyCheck(
        json_path=Matcher(pattern=path),
        match_value=None if value is None else Matcher(pattern=value),
        presence=presence,
    )


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


# --- against the semantics, written down once more and as naively as they read

_PATTERN = st.sampled_from(["", "a", "^a$", "b", "^[ab]+$", "1", "^$", "é"])
_PRESENCE = st.sampled_from(["must_exist", "must_not_exist"])
_FIELD_CHECK = st.builds(
    lambda name, value, presence: FieldCheck(name=name, value=value, presence=presence),
    _PATTERN,
    st.none() | _PATTERN,
    _PRESENCE,
)
_RULE = st.fixed_dictionaries(
    {
        "effect": st.sampled_from(["allow", "deny"]),
        "priority": st.integers(0, 2),
        "methods": st.none() | st.sets(st.sampled_from(["GET", "POST"]), min_size=1).map(tuple),
        "path": st.none()
        | st.builds(
            lambda pattern, presence: PathCheck(pattern=pattern, presence=presence), _PATTERN, _PRESENCE
        ),
        "header_checks": st.lists(_FIELD_CHECK, max_size=2).map(tuple),
        "query_checks": st.lists(_FIELD_CHECK, max_size=2).map(tuple),
        "mode": st.sampled_from(["enforce", "enforce", "shadow"]),
        "active": st.sampled_from([True, True, True, False]),
    }
)
_RULES = st.lists(_RULE, max_size=6).map(
    lambda each: [rule(f"r{index}", **fields) for index, fields in enumerate(each)]
)
_BODY_CHECK = st.builds(
    looks,
    st.sampled_from(["", r"\['a'\]", r"^\$\['a'\]$", r"\[\d\]$"]),
    st.none() | st.sampled_from(["", "^1$", "2"]),
    _PRESENCE,
)
_BODY = st.sampled_from(
    [None, "x", "1", {"a": 1}, {"a": 2, "b": 1}, [1, "2"], [{"a": 1}, {"a": "2"}], {"a": [1, 1]}]
)
_TEXT = st.sampled_from(["", "a", "b", "ab", "1", "a1", "é"]).map(str.encode)
_REQUEST = st.builds(
    lambda path, method, query, headers: call(b"/" + path, method, query, headers),
    _TEXT,
    st.sampled_from([b"GET", b"POST", b"PUT"]),
    st.lists(st.tuples(_TEXT, _TEXT), max_size=3).map(
        lambda pairs: b"&".join(b"=".join(pair) for pair in pairs)
    ),
    st.lists(st.tuples(_TEXT, _TEXT), max_size=3),
)
_EFFECT = st.sampled_from(["allow", "deny"])


def check_holds(check: FieldCheck, effect: str, pairs, *, full_name: bool) -> bool:
    """One check, quantifier for quantifier; Python's `re` reads these small patterns as RE2 does."""
    values: dict[str, list[str]] = {}
    for name, value in pairs:
        values.setdefault(name.decode(), []).append(value.decode())
    named = [
        values[name]
        for name in values
        if (re.fullmatch(check.name, name, re.IGNORECASE) if full_name else re.search(check.name, name))
    ]

    def fits(value: str) -> bool:
        return check.value is None or re.search(check.value, value) is not None

    any_value = any(fits(value) for each in named for value in each)
    every_value_of_one = any(all(fits(value) for value in each) for each in named)
    return {
        ("allow", "must_exist"): every_value_of_one,
        ("allow", "must_not_exist"): not any_value,
        ("deny", "must_exist"): any_value,
        ("deny", "must_not_exist"): not every_value_of_one,
    }[effect, check.presence]


def rule_holds(one: Rule, request: CanonicalRequest) -> bool:
    """Every check of one rule."""
    path = one.path
    return (
        (one.methods is None or request.method.decode() in one.methods)
        and (
            path is None
            or (re.search(path.pattern, request.path.decode()) is not None) is (path.presence == "must_exist")
        )
        and all(
            check_holds(check, one.effect, request.headers, full_name=True) for check in one.header_checks
        )
        and all(
            check_holds(check, one.effect, request.query_pairs(), full_name=False)
            for check in one.query_checks
        )
    )


def naive(rules, default: str, request: CanonicalRequest) -> ScopeOutcome:
    """A scope's outcome straight from API.md, how rules match."""
    held = [one for one in rules if one.active and rule_holds(one, request)]
    held.sort(key=lambda one: -one.priority)
    enforced = [one for one in held if one.mode == "enforce"]
    denials = [one for one in enforced if one.effect == "deny"]
    if denials:
        effect, by = "deny", denials[0].id
    elif enforced:
        effect, by = "allow", enforced[0].id
    else:
        effect, by = default, "default"
    shadow = tuple(one.id for one in held if one.mode == "shadow")
    return ScopeOutcome("proxy", effect, by, tuple(one.id for one in enforced), shadow)


@given(_RULES, _EFFECT, st.lists(_REQUEST, min_size=1, max_size=4))
def test_a_scope_decides_as_the_semantics_read(rules, default, requests):
    """For any rules and any requests, one after another on the same scope, twice over."""
    scope = compile_scope("proxy", rules, default)
    for request in [*requests, *requests]:
        assert scope.judge(request) == naive(rules, default, request)


@given(st.tuples(*[st.tuples(_RULES, _EFFECT)] * 4), _REQUEST)
def test_four_scopes_decide_as_the_semantics_read(given_scopes, request_):
    """All four are asked, and all must allow."""
    scopes = tuple(compile_scope("proxy", rules, default) for rules, default in given_scopes)
    outcomes = tuple(naive(rules, default, request_) for rules, default in given_scopes)
    allowed = all(one.effect == "allow" for one in outcomes)
    assert judge(scopes, request_) == Decision("allow" if allowed else "deny", outcomes)


@given(
    st.tuples(*[st.tuples(_RULES, _EFFECT)] * 4), st.booleans(), st.lists(_REQUEST, min_size=1, max_size=4)
)
def test_four_scopes_together_decide_as_one_by_one(given_scopes, plain, requests):
    """One set over all four scopes, and what it remembers, gives the decision of four separate scopes."""
    without = {"header_checks": (), "query_checks": ()} if plain else {}
    scopes = tuple(
        compile_scope("proxy", [one.model_copy(update=without) for one in rules], default)
        for rules, default in given_scopes
    )
    together = FourScopes(scopes)

    for request_ in requests * 2:
        assert together.judge(request_) == judge(scopes, request_)


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


@given(
    st.tuples(
        *[st.tuples(st.lists(st.tuples(_RULE, st.lists(_BODY_CHECK, max_size=2)), max_size=4), _EFFECT)] * 4
    ),
    _REQUEST,
    _BODY,
)
def test_judging_in_two_steps_decides_as_judging_at_once(given_scopes, request_, value):
    """Whatever the head decides is what head and body together would have; the body decides the rest."""
    scopes, naively = [], []
    nodes = [] if value is None else list(Body(json.dumps(value).encode()).nodes())
    for each, default in given_scopes:
        rules = [
            rule(f"r{at}", **fields, body_checks=tuple(checks)) for at, (fields, checks) in enumerate(each)
        ]
        scopes.append(compile_scope("proxy", rules, default))
        # A rule whose body checks fail is one that does not match; one whose hold is one without them.
        met = [one for one in rules if all(body_holds(check, one.effect, nodes) for check in one.body_checks)]
        naively.append(naive(met, default, request_))
    allowed = all(one.effect == "allow" for one in naively)
    decision = FourScopes(tuple(scopes)).judge(request_)
    if isinstance(decision, Undecided):
        body = NO_BODY if value is None else Body(json.dumps(value).encode())
        enforced, without = decision.enforced, decision.without_body()
        decision = decision.judge(body)
        assert decision == Decision("allow" if allowed else "deny", tuple(naively))
        assert enforced or without.effect == decision.effect
    else:
        assert decision.effect == ("allow" if allowed else "deny")


def body_holds(check: BodyCheck, effect: str, nodes) -> bool:
    """One check: all nodes that the path pattern matches are as one name that occurs so many times."""
    texts = [
        one if isinstance(one, str) else json.dumps(one, separators=(",", ":"))
        for path, one in nodes
        if re.search(check.json_path.pattern, path.decode())
    ]
    pairs = [(b"x", text.encode()) for text in texts]
    value = None if check.match_value is None else check.match_value.pattern
    return check_holds(
        FieldCheck(name="x", value=value, presence=check.presence), effect, pairs, full_name=True
    )


@given(_RULES, _EFFECT, _REQUEST)
def test_shadow_rules_never_alter_the_effect(rules, default, request_):
    """With and without them everything but the list of shadows is the same."""
    with_shadows = outcome(rules, request_, default)
    without = outcome([one for one in rules if one.mode == "enforce"], request_, default)
    assert msgspec.structs.replace(with_shadows, shadow=()) == without


@given(_RULES.flatmap(lambda rules: st.tuples(st.just(rules), st.permutations(rules))), _EFFECT, _REQUEST)
def test_the_order_of_rules_never_alters_the_effect(orders, default, request_):
    """Nor which rules match."""
    rules, shuffled = orders
    first, second = outcome(rules, request_, default), outcome(shuffled, request_, default)
    assert first.effect == second.effect
    assert set(first.matched) == set(second.matched)
    assert set(first.shadow) == set(second.shadow)


@given(_RULES, _EFFECT, _REQUEST, _RULE)
def test_one_more_deny_rule_never_opens_a_scope(rules, default, request_, more):
    """Denials only ever close."""
    before = outcome(rules, request_, default)
    denial = rule("more", **{**more, "effect": "deny"})
    after = outcome([*rules, denial], request_, default)
    assert before.effect == "allow" or after.effect == "deny"
