"""`python -m actors.link --home EDGE_HOME --region REGION`: one edge host's link, a child of the edge's supervisor.

Exit status: 0 after SIGTERM, 75 when it has to be started again (sysexits.h EX_TEMPFAIL), 78 for settings.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys
from pathlib import Path
from types import FrameType

from actors import logs
from actors.link import place
from actors.link.lifeline import die_with_parent, rename
from actors.link.program import Pinned, run
from actors.link.watch import Detached, Epoch
from actors.settings import LinkSettings, ray_environment
from models.errors import ConfigurationError, PeerUnavailable
from models.home import EdgeHome

EXIT_AGAIN, EXIT_CONFIGURATION = 75, 78
LEAVE_SECONDS = 2.0

_log = logging.getLogger("exeat.link")


class _Stopped(BaseException):
    """SIGTERM before there is an event loop to take it."""


def main(arguments: list[str]) -> int:
    """Runs a link to its end; the exit status."""
    parent = os.getppid()
    options = _options(arguments)
    try:
        settings = LinkSettings.load(home=options.home, region=options.region, log=options.log)
        logs.configure(settings.log_level, file=settings.log, part="link")
        if not die_with_parent(parent):
            return 0
        rename("exeat-link")
        for number in (signal.SIGINT, signal.SIGHUP):  # a terminal's; the supervisor decides
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, _stop)
        pinned = Pinned(EdgeHome(settings.home.absolute()))
        with place.taken(pinned.socket, os.getuid()):
            return _serve(settings, pinned)
    except _Stopped:
        return 0
    except ConfigurationError as error:
        sys.stderr.write(f"exeat: {error}\n")
        _log.error("link cannot start", extra={"reason": str(error)})
        return EXIT_CONFIGURATION
    except (Detached, PeerUnavailable) as error:
        _log.warning("link leaves", extra={"reason": error.detail})
        return EXIT_AGAIN
    except Exception:  # noqa: BLE001 - the rim of a process: everything ends here, and is logged
        _log.exception("link failed")
        return 1


def _serve(settings: LinkSettings, pinned: Pinned) -> int:
    ray_environment(settings)
    # Not before the environment is set: Ray reads it when it is imported.
    from actors import cluster
    from actors.link import attach

    attach.wait_for_cluster(settings)
    epoch = Epoch(settings.ray_epoch_file)  # as it is while that cluster is there, not before
    cluster.join(settings, is_another=epoch.changed)
    _log.info("cluster joined", extra={"address": settings.ray_address})
    # Not asyncio.run, which would wait for a thread that looks up a name in a cluster that has gone.
    loop = asyncio.new_event_loop()
    actors = attach.RayActors(settings.region)
    loop.run_until_complete(
        run(
            actors,
            pinned,
            settings.region,
            epoch,
            workers=settings.workers,
            shards=settings.limiter_shards,
            redactors=settings.redactors,
            announce=_say_ready,
        )
    )
    attach.leave(LEAVE_SECONDS)
    return 0


def _stop(_number: int, _frame: FrameType | None) -> None:
    raise _Stopped


def _say_ready() -> None:
    _log.info("link ready")


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m actors.link", description="The link of one edge host.")
    parser.add_argument("--home", type=Path, help="the edge's home (EXEAT_HOME)")
    parser.add_argument("--region", help="its region (EXEAT_REGION)")
    parser.add_argument("--log", type=Path, help="file to log to (EXEAT_LOG)")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    status = main(sys.argv[1:])
    logging.shutdown()
    # Not sys.exit: what Ray left running, threads and exit handlers, would wait for a cluster that has gone.
    os._exit(status)
