"""Whatever a policy file holds, reading it ends in a document or in errors, and shows no secret."""

from __future__ import annotations

import copy
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.resources import Client, Credential, Filter, Proxy, Rule, Target
from models.secret import Secret
from proxy_edge.policy_file.document import read_document
from proxy_edge.policy_file.findings import Findings

CANARY = "c4n4ry"
VALID = {
    "version": 1,
    "clients": [{"clientId": "c", "clientName": "C", "clientConfiguration": {"limits": {"requestsPerDay": 5}}}],
    "credentials": [
        {"credentialId": "in", "credentialName": "I", "credentialType": "proxy", "credentialAuthType": "apiKey",
         "credentialSecret": {"key": {"env": "A"}}, "rules": [{"effect": "allow"}]},
        {"credentialId": "out", "credentialName": "O", "credentialType": "target", "credentialAuthType": "bearer",
         "credentialSecret": {"token": {"env": "B"}}},
    ],
    "targets": [{"targetId": "t", "targetName": "T", "targetBaseURL": "http://a"}],
    "proxies": [
        {"proxyId": "p", "proxyName": "P", "proxyProxyCredentialIds": ["in"], "proxyTargetId": "t",
         "proxyTargetCredentialId": "out", "rules": [{"effect": "deny", "path": {"pattern": "^/a"}}],
         "filters": [{"action": "mask", "paths": ["$.a"], "mask": {"character": "x"}}]},
    ],
}  # fmt: skip
NAMES = sorted(
    {
        field.alias
        for kind in (Client, Credential, Filter, Proxy, Rule, Target)
        for field in kind.model_fields.values()
    }
)
ODD = st.recursive(
    st.sampled_from([None, True, 0, -1, 1.5, 10**30, "", "in", "out", "\x1b", "\udcff", CANARY]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*NAMES, "env", "file", "key", "token", CANARY]), inner, max_size=3)
    ),
    max_leaves=6,
)


def read(tree):
    findings = Findings("policy.yaml", lambda _: 1)
    document = read_document(
        tree, findings, lambda reference: (Secret(f"{CANARY}-{reference!a}-0123456789"), "")
    )
    return document, findings.errors


def places(tree, path=()):
    """Every path into the tree."""
    yield path
    inner = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for step, value in inner:
        yield from places(value, (*path, step))


def replaced(tree, path, value):
    if not path:
        return value
    tree = copy.deepcopy(tree)
    parent = tree
    for step in path[:-1]:
        parent = parent[step]
    parent[path[-1]] = value
    return tree


def test_the_valid_tree_is_valid():
    """What the tests below break is whole before."""
    document, errors = read(VALID)
    assert errors == ()
    assert document.proxies[0].max_requests_per_day == 5


@given(st.sampled_from(list(places(VALID))), ODD)
def test_any_value_anywhere_ends_in_a_document_or_in_errors(path, value):
    """No value of any type in any place raises anything else."""
    _, errors = read(replaced(VALID, path, value))
    assert all(error.field.isprintable() and error.message for error in errors)


@given(st.sampled_from(["in", "out"]), ODD)
def test_nothing_written_as_a_secret_is_ever_shown(which, value):
    """Not in an error, whatever shape was written instead of a reference."""
    index = 0 if which == "in" else 1
    _, errors = read(replaced(VALID, ("credentials", index, "credentialSecret"), value))
    assert not [error for error in errors if CANARY in str(error)]


@pytest.mark.parametrize("path", [path for path in places(VALID) if path and isinstance(path[-1], str)])
def test_a_field_that_is_left_out_is_filled_or_reported(path):
    """Leaving out any field gives a document or errors that name where it is missing."""
    tree = copy.deepcopy(VALID)
    parent = tree
    for step in path[:-1]:
        parent = parent[step]
    del parent[path[-1]]
    document, errors = read(tree)
    assert (
        errors or json.loads(document.proxies[0].model_dump_json() if document.proxies else "{}") is not None
    )
