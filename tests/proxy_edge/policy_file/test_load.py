"""Loading a policy file: what it fills in, where secrets come from, what a watcher is told."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from models.resources import BaseURL, BearerSecret
from models.secret import Secret
from proxy_edge.policy_file import PolicyFileErrors, load_policy_file

ROOT = Path(__file__).parents[3]
CALLER = "c4n4ry-caller-0123456789"
TOKEN = "c4n4ry-target-0123456789"
ENVIRONMENT = {"CALLER_KEY": CALLER, "TARGET_TOKEN": TOKEN}

POLICY = """\
version: 1
clients: [{clientId: c, clientName: C, clientConfiguration: {limits: {requestsPerMinute: 60, requestsPerDay: 900}}}]
credentials:
  - credentialId: in
    credentialName: In
    credentialType: proxy
    credentialAuthType: apiKey
    credentialSecret: {key: {env: CALLER_KEY}}
    rules: [{effect: allow}]
  - credentialId: out
    credentialName: Out
    credentialType: target
    credentialAuthType: bearer
    credentialSecret: {token: {file: secrets/token}}
targets:
  - {targetId: t, targetName: T, targetBaseURL: "https://api.example.com/v1/"}
proxies:
  - proxyId: p
    proxyName: P
    proxyProxyCredentialId: in
    proxyTargetId: t
    proxyTargetCredentialId: out
    rules: [{effect: deny, methods: [delete]}, {effect: deny, ruleId: own}, {effect: allow}]
"""


@pytest.fixture
def folder(tmp_path):
    """A folder with the policy above and its secret file."""
    (tmp_path / "policy.yaml").write_text(POLICY)
    (tmp_path / "secrets").mkdir()
    write_secret(tmp_path / "secrets" / "token", TOKEN + "\n")
    return tmp_path


def write_secret(path, text, mode=0o600):
    path.write_text(text)
    path.chmod(mode)


def load(folder, environment=ENVIRONMENT):
    return load_policy_file(folder / "policy.yaml", environment)


def refused(folder, environment=ENVIRONMENT):
    with pytest.raises(PolicyFileErrors) as caught:
        load(folder, environment)
    assert "c4n4ry" not in str(caught.value)
    return [(error.line, error.field, error.message) for error in caught.value.errors]


def test_what_may_be_left_out_is_filled_in(folder):
    """Client, region and rule ids follow from the file itself."""
    document = load(folder)
    owned = [*document.credentials, *document.targets, *document.proxies]
    assert document.region == "local"
    assert {one.client_id for one in owned} == {"c"}
    assert {one.region for one in owned} == {"local"}
    assert [rule.id for rule in document.proxies[0].rules] == ["rule-proxy-p-1", "own", "rule-proxy-p-3"]
    assert [rule.id for rule in document.credentials[0].rules] == ["rule-credential-in-1"]
    assert document.targets[0].base_url == BaseURL("https", "api.example.com", 443, "/v1", "api.example.com")


def test_a_region_given_once_holds_for_all(folder):
    """The resources need not repeat it."""
    (folder / "policy.yaml").write_text(POLICY.replace("version: 1", "version: 1\nregion: eu-west-1"))
    assert load(folder).proxies[0].region == "eu-west-1"


def test_a_rule_id_is_bounded_whatever_the_owner(folder):
    """An owner's id of full length gives a shorter, stable stand-in."""
    (folder / "policy.yaml").write_text(POLICY.replace("proxyId: p", f"proxyId: {'p' * 128}"))
    first, second = load(folder).proxies[0].rules, load(folder).proxies[0].rules
    assert re.fullmatch(r"rule-proxy-[0-9a-f]{32}-1", first[0].id)
    assert first == second


FILTERED = (
    POLICY
    + """\
    filters:
      - {action: mask, paths: [$..pan], mask: {keepLast: 4}}
      - {action: destroy, paths: ["$.a", "$['b']"], filterId: own}
      - {action: retain, paths: [$]}
"""
)


