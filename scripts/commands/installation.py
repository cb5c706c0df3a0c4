"""`exeat up`, `down`, `status` and `token reset`: a whole installation on this machine."""

from __future__ import annotations

import argparse
from typing import Any

from models.errors import ConfigurationError
from models.home import Home
from scripts.settings import UpSettings

_OPTIONS = ("home", "regions", "port_base", "workers")


def add(commands: Any) -> None:
    """Adds the parsers of these commands to `commands`, a subparsers action."""
    up = commands.add_parser("up", help="start everything on this machine, until Ctrl-C")
    up.add_argument("--detach", action="store_true", help="return once everything is ready; it runs on")
    up.add_argument("--detached", action="store_true", help=argparse.SUPPRESS)
    _add_home(up)
    up.add_argument("--regions", metavar="A,B", help="regions to run; those of an existing home stay")
    up.add_argument("--workers", metavar="N", help="worker processes of each edge (1)")
    up.add_argument("--port-base", metavar="N", help="port of the control API (7700), the edges' follow")
    up.set_defaults(command=_up)

    down = commands.add_parser("down", help="stop what `up` started")
    _add_home(down)
    down.set_defaults(command=_down)

    status = commands.add_parser("status", help="every process of the installation")
    _add_home(status)
    status.add_argument("--json", action="store_true", help="for programs: [{part, region, pid, state, log}]")
    status.set_defaults(command=_status)

    token = commands.add_parser("token", help="the owner's token").add_subparsers(
        required=True, metavar="COMMAND"
    )
    reset = token.add_parser("reset", help="a new owner's token when the old one is lost; the old one ends")
    _add_home(reset)
    reset.set_defaults(command=_reset)


def _add_home(command: argparse.ArgumentParser) -> None:
    command.add_argument("--home", metavar="DIR", help="directory of all state; else EXEAT_HOME, else .exeat")


def _load(options: argparse.Namespace) -> UpSettings:
    return UpSettings.load(**{name: getattr(options, name, None) for name in _OPTIONS})


def _up(options: argparse.Namespace) -> int:
    settings = _load(options)
    if options.detach:
        from scripts.up.detach import detach

        return detach(settings, arguments(settings))
    from scripts.up.bring_up import up

    return up(settings, welcome=not options.detached)


def arguments(settings: UpSettings) -> list[str]:
    """The options of `exeat up` that give these settings, wherever it is started."""
    found = ["--home", str(settings.home), "--port-base", str(settings.port_base)]
    found += ["--workers", str(settings.workers)]
    return [*found, "--regions", settings.regions] if settings.regions else found


def _down(options: argparse.Namespace) -> int:
    from scripts.up.detach import down

    return down(_load(options))


def _status(options: argparse.Namespace) -> int:
    from scripts.up.status import as_json, rows, table

    settings = _load(options)
    listed = rows(settings.home)
    if options.json:
        print(as_json(listed))
    elif listed:
        print(table(listed))
    else:
        print(f"nothing was ever started in {settings.home}")
    return 0


def _reset(options: argparse.Namespace) -> int:
    settings = _load(options)
    home = Home(settings.home)
    if not home.control_store.exists():
        raise ConfigurationError(
            f"{home.root} has no control store; `exeat up` makes one", field="EXEAT_HOME"
        )
    from scripts.up.bootstrap import reset_token

    token = reset_token(home)
    print(f"The owner's new token, kept in {home.owner_token}; the one before has ended:\n")
    print(f"    {token.reveal().decode()}")
    return 0
