"""The credential resource: shapes of its secret by auth type, sides, bounds, and silence about values."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from models.resources import ApiKeySecret, BearerSecret, Credential, NoSecret, problems
from models.secret import Secret

CANARY = "c4n4ry-0123456789abcdef"


def read(side="target", auth_type="apiKey", secret=None, **fields):
    wire = {
        "credentialId": "cred",
        "clientId": "c",
        "credentialName": "C",
        "credentialType": side,
        "credentialAuthType": auth_type,
        "credentialRegion": "local",
        **fields,
    }
    if secret is not None:
        wire["credentialSecret"] = secret
    return Credential.model_validate(wire, by_alias=True, by_name=False)


def faults(*arguments, **fields):
    """(dotted location, message) of each problem; asserts on the way that no text shows the canary."""
    with pytest.raises(ValidationError) as caught:
        read(*arguments, **fields)
    found = problems(Credential, caught.value)
    assert "c4n4ry" not in str(caught.value)
    assert "c4n4ry" not in repr(caught.value)
    assert "c4n4ry" not in str(found)
    return [(".".join(map(str, location)), message) for location, message in found]


def test_an_api_key_has_the_defaults_of_the_contract():
    """`in`, `name` and `prefix` default to header, Authorization and nothing."""
    credential = read(secret={"key": CANARY})
    assert credential.secret == ApiKeySecret(
        key=Secret(CANARY), location="header", name="Authorization", prefix=""
    )
    assert credential.default_rule_effect == "allow"
    assert (credential.offline, credential.overlap_seconds, credential.expires_at) == (True, 0, None)


def test_a_bearer_token_has_the_default_prefix():
    """The scheme word is Bearer unless given."""
    assert read(auth_type="bearer", secret={"token": CANARY}).secret == BearerSecret(token=Secret(CANARY))
    assert BearerSecret(token=Secret(CANARY)).prefix == "Bearer"


@pytest.mark.parametrize("secret", [None, {}])
def test_none_needs_no_secret(secret):
    """A target may ask for no credential."""
    assert read(auth_type="none", secret=secret).secret == NoSecret()


def test_none_is_refused_on_the_proxy_side():
    """A caller always authenticates."""
    [(field, message)] = faults("proxy", "none")
    assert field == "credentialAuthType"
    assert "target credentials only" in message


@pytest.mark.parametrize("auth_type", ["apiKey", "bearer"])
def test_a_proxy_secret_may_be_left_out_to_be_generated(auth_type):
    """The model allows what the control plane fills."""
    assert read("proxy", auth_type).secret is None


@pytest.mark.parametrize("auth_type", ["apiKey", "bearer"])
def test_a_target_secret_is_required(auth_type):
    """Nobody can generate a third party's secret."""
    [(field, message)] = faults("target", auth_type)
    assert (field, message) == (
        "credentialSecret",
        f"is required for a target credential of type {auth_type}",
    )


@pytest.mark.parametrize(("side", "least"), [("proxy", 16), ("target", 8)])
@pytest.mark.parametrize(("auth_type", "name"), [("apiKey", "key"), ("bearer", "token")])
def test_secrets_have_a_least_length(side, least, auth_type, name):
    """Callers' secrets resist guessing; targets' are long enough to be scrubbed."""
    read(side, auth_type, {name: "x" * least})
    assert faults(side, auth_type, {name: "x" * (least - 1)}) == [
        (f"credentialSecret.{name}", f"of a {side} credential must have at least {least} characters")
    ]


def test_a_python_built_secret_obeys_the_least_length_too():
    """The bound holds whichever way the secret came."""
    with pytest.raises(ValidationError):
        read("proxy", secret=ApiKeySecret(key=Secret("short")))


@pytest.mark.parametrize("auth_type", ["jwt", "basicAuth", "oauth2", "awsSigV4", "mtls", "custom"])
def test_an_auth_type_of_the_contract_that_is_not_here_says_so(auth_type):
    """The message is not that of a misspelling."""
    [(field, message)] = faults("target", auth_type, {"token": CANARY})
    assert field == "credentialAuthType"
    assert "not available in this version" in message