def test_filters_stand_beside_the_rules(folder):
    """On whatever has rules, with ids of their own that follow from the file."""
    (folder / "policy.yaml").write_text(FILTERED)
    filters = load(folder).proxies[0].filters
    assert [(one.id, one.action) for one in filters] == [
        ("filter-proxy-p-1", "mask"),
        ("own", "destroy"),
        ("filter-proxy-p-3", "retain"),
    ]
    assert load(folder).credentials[0].filters == ()


def test_redact_is_refused_in_a_policy_file(folder):
    """It would need a redactor; everything else about it is said as well."""
    bad = FILTERED.replace("action: retain, paths: [$]", "action: redact, paths: [x], filterId: own")
    (folder / "policy.yaml").write_text(bad)
    found = refused(folder)
    assert {line for line, _, _ in found} == {27}
    by_field = {field: message for _, field, message in found}
    assert by_field.keys() == {f"proxies[0].filters[2].{name}" for name in ("action", "paths[0]", "filterId")}
    assert "needs a redactor" in by_field["proxies[0].filters[2].action"]
    assert by_field["proxies[0].filters[2].filterId"] == "is already the id of another filter"


def test_limits_of_the_client_are_copied_where_the_proxy_has_none(folder):
    """A proxy's own limit wins; `null` opts out."""
    proxy = load(folder).proxies[0]
    assert (proxy.max_requests_per_minute, proxy.max_requests_per_day) == (60, 900)
    own = POLICY.replace(
        "proxyId: p", "proxyId: p\n    proxyMaxRequestsPerMinute: 5\n    proxyMaxRequestsPerDay: null"
    )
    (folder / "policy.yaml").write_text(own)
    proxy = load(folder).proxies[0]
    assert (proxy.max_requests_per_minute, proxy.max_requests_per_day) == (5, None)


def test_secrets_come_from_environment_and_files(folder):
    """Without the one line feed at a file's end, relative to the policy file."""
    document = load(folder)
    assert document.credentials[0].secret.key == Secret(CALLER)
    assert document.credentials[1].secret == BearerSecret(token=Secret(TOKEN))


@pytest.mark.parametrize("ending", ["", "\n", "\r\n"])
def test_one_line_ending_of_a_secret_file_does_not_count(folder, ending):
    """Editors and `echo` add it."""
    write_secret(folder / "secrets" / "token", TOKEN + ending)
    assert load(folder).credentials[1].secret.token == Secret(TOKEN)


def test_a_second_line_feed_is_part_of_the_secret_and_refused(folder):
    """Stripping more would guess."""
    write_secret(folder / "secrets" / "token", TOKEN + "\n\n")
    [(line, field, message)] = refused(folder)
    assert (line, field) == (14, "credentials[1].credentialSecret.token")
    assert "control characters" in message


@pytest.mark.parametrize("text", ["", "\n"])
def test_an_empty_secret_file_is_refused(folder, text):
    """It is a mistake of deployment, not a secret."""
    write_secret(folder / "secrets" / "token", text)
    assert refused(folder) == [(14, "credentials[1].credentialSecret.token", "the secret file is empty")]


def test_a_secret_file_has_a_bound(folder):
    """A path to something else is not read into memory."""
    write_secret(folder / "secrets" / "token", "c4n4ry" * 20000)
    assert refused(folder)[0][2] == "the secret file is larger than 65536 bytes"


def test_a_named_pipe_is_refused_without_waiting(folder):
    """Reading it would hang the start."""
    (folder / "secrets" / "token").unlink()
    os.mkfifo(folder / "secrets" / "token")
    assert refused(folder)[0][2] == "the secret file is not a regular file"


def test_a_secret_file_that_others_can_read_is_a_warning(folder):
    """The edge runs, and the operator is told where."""
    write_secret(folder / "secrets" / "token", TOKEN, 0o644)
    [warning] = load(folder).warnings
    assert (warning.line, warning.field) == (14, "credentials[1].credentialSecret.token")
    assert "chmod it to 600" in warning.message


def test_a_secret_file_that_others_can_write_is_an_error(folder):
    """Anyone could replace the credential."""
    write_secret(folder / "secrets" / "token", TOKEN, 0o602)
    assert "can write the secret file" in refused(folder)[0][2]


