"""The edge's settings: what the environment may say, what is refused, and how a refusal names the setting."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from models.errors import ConfigurationError
from models.setting_types import is_loopback
from proxy_edge.settings import EdgeSettings, describe


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of whoever runs the tests reaches them."""
    import os

    for name in os.environ:
        if name.upper().startswith("EXEAT_"):
            monkeypatch.delenv(name)


def refused(**options: Any) -> ConfigurationError:
    """The error that these options meet."""
    with pytest.raises(ConfigurationError) as caught:
        EdgeSettings.load(**options)
    return caught.value


def test_defaults_are_those_of_the_contract() -> None:
    """API.md sections 1 and 3 state them."""
    settings = EdgeSettings.load()
    assert (settings.home, settings.host, settings.listen_port, settings.workers) == (
        Path(".exeat"),
        "127.0.0.1",
        7701,
        1,
    )
    assert (settings.first_byte_seconds, settings.head_seconds, settings.keepalive_seconds) == (10, 10, 75)
    assert (settings.body_idle_seconds, settings.connect_seconds, settings.offline_seconds) == (60, 5, 900)
    assert (settings.request_line_bytes, settings.head_bytes, settings.head_fields) == (8192, 65536, 100)
    assert (settings.trailer_bytes, settings.pipelined_requests) == (16384, 16)
    assert (settings.scheme, settings.header_prefix, settings.trusted_networks) == ("http", "exeat", ())


def test_environment_is_read_and_options_stand_above_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """An option given on the command line wins; one left out does not."""
    monkeypatch.setenv("EXEAT_PORT_BASE", "8000")
    monkeypatch.setenv("EXEAT_WORKERS", "3")
    settings = EdgeSettings.load(port_base="9000", workers=None)
    assert (settings.listen_port, settings.workers) == (9001, 3)


def test_empty_variable_is_an_unset_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """`EXEAT_PORT=` in an env file means: not set."""
    monkeypatch.setenv("EXEAT_PORT", "")
    assert EdgeSettings.load().port is None


def test_foreign_variables_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Secrets that a policy refers to may share the prefix."""
    monkeypatch.setenv("EXEAT_DEMO_CALLER_KEY", "canary-canary-canary")
    assert "canary" not in repr(EdgeSettings.load())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("workers", "2.0"),
        ("workers", "1_0"),
        ("workers", " 2"),
        ("workers", "0"),
        ("workers", "-1"),
        ("workers", "257"),
        ("port", "65536"),
        ("port", "http"),
        ("port_base", "65535"),
        ("drain_seconds", "inf"),
        ("drain_seconds", "nan"),
        ("drain_seconds", "1e3"),
        ("drain_seconds", "0"),
        ("drain_seconds", "-5"),
        ("insecure_bind", "yes"),
        ("insecure_bind", "1"),
        ("insecure_bind", "t"),
        ("log_level", "verbose"),
        ("region", "US East"),
        ("host", ""),
        ("header_prefix", "Exeat"),
        ("header_prefix", "ex eat"),
        ("header_prefix", ""),
        ("header_prefix", "x"),
        ("header_prefix", "content"),
        ("header_prefix", "proxy-exeat"),
        ("trusted_proxies", "10.0.0.1/8"),
        ("trusted_proxies", "10.0.0.0/8,example.com"),
        ("tls_key", "key.pem"),
    ],
)
def test_unclear_value_is_refused_by_name(name: str, value: str) -> None:
    """Nothing is cast into something that was not written, and the error names the setting."""
    expected = "tls_certificate" if name == "tls_key" else name
    assert refused(**{name: value}).field == f"EXEAT_{expected.upper()}"


def test_refusal_says_what_would_be_right() -> None:
    """One line, without the type machinery's wording."""
    assert str(refused(workers="two")) == "EXEAT_WORKERS: must be a whole number"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "edge.example"])
def test_open_address_needs_tls_or_a_spelled_out_wish(host: str) -> None:
    """API.md section 1: another address than loopback is refused without TLS."""
    error = refused(host=host)
    assert error.field == "EXEAT_HOST"
    assert "EXEAT_INSECURE_BIND=true" in error.message
    assert EdgeSettings.load(host=host, insecure_bind="true").host == host
    assert EdgeSettings.load(host=host, tls_certificate="c.pem", tls_key="k.pem").scheme == "https"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "localhost"])
