"""`python -m actors --region R`: the guardian of one region's actors, as `exeat actors` runs it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from actors.settings import ActorsSettings, ray_environment
from models.errors import ConfigurationError

_OPTIONS = (
    "home",
    "region",
    "control_url",
    "ray_address",
    "ray_token_file",
    "ray_epoch_file",
    "log",
    "log_level",
)
_EXIT_CONFIGURATION = 78  # EX_CONFIG of sysexits.h


def main(arguments: Sequence[str] | None = None) -> int:
    """Reads the command line above the environment and runs the guardian; its exit status."""
    parser = argparse.ArgumentParser(prog="python -m actors", description="Keeps a region's actors alive.")
    for name in _OPTIONS:
        parser.add_argument(f"--{name.replace('_', '-')}", metavar="VALUE", help=f"else EXEAT_{name.upper()}")
    try:
        settings = ActorsSettings.load(**vars(parser.parse_args(arguments)))
    except ConfigurationError as error:
        sys.stderr.write(f"exeat: {error}\n")
        return _EXIT_CONFIGURATION
    return run(settings)


def run(settings: ActorsSettings) -> int:
    """Runs the guardian in this process, which must not have imported Ray before; its exit status."""
    ray_environment(settings)
    # Not before the environment is set: Ray reads some of it when it is imported.
    from actors import guardian

    return guardian.main(settings)


if __name__ == "__main__":
    sys.exit(main())
