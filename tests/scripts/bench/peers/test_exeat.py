"""Exeat's policy file: valid by our own models, with everything the row claims."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from proxy_edge.policy_file.load import load_policy_file
from scripts.bench import governance
from scripts.bench.governance import rules
from scripts.bench.peers.exeat import policy


def document() -> Any:
    """The policy as it is written and read."""
    return yaml.safe_load(yaml.safe_dump(policy(8080)))


def test_the_edge_reads_the_policy_file(tmp_path: Path):
    """By its own loader, with both keys from the environment, limits and full scrub as the row claims."""
    file = tmp_path / "policy.yaml"
    file.write_text(yaml.safe_dump(policy(8080)), encoding="utf-8")
    loaded = load_policy_file(file, {"BENCH_CALLER_KEY": "c" * 32, "BENCH_BEARER_TOKEN": "b" * 32})
    assert loaded.warnings == ()
    assert [(proxy.max_requests_per_minute, proxy.max_requests_per_day) for proxy in loaded.proxies] == [
        (governance.PER_MINUTE, governance.PER_DAY),
        (1, governance.PER_DAY),
    ]
    assert loaded.targets[0].scrub == "full"


def test_four_scopes_have_ten_rules_each_and_deny_by_default():
    """So that only a matching allow rule in every scope lets the load through."""
    told = document()
    caller, bearer = told["credentials"]
    parts = {
        "proxyCredential": (caller, "credential"),
        "targetCredential": (bearer, "credential"),
        "proxy": (told["proxies"][0], "proxy"),
        "target": (told["targets"][0], "target"),
    }
    for scope, (resource, kind) in parts.items():
        assert resource[f"{kind}DefaultRuleEffect"] == "deny"
        patterns = [(rule["effect"], rule["path"]["pattern"]) for rule in resource["rules"]]
        assert patterns == [(rule.effect, rule.pattern) for rule in rules(scope)]


def test_rule_ids_are_unique():
    """A record names the rule that decided."""
    told = document()
    resources = [*told["credentials"], *told["targets"], *told["proxies"]]
    ids = [rule["ruleId"] for resource in resources for rule in resource["rules"]]
    assert len(ids) == len(set(ids)) == 50


def test_secrets_are_references():
    """The file holds no key."""
    assert [entry["credentialSecret"] for entry in document()["credentials"]] == [
        {"key": {"env": "BENCH_CALLER_KEY"}},
        {"token": {"env": "BENCH_BEARER_TOKEN"}},
    ]


def test_the_limited_proxy_differs_in_its_limit_only():
    """What is checked there holds for the measured one."""
    measured, limited = document()["proxies"]
    assert (measured["proxyMaxRequestsPerMinute"], limited["proxyMaxRequestsPerMinute"]) == (
        governance.PER_MINUTE,
        1,
    )
    assert measured.keys() == limited.keys()
