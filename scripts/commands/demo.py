"""`exeat demo`: three calls through a running installation and their records, with the commands to repeat them."""

from __future__ import annotations

import argparse
from typing import Any

from proxy_edge.fork import say
from scripts.settings import UpSettings


def add(commands: Any) -> None:
    """Adds the parser of this command to `commands`, a subparsers action."""
    demo = commands.add_parser("demo", help="try a running installation: three calls and their records")
    demo.add_argument("--home", metavar="DIR", help="directory of all state; else EXEAT_HOME, else .exeat")
    demo.set_defaults(command=_demo)


def _demo(options: argparse.Namespace) -> int:
    import httpx

    from scripts.first_run import demo_calls
    from sdk import CallFailed

    place = demo_calls.find(UpSettings.load(home=options.home).home)
    try:
        if demo_calls.run(place):
            return 0
    except CallFailed as error:
        say(f"the API did not do it: {error}")
        return 1
    except httpx.HTTPError as error:
        say(f"the edge of {place.region} gave no answer ({type(error).__name__})")
        return 1
    say("not every call came to what it should have; `exeat status` shows what runs")
    return 1
