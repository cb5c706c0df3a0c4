"""The control API's settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from control_api.settings import ControlSettings
from models.errors import ConfigurationError
from models.setting_types import is_loopback


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """None of the machine's own."""
    import os

    for name in list(os.environ):
        if name.startswith("EXEAT_"):
            monkeypatch.delenv(name)


def test_defaults_are_those_of_the_contract() -> None:
    """Loopback, port 7700, plain HTTP."""
    settings = ControlSettings.load()
    assert (settings.host, settings.listen_port, settings.scheme) == ("127.0.0.1", 7700, "http")
    assert settings.home == Path(".exeat")
    assert ControlSettings.load(port_base="9000").listen_port == 9000
    assert ControlSettings.load(port_base="9000", port="0").listen_port == 0
    assert settings.record_days == 30


def test_the_environment_is_read_and_options_are_above_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """An option that is None says nothing."""
    monkeypatch.setenv("EXEAT_PORT_BASE", "8000")
    monkeypatch.setenv("EXEAT_LOG_STDERR", "false")
    assert ControlSettings.load(port_base=None).listen_port == 8000
    assert ControlSettings.load(port_base="8100").listen_port == 8100
    assert ControlSettings.load().log_stderr is False


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"host": "0.0.0.0"}, "EXEAT_HOST"),
        ({"host": "example.org"}, "EXEAT_HOST"),
        ({"port": "7700.0"}, "EXEAT_PORT"),
        ({"port_base": "0"}, "EXEAT_PORT_BASE"),
        ({"insecure_bind": "on"}, "EXEAT_INSECURE_BIND"),
        ({"tls_key": "x"}, "EXEAT_TLS_CERTIFICATE"),
        ({"tls_certificate": "x"}, "EXEAT_TLS_KEY"),
        ({"crash_point": "somewhere"}, "EXEAT_CRASH_POINT"),
        ({"drain_seconds": "inf"}, "EXEAT_DRAIN_SECONDS"),
        ({"record_days": "0"}, "EXEAT_RECORD_DAYS"),
        ({"record_days": "3651"}, "EXEAT_RECORD_DAYS"),
        ({"record_days": "1.5"}, "EXEAT_RECORD_DAYS"),
        ({"log_level": "loud"}, "EXEAT_LOG_LEVEL"),
    ],
)
def test_what_cannot_be_is_refused_by_name(options: dict[str, str], field: str) -> None:
    """Never guessed at."""
    with pytest.raises(ConfigurationError) as refused:
        ControlSettings.load(**options)
    assert refused.value.field == field


def test_other_addresses_need_tls_or_an_explicit_yes() -> None:
    """As at the edge."""
    assert ControlSettings.load(host="0.0.0.0", insecure_bind="true").host == "0.0.0.0"
    tls = ControlSettings.load(host="0.0.0.0", tls_certificate="a", tls_key="b")
    assert tls.scheme == "https"
    assert is_loopback("::1")
    assert not is_loopback("localhost.example")
