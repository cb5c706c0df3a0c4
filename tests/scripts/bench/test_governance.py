"""The shared rules: every peer evaluates all ten of a scope and lets the load path through."""

from __future__ import annotations

import re2

from models.secret import Secret
from scripts.bench import governance
from scripts.bench.governance import SCOPES, Keys, new_keys, rules

ALLOWED_PATHS = (
    governance.LOAD_PATH,
    governance.LIMITED_PATH,
    governance.SEEN_PATH,
    governance.ECHO_PATH,
)


def matching(scope: str, path: str) -> list[str]:
    """The effects of the rules of a scope that match a path."""
    return [rule.effect for rule in rules(scope) if re2.search(rule.pattern, path)]


def test_each_of_four_scopes_has_ten_rules_that_allow_and_deny():
    """The benchmark measures what it says: four scopes, ten rules each, both effects."""
    assert len(SCOPES) == 4
    for scope in SCOPES:
        assert len(rules(scope)) == 10
        assert {rule.effect for rule in rules(scope)} == {"allow", "deny"}


def test_the_load_is_allowed_by_the_last_rule_of_every_scope_alone():
    """Nothing before the last rule matches, so a peer that stops early has evaluated all ten too."""
    for scope in SCOPES:
        for path in ALLOWED_PATHS:
            assert matching(scope, path) == ["allow"]
            assert re2.search(rules(scope)[-1].pattern, path)


def test_a_denied_path_is_denied_by_its_own_scope_only():
    """The check that a scope denies cannot be passed by another scope's rule."""
    for scope in SCOPES:
        path = governance.denied_path(scope)
        assert [other for other in SCOPES if "deny" in matching(other, path)] == [scope]


def test_no_rule_matches_the_path_that_shows_the_default():
    """Only a default effect of deny can refuse it."""
    assert not any(matching(scope, governance.UNMATCHED_PATH) for scope in SCOPES)


def test_patterns_are_anchored_so_that_search_and_full_match_agree():
    """Envoy matches the whole path, Exeat anywhere: both must come to the same answer."""
    paths = [*ALLOWED_PATHS, governance.UNMATCHED_PATH, *map(governance.denied_path, SCOPES)]
    for scope in SCOPES:
        for rule in rules(scope):
            for path in paths:
                assert bool(re2.search(rule.pattern, path)) == bool(re2.fullmatch(rule.pattern, path))


def test_keys_differ_per_run_and_are_withheld_from_text():
    """A foreign program's message may repeat a key; the table must not."""
    keys = new_keys()
    assert keys.caller != new_keys().caller
    assert keys.bearer != keys.caller
    told = f"key {keys.caller.reveal().decode()} and token {keys.bearer.reveal().decode()}"
    assert keys.withhold(told) == "key *** and token ***"
    assert "abc" not in repr(Keys(Secret("abc"), Secret("abc")))
