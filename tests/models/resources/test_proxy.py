"""The proxy resource: its two ways to name proxy credentials, alias, bounds."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from models.ids import new_id
from models.resources import Proxy, problems


def read(**fields):
    wire = {"proxyId": "p", "clientId": "c", "proxyName": "P", "proxyRegion": "local",
            "proxyTargetId": "t", "proxyTargetCredentialId": "tc"}  # fmt: skip
    if not fields.keys() & {"proxyProxyCredentialId", "proxyProxyCredentialIds"}:
        wire["proxyProxyCredentialId"] = "pc"
    return Proxy.model_validate({**wire, **fields}, by_alias=True, by_name=False)


def faults(**fields):
    with pytest.raises(ValidationError) as caught:
        read(**fields)
    return [(".".join(map(str, location)), message) for location, message in problems(Proxy, caught.value)]


def test_defaults_are_those_of_the_contract():
    """Every optional field of API.md, by its plain name."""
    proxy = read()
    assert (proxy.active, proxy.default_rule_effect, proxy.alias) == (True, "allow", None)
    assert (proxy.max_requests_per_minute, proxy.max_requests_per_day) == (None, None)
    assert (proxy.max_body_bytes, proxy.max_response_bytes) == (10_485_760, 52_428_800)
    assert (proxy.upgrade, proxy.record_policy, proxy.rules) == ("none", "block", ())


def test_one_credential_may_be_named_either_way():
    """Both forms of one credential are the same proxy and read back as both."""
    single, listed = read(proxyProxyCredentialId="a"), read(proxyProxyCredentialIds=["a"])
    assert single == listed
    assert single.proxy_credential_ids == ("a",)
    assert listed.model_dump(by_alias=True)["proxyProxyCredentialId"] == "a"


def test_several_credentials_have_no_single_id():
    """The list keeps its order."""
    proxy = read(proxyProxyCredentialIds=["b", "a"])
    assert proxy.proxy_credential_ids == ("b", "a")
    assert proxy.single_credential_id is None


def test_both_forms_at_once_are_refused():
    """Which one would count is nobody's guess."""
    [(field, message)] = faults(proxyProxyCredentialId="a", proxyProxyCredentialIds=["a"])
    assert field == "proxyProxyCredentialIds"
    assert "not both" in message


def test_a_credential_is_required():
    """There is no proxy without callers."""
    for fields in ({"proxyProxyCredentialId": None}, {"proxyProxyCredentialIds": []}):
        [(field, _)] = faults(**fields)
        assert field == "proxyProxyCredentialIds"


@pytest.mark.parametrize("value", [["a", "a"], "a", [5], [str(number) for number in range(17)], [""]])
def test_the_list_of_credentials_is_bounded_and_without_repeats(value):
    """Up to 16 different ids."""
    assert faults(proxyProxyCredentialIds=value)[0][0].startswith("proxyProxyCredentialIds")


def test_a_bad_single_id_is_reported_once_where_it_stands():
    """The list, which was not given, is not blamed."""
    assert [field for field, _ in faults(proxyProxyCredentialId=5)] == ["proxyProxyCredentialId"]


@pytest.mark.parametrize(
    "alias",
    [
        pytest.param(new_id("proxy"), id="proxy"),
        pytest.param(new_id("target"), id="target"),
        "prx_x",
        "PRX_00",
        "req_0a",
        "f" * 32,
        "0f8fad5b-d9cb-469f-a165-70867728950e",
    ],
)
def test_an_alias_does_not_look_like_an_id(alias):
    """Otherwise an alias could stand for somebody's proxy id."""
    assert faults(proxyAlias=alias) == [("proxyAlias", "must not look like an id")]


@pytest.mark.parametrize("alias", ["", "a/b", "a b", "ä", "..", "a?b", "%61", "x" * 129])
def test_an_alias_is_url_safe(alias):
    """It stands in the path as it is."""
    assert faults(proxyAlias=alias)[0][0] == "proxyAlias"
    assert read(proxyAlias="payments-v1").alias == "payments-v1"


def test_websocket_is_not_here_yet():
    """The one other value of the contract gets a message of its own."""
    assert faults(proxyUpgrade="websocket") == [
        ("proxyUpgrade", "websocket is not available in this version")
    ]
    assert faults(proxyUpgrade="h2c")[0][0] == "proxyUpgrade"


@pytest.mark.parametrize(
    "field", ["proxyMaxRequestsPerMinute", "proxyMaxRequestsPerDay", "proxyMaxBodyBytes"]
)
@pytest.mark.parametrize("value", [0, -1, "5", True, 10**12])
def test_numbers_are_whole_and_bounded(field, value):
    """Nothing is converted; zero is neither none nor unlimited."""
    assert faults(**{field: value})[0][0] == field


@pytest.mark.parametrize("field", ["meters", "validators"])
def test_parts_that_come_later_say_so(field):
    """What cannot be enforced is not accepted."""
    assert faults(**{field: []}) == [(field, "not available in this version")]


def test_a_misspelt_field_gets_the_nearest_name():
    """Also inside rules."""
    assert faults(proxyAlais="x") == [("proxyAlais", "unknown field; did you mean proxyAlias?")]
    [(field, message)] = faults(rules=[{"ruleId": "r", "effect": "deny", "headerCheck": []}])
    assert (field, message) == ("rules.0.headerCheck", "unknown field; did you mean headerChecks?")
