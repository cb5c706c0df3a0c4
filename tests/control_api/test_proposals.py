"""From bodies to resources: read-only fields, fixed ones, merges, kept secrets."""

from __future__ import annotations

from typing import Any

import pytest

from control_api.kinds import CREDENTIAL, KINDS, RULE, SINGULAR, TARGET, TOKEN
from control_api.proposals import altered, body_of, created, replaced
from models.errors import Invalid
from models.resources import Credential

IDS = {"targetId": "tgt_a", "clientId": "cli_a"}
GIVEN = {"targetName": "A", "targetBaseURL": "https://a.example", "targetRegion": "us"}
SHOWN = {**GIVEN, **IDS, "targetTimeoutMs": 5, "targetCreatedAt": "x", "targetUpdatedAt": "y", "revision": 3}


def refused(call: Any) -> dict[str, str]:
    with pytest.raises(Invalid) as caught:
        call()
    return dict(caught.value.errors)


def test_post_takes_no_read_only_field() -> None:
    """All of them are named at once, with everything else that is wrong."""
    errors = refused(lambda: created(TARGET, {**SHOWN, "targetName": 5, "colour": 1}, IDS))
    assert set(errors) == {
        "targetId",
        "clientId",
        "targetCreatedAt",
        "targetUpdatedAt",
        "revision",
        "targetName",
        "colour",
    }


def test_put_takes_read_only_fields_unchanged() -> None:
    """And names those that are not."""
    value = replaced(TARGET, SHOWN, IDS, SHOWN)
    assert body_of(TARGET, value)["targetTimeoutMs"] == 5
    assert set(refused(lambda: replaced(TARGET, {**SHOWN, "revision": 4}, IDS, SHOWN))) == {"revision"}
    assert set(refused(lambda: replaced(TARGET, {**SHOWN, "revision": 3.0}, IDS, SHOWN))) == {"revision"}


def test_put_forgets_what_is_left_out_and_patch_does_not() -> None:
    """Defaults come back under PUT; null removes under PATCH."""
    assert body_of(TARGET, replaced(TARGET, GIVEN, IDS, SHOWN))["targetTimeoutMs"] == 30_000
    assert body_of(TARGET, altered(TARGET, {}, IDS, SHOWN))["targetTimeoutMs"] == 5
    assert (
        body_of(TARGET, altered(TARGET, {"targetTimeoutMs": None}, IDS, SHOWN))["targetTimeoutMs"] == 30_000
    )
    assert set(refused(lambda: altered(TARGET, {"targetName": None}, IDS, SHOWN))) == {"targetName"}
    assert set(refused(lambda: altered(TARGET, {"revision": None}, IDS, SHOWN))) == {"revision"}


def test_fixed_fields_stay() -> None:
    """Each change of one is named."""
    for change in (replaced, altered):
        body = {**GIVEN, "targetRegion": "eu"}
        assert set(refused(lambda change=change, body=body: change(TARGET, body, IDS, SHOWN))) == {
            "targetRegion"
        }


def test_a_kept_secret_is_no_secret() -> None:
    """The placeholder passes validation and is in no body."""
    ids = {"credentialId": "cred_a", "clientId": "cli_a"}
    shown = {
        "credentialName": "A",
        "credentialType": "target",
        "credentialAuthType": "bearer",
        "credentialRegion": "us",
        "credentialStatus": "pending",
        "credentialVersion": 1,
        "revision": 1,
    }
    value = replaced(CREDENTIAL, {**shown, "credentialStatus": "active"}, ids, shown)
    assert isinstance(value, Credential)
    assert "credentialSecret" not in body_of(CREDENTIAL, value)
    assert "not-a-secret" not in str(body_of(CREDENTIAL, value))
    assert set(
        refused(lambda: replaced(CREDENTIAL, {**shown, "credentialStatus": "revoked"}, ids, shown))
    ) == {"credentialStatus"}


def test_times_are_stored_in_utc_with_milliseconds() -> None:
    """Whatever offset they came with."""
    given = {"tokenName": "a", "tokenScopes": ["read"], "tokenExpiresAt": "2030-01-31T01:00:00.123456+01:00"}
    token = created(TOKEN, given, {"tokenId": "tok_a", "userId": "usr_a"})
    assert body_of(TOKEN, token)["tokenExpiresAt"] == "2030-01-31T00:00:00.123Z"


def test_every_kind_has_a_body_without_its_ids() -> None:
    """Ids stand beside the body, rules and secrets elsewhere."""
    rule = created(RULE, {"effect": "deny"}, {"ruleId": "rule_a"})
    assert "ruleId" not in body_of(RULE, rule)
    assert {kind.plural: kind for kind in KINDS.values()} == SINGULAR
