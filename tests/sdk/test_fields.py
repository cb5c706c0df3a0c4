"""What callers may set, and its wire form (sdk/fields.py)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from models.resources import Credential, Filter, Proxy, Rule, Target
from models.secret import Secret
from sdk.fields import SETTABLE, body, plain, wire_name


@pytest.mark.parametrize("kind", SETTABLE, ids=lambda kind: kind.__name__)
def test_settable_fields_are_those_of_the_resource(kind: type) -> None:
    """Every field that is not set by the control plane, and none that is not there."""
    given_by_path = {"id", "client_id", "rules", "filters", "single_credential_id"}
    if kind.__name__ == "Token":
        given_by_path |= {"user_id"}
    assert set(SETTABLE[kind].__annotations__) == set(kind.model_fields) - given_by_path


@pytest.mark.parametrize(
    ("kind", "attribute", "name"),
    [
        (Proxy, "name", "proxyName"),
        (Proxy, "proxy_credential_ids", "proxyProxyCredentialIds"),
        (Target, "base_url", "targetBaseURL"),
        (Target, "ca", "targetCA"),
        (Credential, "auth_type", "credentialAuthType"),
        (Rule, "header_checks", "headerChecks"),
        (Rule, "effect", "effect"),
        (Filter, "on_unparsable", "onUnparsable"),
    ],
)
def test_wire_names_are_those_of_the_api(kind: type, attribute: str, name: str) -> None:
    """API.md section 2, fields."""
    assert wire_name(kind, attribute) == name


def test_fields_go_over_a_given_body() -> None:
    """The body itself is not changed."""
    given = {"proxyName": "a", "future": {"x": (1, 2)}}
    assert body(Proxy, given, {"name": "b", "alias": None}) == {
        "proxyName": "b",
        "future": {"x": [1, 2]},
        "proxyAlias": None,
    }
    assert given["proxyName"] == "a"


def test_an_unknown_field_is_named_with_those_there_are() -> None:
    """A misspelt keyword is found before anything is sent."""
    with pytest.raises(TypeError, match=r"Proxy has no field nmae; it has name, region"):
        body(Proxy, None, {"nmae": "x"})


def test_values_become_json() -> None:
    """Secrets in clear, moments in UTC with milliseconds, whatever they are inside of."""
    moment = datetime(2026, 11, 23, 12, 0, 0, 123456, tzinfo=timezone(timedelta(hours=2)))
    assert plain({"a": [Secret("s"), {"b": moment}]}) == {"a": ["s", {"b": "2026-11-23T10:00:00.123Z"}]}
    with pytest.raises(ValueError, match="offset"):
        plain(datetime(2026, 11, 23))  # noqa: DTZ001 - what a careless caller passes
    assert plain(datetime(2026, 1, 1, tzinfo=UTC)) == "2026-01-01T00:00:00.000Z"
