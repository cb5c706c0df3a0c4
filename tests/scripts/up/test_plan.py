"""What an installation consists of."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

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
    assert [spec.label for spec in specs] == ["ray", "control", "actors a", "actors b", "edge a", "edge b"]
    told = "\n".join(f"{spec.command} {dict(spec.variables)}" for spec in specs)
    secret = [path for path in tmp_path.rglob("*") if path.suffix in {".key", ".kek", ".token"}]
    assert len(secret) == 10
    assert not [path for path in secret if path.read_text().strip() in told]
    edge = specs[-1]
    assert edge.command[-8:] == [
        *("--region", "b", "--home", str(home.edge("b").root), "--port", "7702", "--workers", "3"),
    ]
    assert edge.variables["EXEAT_RAY_ADDRESS"] == "127.0.0.1:20001"
    assert specs[2].variables["EXEAT_CONTROL_URL"] == "http://127.0.0.1:7700"
