"""The command line, `exeat`: reads arguments, hands them to the command they name, prints errors for people.

An operator's mistake ends with a line on stderr (`exeat: file:line: field: message`), beside the log where that
goes to stderr too, and status 2 for arguments or 78 for everything else; it never shows a traceback.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from models.errors import ConfigurationError, StoreError
from proxy_edge.fork import EXIT_CONFIGURATION, say
from scripts.commands import demo, evaluation, installation, parts, settings


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; its exit status."""
    options = parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = options.command
    try:
        return command(options)
    except ConfigurationError as error:
        say(str(error))
        return EXIT_CONFIGURATION
    except StoreError as error:
        say(f"the store cannot be used: {error}")
        return 1
    except BrokenPipeError:
        # `| head` has read enough; without this the interpreter would complain when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141  # 128 and SIGPIPE, as shells count
    except KeyboardInterrupt:
        return 130  # 128 and SIGINT, as shells count


def parser() -> argparse.ArgumentParser:
    """The arguments of every command. Values are checked by the settings, not here."""
    top = argparse.ArgumentParser(prog="exeat", description="Governs outbound API traffic.")
    top.add_argument("--version", action="version", version=_version())
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    for group in (installation, demo, parts, evaluation, settings):
        group.add(commands)
    return top


def _version() -> str:
    try:
        return importlib.metadata.version("exeat")
    except importlib.metadata.PackageNotFoundError:
        return f"exeat from {Path(__file__).resolve().parents[1]}, not installed"


if __name__ == "__main__":
    sys.exit(main())
