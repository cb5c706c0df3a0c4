"""What one installation consists of: its regions, its ports, the command and environment of every part.

Pure but for `check_ports`, which binds and lets go. Port N is the control API's, N + 1 + i the i-th edge's, N + 17
the demo upstream's.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path

from actors.names import posts
from models.errors import ConfigurationError
from models.home import Home
from scripts.settings import DEFAULT_REGIONS, DEMO_OFFSET, MOST_REGIONS, UpSettings
from scripts.up import environment, ray_guard
from scripts.up.part import ACTORS, CONTROL, DEMO, EDGE, RAY, Spec, exeat
from scripts.up.ray_head import Head


def choose_regions(asked: Sequence[str], known: Sequence[str]) -> tuple[str, ...]:
    """The regions to run: those of the home, in their order, so that ports stay; then new ones that are asked for.

    Raises ConfigurationError for more than one machine takes.
    """
    found = (*known, *(region for region in asked if region not in known)) or DEFAULT_REGIONS
    if len(found) > MOST_REGIONS:
        raise ConfigurationError(f"at most {MOST_REGIONS} regions run on one machine", field="EXEAT_REGIONS")
    return tuple(found)


def ports(port_base: int, regions: Sequence[str]) -> dict[str, int]:
    """The port of the control API (region ``) and of each region's edge. Raises ConfigurationError."""
    last = port_base + len(regions)
    if last > 65_535:
        raise ConfigurationError(f"leaves no room for an edge on {last}", field="EXEAT_PORT_BASE")
    return {"": port_base, **{region: port_base + 1 + index for index, region in enumerate(regions)}}


def demo_port(port_base: int) -> int:
    """The demo upstream's port. Raises ConfigurationError."""
    port = port_base + DEMO_OFFSET
    if port > 65_535:
        raise ConfigurationError(
            f"leaves no room for the demo upstream on {port}; EXEAT_DEMO=false leaves it out",
            field="EXEAT_PORT_BASE",
        )
    return port


def check_ports(wanted: Sequence[int]) -> None:
    """Raises ConfigurationError, naming the port, when one cannot be listened on."""
    for port in wanted:
        with socket.socket() as probe:
            # As servers do: a port with nothing but connections of the past is free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                reason = os.strerror(error.errno or 0).lower()
                raise ConfigurationError(
                    f"port {port} on 127.0.0.1 cannot be listened on: {reason}", field="EXEAT_PORT_BASE"
                ) from None


def url(port: int) -> str:
    """Where a part on `port` is reached."""
    return f"http://127.0.0.1:{port}"


def specs(settings: UpSettings, regions: Sequence[str], head: Head, whole: Mapping[str, str]) -> list[Spec]:
    """Every part, in the order of start. whole: the environment of whoever starts them."""
    home = Home(settings.home)
    where = ports(settings.port_base, regions)
    found = [
        Spec(
            RAY, "", ray_guard.arguments(head), environment.clean(whole), home.logs / "ray.log", "ray ready:"
        ),
        Spec(
            CONTROL,
            "",
            exeat("control"),
            environment.for_part(
                whole,
                home=home.root,
                port_base=settings.port_base,
                drain_seconds=f"{settings.drain_seconds:g}",
                log_stderr=False,
            ),
            home.logs / "control.log",
            "control ready:",
        ),
    ]
    cluster = {
        "ray_address": head.address,
        "ray_token_file": home.ray_token,
        "ray_epoch_file": ray_guard.epoch_file(home.root),
        "limiter_shards": settings.limiter_shards,
        "redactors": settings.redactors,
    }
    members = tuple(str(post) for post in posts(settings.limiter_shards, settings.redactors))
    for region in regions:
        log = home.logs / f"actors-{region}.log"
        variables = environment.for_part(
            whole, **cluster, home=home.root, region=region, control_url=url(where[""]), log=log
        )
        command = exeat("actors", "--region", region)
        found.append(Spec(ACTORS, region, command, variables, log, "actors ready:", members))
    allowed = [whole.get("EXEAT_EGRESS_ALLOW", "")]
    if settings.demo:
        port = demo_port(settings.port_base)
        found.append(_demo(home, port, whole))
        allowed.append(f"127.0.0.1:{port}")
    told = environment.for_part(whole, **cluster, egress_allow=",".join(filter(None, allowed)) or None)
    return [*found, *(_edge(settings, home, region, where[region], told) for region in regions)]


def _demo(home: Home, port: int, whole: Mapping[str, str]) -> Spec:
    variables = environment.for_part(whole, demo_target_token_file=home.demo_token)
    command = exeat("demo-upstream", "--port", str(port))
    return Spec(DEMO, "", command, variables, home.logs / "demo.log", "demo upstream")


def _edge(settings: UpSettings, home: Home, region: str, port: int, told: Mapping[str, str]) -> Spec:
    root = home.edge(region).root
    command = [
        *("edge", "--region", region, "--home", str(root)),
        *("--port", str(port), "--workers", str(settings.workers)),
    ]
    own = {
        "EXEAT_LOG_STDERR": "false",
        "EXEAT_DRAIN_SECONDS": f"{settings.drain_seconds:g}",
        "EXEAT_PORT_BASE": str(settings.port_base),
    }
    return Spec(EDGE, region, exeat(*command), {**told, **own}, edge_log(root), "edge ready:")


def edge_log(root: Path) -> Path:
    """Where the edge with the home `root` logs."""
    return root / "logs" / "edge.log"
