"""Settings of guardian and link: typed, named in errors, and exported for Ray in one place."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from actors.settings import ActorsSettings, LinkSettings, RaySettings, ray_environment, ray_variables
from models.errors import ConfigurationError


@pytest.fixture(autouse=True)
def bare(monkeypatch) -> None:
    """No setting of whoever runs the tests."""
    for name in list(os.environ):
        if name.startswith(("EXEAT_", "RAY_")):
            monkeypatch.delenv(name)


def test_environment_and_options(monkeypatch) -> None:
    """Options go above the environment; None is no option."""
    monkeypatch.setenv("EXEAT_REGION", "us-east-1")
    monkeypatch.setenv("EXEAT_RAY_ADDRESS", "127.0.0.1:24001")
    monkeypatch.setenv("EXEAT_CONTROL_URL", "http://127.0.0.1:7700/")
    monkeypatch.setenv("EXEAT_RAY_TOKEN_FILE", "/h/ray.token")
    found = ActorsSettings.load(region=None, home=Path("/h"))
    assert (found.region, found.home, found.control_url) == ("us-east-1", Path("/h"), "http://127.0.0.1:7700")
    assert (found.ray_host, found.ray_port) == ("127.0.0.1", 24001)
    assert found.ray_token_file == Path("/h/ray.token")
    assert found.ray_epoch_file is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("region", "US East"),
        ("region", "../x"),
        ("ray_address", "127.0.0.1"),
        ("ray_address", "127.0.0.1:0"),
        ("ray_address", "127.0.0.1:99999"),
        ("ray_address", "auto"),
        ("control_url", "ftp://x"),
        ("control_url", "http://user:canary@host"),
        ("control_url", "http://host/path?canary"),
        ("log_level", "loud"),
    ],
)
def test_what_cannot_be_used_is_named_and_not_quoted(name, value) -> None:
    """By the variable's name."""
    with pytest.raises(ConfigurationError) as caught:
        ActorsSettings.load(**({"region": "r1"} | {name: value}))
    assert caught.value.field == f"EXEAT_{name.upper()}"
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("kind", [ActorsSettings, LinkSettings])
def test_a_region_is_needed(kind: type[RaySettings]) -> None:
    """There is no default one."""
    with pytest.raises(ConfigurationError, match="EXEAT_REGION"):
        kind.load()


def test_ray_is_told_by_the_environment(monkeypatch) -> None:
    """Token authentication by file, and loopback only."""
    for name in ray_variables(Path("x")):
        monkeypatch.setenv(name, "before")  # so that it is put back afterwards
    ray_environment(LinkSettings.load(region="r1", ray_token_file=Path("/h/ray.token")))
    assert os.environ["RAY_AUTH_MODE"] == "token"
    assert os.environ["RAY_AUTH_TOKEN_PATH"] == "/h/ray.token"
    assert os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] == "0"


def test_without_a_token_file_ray_is_left_to_find_its_own() -> None:
    """No path is invented."""
    assert "RAY_AUTH_TOKEN_PATH" not in ray_variables(None)