def test_a_secret_of_another_shape_names_the_fields_only():
    """A misplaced secret is not echoed, neither as value nor as the name of a field."""
    assert faults("target", "apiKey", {"token": CANARY}) == [
        ("credentialSecret.key", "is required"),
        ("credentialSecret.token", "unknown field"),
    ]
    assert faults("target", "apiKey", {CANARY: None, "key": CANARY}) == [
        ("credentialSecret", "unknown field")
    ]
    assert faults("target", "apiKey", CANARY) == [
        ("credentialSecret", "must be a mapping with the fields of apiKey (key, in, name, prefix)")
    ]
    assert faults("target", "none", {"key": CANARY}) == [("credentialSecret.key", "unknown field")]


def test_no_part_of_the_error_object_holds_a_secret_of_the_right_place():
    """Even the inputs that pydantic keeps beside the message are without what stood in `credentialSecret`."""
    with pytest.raises(ValidationError) as caught:
        read("target", "apiKey", {"key": CANARY + "\n", "prefix": CANARY * 9})
    kept = [line for line in caught.value.errors() if "c4n4ry" in repr(line)]
    assert not kept


@pytest.mark.parametrize(
    "name",
    [
        "Host", "content-length", "Transfer-Encoding", "Connection", "keep-alive", "TE", "Trailer", "Upgrade",
        "Proxy-Connection", "Expect", "Proxy-Authorization", "Via", "Range", "Accept-Encoding",
        "X-Forwarded-For", "exeat-request-id", "HTTP2-Settings",
    ],
)  # fmt: skip
def test_framing_and_hop_by_hop_names_cannot_be_injected(name):
    """A credential there would change framing or be dropped."""
    [(field, message)] = faults(secret={"key": CANARY, "name": name})
    assert field == "credentialSecret.name"
    assert "framing" in message


@pytest.mark.parametrize("name", ["", "X Key", "X:Key", "X-Kéy", "X\r\nHost", "a" * 257])
def test_a_header_name_is_a_token(name):
    """RFC 9110 section 5.6.2."""
    [(field, _)] = faults(secret={"key": CANARY, "name": name})
    assert field == "credentialSecret.name"


def test_a_query_name_may_be_what_a_header_may_not():
    """In a query `host` is a name like any other, and brackets are common."""
    assert read(secret={"key": CANARY, "in": "query", "name": "host"}).secret.name == "host"
    assert read(secret={"key": CANARY, "in": "query", "name": "auth[key]"}).secret.location == "query"
    assert faults(secret={"key": CANARY, "in": "query", "name": "a\n"})[0][0] == "credentialSecret.name"


@pytest.mark.parametrize("prefix", ["Token ", "two words", "a\r\n", "é", "a" * 65])
def test_a_prefix_is_one_word(prefix):
    """The edge puts the one blank after it."""
    assert faults(secret={"key": CANARY, "prefix": prefix})[0][0] == "credentialSecret.prefix"


def test_attribute_names_are_not_wire_names():
    """`location` is how the code calls `in`; the wire does not know it."""
    assert faults(secret={"key": CANARY, "location": "query"})[0] == ("credentialSecret", "unknown field")


def test_expiry_is_a_time_with_a_zone():
    """A naive time or a number would be read differently by different people."""
    assert read(secret={"key": CANARY}, credentialExpiresAt="2030-01-31T00:00:00Z").expires_at == datetime(
        2030, 1, 31, tzinfo=UTC
    )
    for value in ("2030-01-31T00:00:00", 1896000000, "soon"):
        assert faults(secret={"key": CANARY}, credentialExpiresAt=value)[0][0] == "credentialExpiresAt"


@pytest.mark.parametrize("field", ["credentialStatus", "credentialVersion", "revision"])
def test_read_only_fields_say_so(field):
    """What the control plane sets cannot be set here."""
    assert faults(secret={"key": CANARY}, **{field: 1}) == [(field, "is read only; leave it out")]
