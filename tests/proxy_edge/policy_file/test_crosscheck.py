"""References between entries as written, valid or not."""

from __future__ import annotations

from models.resources import Client, Credential, Proxy, Target
from proxy_edge.policy_file.crosscheck import Shelf, Shelves, check_references
from proxy_edge.policy_file.findings import Findings


def errors(*, clients=(), credentials=(), targets=(), proxies=()):
    findings = Findings("policy.yaml", lambda _: 1)
    shelves = Shelves(
        Shelf[Client]("clients", "client", dict(enumerate(clients))),
        Shelf[Credential]("credentials", "credential", dict(enumerate(credentials))),
        Shelf[Target]("targets", "target", dict(enumerate(targets))),
        Shelf[Proxy]("proxies", "proxy", dict(enumerate(proxies))),
    )
    check_references(shelves, findings)
    return [(error.field, error.message) for error in findings.errors]


def test_an_entry_that_is_not_valid_still_counts_as_declared():
    """One mistake in a target is not reported again at every proxy that names it."""
    assert errors(targets=[{"targetId": "t", "targetName": 5}], proxies=[{"proxyTargetId": "t"}]) == []


def test_references_of_an_entry_that_is_not_valid_are_checked():
    """The operator sees both mistakes at once."""
    assert errors(proxies=[{"proxyName": 5, "proxyTargetId": "t"}]) == [
        ("proxies[0].proxyTargetId", "there is no target with this id in the file")
    ]


def test_what_has_the_wrong_type_is_left_to_the_resource():
    """No id, list or mapping in the wrong place disturbs these checks."""
    odd = {"clientId": [], "proxyId": {}, "proxyAlias": 5, "proxyTargetId": None, "proxyTargetCredentialId": [1],
           "proxyProxyCredentialId": {"a": 1}, "proxyProxyCredentialIds": [None, {}], "rules": [None, {"ruleId": []}]}  # fmt: skip
    assert errors(proxies=[odd, odd], targets=[{"targetId": []}], credentials=[{"credentialType": {}}]) == []


def test_no_id_is_suggested_from_a_very_long_list():
    """A file full of unknown ids stays cheap to check."""
    many = [{"targetId": f"target-{number}"} for number in range(101)]
    assert errors(targets=many, proxies=[{"proxyTargetId": "target-1x"}]) == [
        ("proxies[0].proxyTargetId", "there is no target with this id in the file")
    ]
    [(_, message)] = errors(targets=many[:100], proxies=[{"proxyTargetId": "target-1x"}])
    assert "did you mean target-1" in message