def test_loopback_needs_nothing(host: str) -> None:
    """What only this machine can reach may be plain HTTP."""
    assert EdgeSettings.load(host=host).host == host


@given(st.ip_addresses())
def test_loopback_is_judged_as_the_address_library_judges_it(address: ipaddress.IPv4Address) -> None:
    """Any address text is loopback exactly when its address is."""
    assert is_loopback(str(address)) is address.is_loopback


@given(st.text(max_size=20))
def test_any_text_for_a_number_is_digits_or_refused(text: str) -> None:
    """No text but plain ASCII digits becomes a number."""
    if text.isascii() and text.isdigit() and 1 <= len(text) <= 15:
        assert EdgeSettings.load(head_bytes=text if int(text) else "1").head_bytes == (int(text) or 1)
    else:
        assert refused(head_bytes=text).field == "EXEAT_HEAD_BYTES"


def test_trusted_proxies_are_parsed_once() -> None:
    """Networks and bare addresses of both families, blanks around them ignored."""
    settings = EdgeSettings.load(trusted_proxies="10.0.0.0/8, 192.0.2.1 ,2001:db8::/32")
    assert [str(network) for network in settings.trusted_networks] == [
        "10.0.0.0/8",
        "192.0.2.1/32",
        "2001:db8::/32",
    ]
    assert settings.trusted_networks is settings.trusted_networks


def test_missing_file_is_named(tmp_path: Path) -> None:
    """A file that a setting points to is looked for before anything starts."""
    settings = EdgeSettings.load(policy=tmp_path / "nowhere.yaml")
    with pytest.raises(ConfigurationError, match=r"EXEAT_POLICY: there is no file .*nowhere\.yaml"):
        settings.check_files()


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ({"policy": "p.yaml"}, None),
        ({"policy": "p.yaml", "region": "us"}, None),
        ({"region": "us", "ray_address": "127.0.0.1:6379"}, None),
        ({}, "EXEAT_REGION"),
        ({"ray_address": "127.0.0.1:6379"}, "EXEAT_REGION"),
        ({"region": "us"}, "EXEAT_RAY_ADDRESS"),
    ],
)
def test_mode_is_a_policy_file_or_a_region_with_its_cluster(
    given: dict[str, str], missing: str | None
) -> None:
    """Without a file everything comes over the link, which must know where."""
    settings = EdgeSettings.load(**given)
    if missing is None:
        settings.check_mode()
        return
    with pytest.raises(ConfigurationError) as caught:
        settings.check_mode()
    assert caught.value.field == missing


def test_settings_cannot_be_altered() -> None:
    """What was checked stays what is used."""
    with pytest.raises(ValueError, match="frozen"):
        EdgeSettings.load().workers = 5  # type: ignore[misc]  # refused at run time too, which is the point


def test_every_setting_is_described() -> None:
    """`exeat settings` lists every field with a meaning."""
    lines = describe(EdgeSettings.load())
    assert [line.name for line in lines] == [f"EXEAT_{name.upper()}" for name in EdgeSettings.model_fields]
    assert all(line.description for line in lines)


def test_description_masks_secrets() -> None:
    """A secret setting shows neither its value nor its default."""

    class WithSecret(BaseSettings):
        model_config = SettingsConfigDict(env_prefix="EXEAT_")
        uri: SecretStr = Field(SecretStr("canary-default"), description="where the store is")

    [line] = describe(WithSecret(uri=SecretStr("canary-value")))
    assert "canary" not in str(line)
    assert line.value == line.default == "**********"


def test_a_poll_that_comes_too_late_is_refused() -> None:
    """A source looked at less often than it may be away would make a healthy edge refuse calls."""
    error = refused(policy_poll_seconds=4, offline_seconds=1)
    assert error.field == "EXEAT_POLICY_POLL_SECONDS"
    assert "EXEAT_OFFLINE_SECONDS" in error.message
