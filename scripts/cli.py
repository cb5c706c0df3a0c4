"""The command line, `exeat`: reads arguments, hands them to the part they name, prints errors for people.

An operator's mistake ends with a line on stderr (`exeat: file:line: field: message`), beside the log where that
goes to stderr too, and status 2 for arguments or 78 for everything else; it never shows a traceback.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from models.errors import ConfigurationError
from proxy_edge.fork import EXIT_CONFIGURATION, say
from proxy_edge.settings import EdgeSettings, describe

_EDGE_OPTIONS = ("policy", "home", "region", "host", "port", "port_base", "workers")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; its exit status."""
    options = parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = options.command
    try:
        return command(options)
    except ConfigurationError as error:
        say(str(error))
        return EXIT_CONFIGURATION
    except KeyboardInterrupt:
        return 130  # 128 and SIGINT, as shells count


def parser() -> argparse.ArgumentParser:
    """The arguments of every command. Values are checked by the settings, not here."""
    top = argparse.ArgumentParser(prog="exeat", description="Governs outbound API traffic.")
    top.add_argument("--version", action="version", version=_version())
    commands = top.add_subparsers(required=True, metavar="COMMAND")

    edge = commands.add_parser("edge", help="serve a policy file, alone: no control plane, store or Ray")
    edge.add_argument("--policy", metavar="FILE", help="the policy (YAML); else EXEAT_POLICY")
    _add_shared(edge)
    edge.add_argument("--region", metavar="NAME", help="the region this edge serves")
    edge.add_argument("--host", metavar="ADDRESS", help="address to listen on")
    edge.add_argument("--port", metavar="N", help="port to listen on; else one above the port base")
    edge.set_defaults(command=_edge)

    first_run = commands.add_parser("first-run", help="start the demo upstream and an edge in front of it")
    _add_shared(first_run)
    first_run.set_defaults(command=_first_run)

    upstream = commands.add_parser("demo-upstream", help="start the demo upstream alone")
    upstream.add_argument("--port", metavar="N", type=int, default=7790, help="port on 127.0.0.1 (7790)")
    upstream.set_defaults(command=_demo_upstream)

    settings = commands.add_parser("settings", help="list every setting: value, default, meaning")
    settings.set_defaults(command=_settings)
    return top


def _add_shared(command: argparse.ArgumentParser) -> None:
    command.add_argument("--home", metavar="DIR", help="directory of all state; else EXEAT_HOME, else .exeat")
    command.add_argument("--port-base", metavar="N", help="first port of this installation (7700)")
    command.add_argument("--workers", metavar="N", help="worker processes (1)")


def _load(options: argparse.Namespace) -> EdgeSettings:
    given: dict[str, Any] = {name: getattr(options, name, None) for name in _EDGE_OPTIONS}
    return EdgeSettings.load(**given)


def _edge(options: argparse.Namespace) -> int:
    settings = _load(options)
    if settings.policy is None:
        raise ConfigurationError("give a policy file with --policy", field="EXEAT_POLICY")
    settings.check_files()
    from proxy_edge.records.keeper import run_keeper
    from proxy_edge.supervisor import Supervisor
    from proxy_edge.worker import run_worker

    return Supervisor(settings, run_worker, run_keeper).run()


def _first_run(options: argparse.Namespace) -> int:
    from scripts.first_run.run import first_run

    return first_run(_load(options))


def _demo_upstream(options: argparse.Namespace) -> int:
    from scripts.first_run.upstream import UpstreamSettings, serve

    serve(options.port, UpstreamSettings())
    return 0


def _settings(_options: argparse.Namespace) -> int:
    from scripts.first_run.upstream import UpstreamSettings

    header = ("SETTING", "VALUE", "DEFAULT", "MEANING")
    lines = [header, *describe(EdgeSettings.load()), *describe(UpstreamSettings())]
    widths = [max(len(line[column]) for line in lines) for column in range(3)]
    for line in lines:
        cells = [line[column].ljust(widths[column]) for column in range(3)]
        print("  ".join([*cells, line[3]]))
    return 0


def _version() -> str:
    try:
        return importlib.metadata.version("exeat")
    except importlib.metadata.PackageNotFoundError:
        return f"exeat from {Path(__file__).resolve().parents[1]}, not installed"


if __name__ == "__main__":
    sys.exit(main())
