"""`exeat control`, `edge`, `actors` and `demo-upstream`: one part alone, in the foreground, as production runs it."""

from __future__ import annotations

import argparse
from typing import Any

from proxy_edge import process

_EDGE = ("policy", "home", "region", "host", "port", "port_base", "workers")
_CONTROL = ("home", "host", "port", "port_base")
_ACTORS = ("home", "region", "control_url", "ray_address")


def add(commands: Any) -> None:
    """Adds the parsers of these commands to `commands`, a subparsers action. Settings check the values."""
    control = commands.add_parser("control", help="the control API alone")
    _add_listening(control)
    control.set_defaults(command=_control)

    edge = commands.add_parser("edge", help="one edge alone: of a region, or with a policy file")
    edge.add_argument("--policy", metavar="FILE", help="serve this policy (YAML), without any other part")
    _add_listening(edge)
    edge.add_argument("--region", metavar="NAME", help="the region this edge serves")
    edge.add_argument("--workers", metavar="N", help="worker processes (1)")
    edge.set_defaults(command=_edge)

    actors = commands.add_parser("actors", help="see to it that a region's actors run on its Ray cluster")
    actors.add_argument("--home", metavar="DIR", help="directory of all state; else EXEAT_HOME, else .exeat")
    actors.add_argument("--region", metavar="NAME", help="the region; else EXEAT_REGION")
    actors.add_argument("--control-url", metavar="URL", help="the control API; else EXEAT_CONTROL_URL")
    actors.add_argument("--ray-address", metavar="HOST:PORT", help="the cluster; else EXEAT_RAY_ADDRESS")
    actors.set_defaults(command=_actors)

    upstream = commands.add_parser("demo-upstream", help="start the demo upstream alone")
    upstream.add_argument("--port", metavar="N", type=int, default=7790, help="port on 127.0.0.1 (7790)")
    upstream.set_defaults(command=_demo_upstream)


def _add_listening(command: argparse.ArgumentParser) -> None:
    command.add_argument("--home", metavar="DIR", help="directory of its state; else EXEAT_HOME, else .exeat")
    command.add_argument("--host", metavar="ADDRESS", help="address to listen on")
    command.add_argument("--port", metavar="N", help="port to listen on; else one given by the port base")
    command.add_argument("--port-base", metavar="N", help="first port of this installation (7700)")


def _given(options: argparse.Namespace, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: getattr(options, name) for name in names}


def _control(options: argparse.Namespace) -> int:
    from control_api.server import run_control
    from control_api.settings import ControlSettings

    process.forbid_dumps()  # it holds the policy key, and secrets until they are sealed
    return run_control(ControlSettings.load(**_given(options, _CONTROL)))


def _edge(options: argparse.Namespace) -> int:
    from proxy_edge.settings import EdgeSettings

    settings = EdgeSettings.load(**_given(options, _EDGE))
    settings.check_mode()
    settings.check_files()
    from proxy_edge.run import run_edge

    return run_edge(settings)


def _actors(options: argparse.Namespace) -> int:
    from actors.settings import ActorsSettings, ray_environment

    settings = ActorsSettings.load(**_given(options, _ACTORS))
    ray_environment(settings)  # Ray reads it when it is imported
    from actors import guardian

    return guardian.main(settings)


def _demo_upstream(options: argparse.Namespace) -> int:
    from scripts.first_run.upstream import UpstreamSettings, serve

    serve(options.port, UpstreamSettings())
    return 0