def test_sources_name_the_policy_and_every_secret_file(folder):
    """A watcher needs them as absolute paths, each once."""
    assert load(folder).sources == (folder / "policy.yaml", folder / "secrets" / "token")


def test_errors_name_the_sources_too(folder):
    """So that a watcher sees a missing secret file appear."""
    (folder / "secrets" / "token").unlink()
    with pytest.raises(PolicyFileErrors) as caught:
        load(folder)
    assert caught.value.sources == (folder / "policy.yaml", folder / "secrets" / "token")


def test_the_digest_follows_policy_and_secret_files_only(folder):
    """The same files give the same digest; a change of either gives another."""
    first = load(folder)
    assert load(folder, {**ENVIRONMENT, "OTHER": "x"}).digest == first.digest
    write_secret(folder / "secrets" / "other", "another-target-token")
    (folder / "secrets" / "other").replace(folder / "secrets" / "token")
    second = load(folder)
    (folder / "policy.yaml").write_text(POLICY + "# a comment\n")
    assert len({first.digest, second.digest, load(folder).digest}) == 3


def test_no_text_of_a_document_shows_a_secret(folder):
    """A document may be logged by mistake without harm."""
    document = load(folder)
    assert "c4n4ry" not in repr(document)
    assert "c4n4ry" not in str([one.model_dump_json() for one in document.credentials])


def test_a_document_cannot_be_changed(folder):
    """What was checked is what is used."""
    with pytest.raises(AttributeError):
        load(folder).region = "other"


def test_a_missing_policy_file_is_an_error_with_its_name(tmp_path):
    """Not a traceback."""
    with pytest.raises(PolicyFileErrors) as caught:
        load_policy_file(tmp_path / "none.yaml", {})
    assert str(caught.value) == f"{tmp_path}/none.yaml:1: cannot be read: No such file or directory"
    assert caught.value.sources == (tmp_path / "none.yaml",)


def test_a_folder_is_no_policy_file(tmp_path):
    """Not a traceback either."""
    with pytest.raises(PolicyFileErrors, match="is not a regular file"):
        load_policy_file(tmp_path, {})


def test_all_errors_are_reported_at_once_in_order_of_lines(folder):
    """An entry with one error is checked for others, and so are those that refer to it."""
    broken = (
        POLICY.replace("version: 1", "version: 3")
        .replace("requestsPerDay: 900", "requestsPerDay: none")
        .replace("targetBaseURL", "targetBaseUrl")
        .replace("proxyTargetCredentialId: out", "proxyTargetCredentialId: in")
        .replace("methods: [delete]", "methods: []")
    )
    (folder / "policy.yaml").write_text(broken)
    found = refused(folder, {"TARGET_TOKEN": TOKEN})
    assert [(line, field) for line, field, _ in found] == [
        (1, "version"),
        (2, "clients[0].clientConfiguration.limits.requestsPerDay"),
        (8, "credentials[0].credentialSecret.key"),
        (16, "targets[0].targetBaseURL"),
        (16, "targets[0].targetBaseUrl"),
        (22, "proxies[0].proxyTargetCredentialId"),
        (23, "proxies[0].rules[0].methods"),
    ]


def test_the_policy_of_the_first_run_is_in_order():
    """The file that documents the format is itself valid, and has what the first run shows."""
    document = load_policy_file(
        ROOT / "scripts" / "first_run" / "policy.yaml",
        {"EXEAT_DEMO_CALLER_KEY": CALLER, "EXEAT_DEMO_TARGET_TOKEN": TOKEN},
    )
    [proxy] = document.proxies
    assert (document.region, proxy.alias) == ("local", "demo")
    assert (proxy.max_requests_per_minute, proxy.max_requests_per_day) == (60, 10000)
    assert [(rule.effect, rule.methods) for rule in proxy.rules] == [("deny", None), ("deny", ("DELETE",))]
    assert str(document.targets[0].base_url) == "http://127.0.0.1:7790"
    assert document.warnings == ()
