"""Rules against their semantics, written down once more and as naively as they read."""

from __future__ import annotations

import json
import re

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from models.body_checks import NO_BODY, Body
from models.decision import Decision, ScopeOutcome
from models.request import CanonicalRequest
from models.resources.rule import BodyCheck, FieldCheck, PathCheck, Rule
from models.rules import FourScopes, Undecided, compile_scope, judge
from tests.models.small_rules import call, looks, outcome, rule

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
