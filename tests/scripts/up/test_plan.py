"""What an installation consists of."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from actors.names import posts
from models.errors import ConfigurationError
from models.home import Home
from scripts.settings import UpSettings
from scripts.up import enrol, plan
from scripts.up.ray_head import Head


def test_regions_of_the_home_come_first_and_stay() -> None:
    """So that their ports stay; without any, the default ones."""
    assert plan.choose_regions((), ()) == ("us-east-1", "eu-west-1")
    assert plan.choose_regions(("x",), ()) == ("x",)
    assert plan.choose_regions((), ("b", "a")) == ("b", "a")
    assert plan.choose_regions(("a", "c"), ("b", "a")) == ("b", "a", "c")
    with pytest.raises(ConfigurationError, match="EXEAT_REGIONS"):
        plan.choose_regions([f"r{number}" for number in range(10)], [f"s{number}" for number in range(10)])


def test_ports_follow_the_base() -> None:
    """The control API's, then each edge's."""
    assert plan.ports(7700, ("a", "b")) == {"": 7700, "a": 7701, "b": 7702}
    with pytest.raises(ConfigurationError, match="EXEAT_PORT_BASE: leaves no room for an edge on 65536"):
        plan.ports(65_534, ("a", "b"))


def test_a_taken_port_is_named() -> None:
    """Before anything is started."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ConfigurationError, match=f"EXEAT_PORT_BASE: port {port} on 127.0.0.1"):
            plan.check_ports([port])
    plan.check_ports([port])


def test_no_part_is_told_a_secret(tmp_path: Path) -> None:
    """Neither arguments nor environment hold any content of a secret file; both name regions and ports."""
    home = Home(tmp_path)
    regions = ("a", "b")
    enrol.make_keys(home, regions)
    head = Head(home.root, regions, 20_001, home.ray_token)
    specs = plan.specs(UpSettings(home=tmp_path, workers=3), regions, head, {"PATH": "/bin"})
    labels = [spec.label for spec in specs]
    assert labels == ["ray", "control", "actors a", "actors b", "demo", "edge a", "edge b"]
    told = "\n".join(f"{spec.command} {dict(spec.variables)}" for spec in specs)
    secret = [path for path in tmp_path.rglob("*") if path.suffix in {".key", ".kek", ".token"}]
    assert len(secret) == 11
    assert not [path for path in secret if path.read_text().strip() in told]
    edge = specs[-1]
    assert edge.command[-8:] == [
        *("--region", "b", "--home", str(home.edge("b").root), "--port", "7702", "--workers", "3"),
    ]
    assert edge.variables["EXEAT_RAY_ADDRESS"] == "127.0.0.1:20001"
    assert specs[2].variables["EXEAT_CONTROL_URL"] == "http://127.0.0.1:7700"


def told(settings: UpSettings, **whole: str) -> dict[str, dict[str, str]]:
    """What each part of region `a` is told, by its name."""
    head = Head(settings.home, ("a",), 20_001, settings.home / "ray.token")
    return {spec.name: dict(spec.variables) for spec in plan.specs(settings, ("a",), head, whole)}


def test_actors_edges_and_links_are_told_the_same_numbers(tmp_path: Path) -> None:
    """Whatever the operator's variables say besides; the guardian's part lists every actor."""
    settings = UpSettings(home=tmp_path, limiter_shards=2, redactors=3)
    found = told(settings, EXEAT_REDACTORS="9")
    for name in ("actors", "edge"):
        assert (found[name]["EXEAT_LIMITER_SHARDS"], found[name]["EXEAT_REDACTORS"]) == ("2", "3")
    head = Head(tmp_path, ("a",), 20_001, tmp_path / "ray.token")
    [actors] = [spec for spec in plan.specs(settings, ("a",), head, {}) if spec.name == "actors"]
    assert actors.members == tuple(str(post) for post in posts(2, 3))


def test_the_demo_upstream_is_the_one_address_that_is_opened_by_itself(tmp_path: Path) -> None:
    """Beside what the operator opened; without it nothing is."""
    found = told(UpSettings(home=tmp_path, port_base=7800))
    assert found["edge"]["EXEAT_EGRESS_ALLOW"] == "127.0.0.1:7817"
    assert found["demo"]["EXEAT_DEMO_TARGET_TOKEN_FILE"] == str(Home(tmp_path).demo_token)
    found = told(UpSettings(home=tmp_path), EXEAT_EGRESS_ALLOW="10.0.0.0/8")
    assert found["edge"]["EXEAT_EGRESS_ALLOW"] == "10.0.0.0/8,127.0.0.1:7717"
    found = told(UpSettings(home=tmp_path, demo=False))
    assert "demo" not in found
    assert "EXEAT_EGRESS_ALLOW" not in found["edge"]


def test_the_demo_upstream_has_one_place_above_every_edge() -> None:
    """So that it stays when regions are added; where there is no room, the way out is named."""
    most = plan.ports(7700, [f"r{number}" for number in range(16)])
    assert plan.demo_port(7700) == max(most.values()) + 1
    with pytest.raises(ConfigurationError, match="EXEAT_DEMO=false"):
        plan.demo_port(65_530)
