"""Joining the region's Ray cluster as a driver, without ever hanging: wait for its port, then join under a deadline.

What cannot join ends its process with status 75, and its supervisor tries again; a thread stuck inside Ray cannot
be freed any other way.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable
from typing import Final

import ray

from actors.names import NAMESPACE
from actors.settings import RaySettings
from models.errors import PeerUnavailable

EXIT_AGAIN: Final = 75
"""Status of a process that wants to be started again (EX_TEMPFAIL of sysexits.h)."""
PATIENCE_SECONDS: Final = 10.0
JOIN_SECONDS: Final = 30.0
_LOOK_SECONDS: Final = 0.25

_log = logging.getLogger("exeat.cluster")


def reachable(settings: RaySettings, seconds: float = 1.0) -> bool:
    """Whether the cluster's port accepts a connection, which says nothing yet about what answers there."""
    try:
        socket.create_connection((settings.ray_host, settings.ray_port), seconds).close()
    except OSError:
        return False
    return True


def join(
    settings: RaySettings,
    *,
    patience: float = PATIENCE_SECONDS,
    deadline: float = JOIN_SECONDS,
    is_another: Callable[[], bool] = lambda: False,
) -> None:
    """Makes this process a driver. Call `ray_environment` first, and this on the main thread.

    patience: seconds to wait for the port; deadline: seconds for joining. After these, or once the cluster
    `is_another` than the one to be joined, the process ends with EXIT_AGAIN. Raises PeerUnavailable.
    """
    until = time.monotonic() + patience
    while not reachable(settings):
        if time.monotonic() >= until:
            raise PeerUnavailable(f"no Ray cluster accepts connections at {settings.ray_address}")
        time.sleep(0.1)  # before any loop runs; a port says nothing when it opens
    joined = threading.Event()
    threading.Thread(target=_watch, args=(joined, deadline, is_another), daemon=True).start()
    try:
        ray.init(
            address=settings.ray_address,
            namespace=NAMESPACE,
            log_to_driver=False,
            configure_logging=False,
        )
    except Exception as error:  # every way of Ray to fail means the same here
        raise PeerUnavailable(f"cannot join Ray at {settings.ray_address}: {type(error).__name__}") from error
    finally:
        joined.set()


def leave() -> None:
    """Ends being a driver; detached actors live on."""
    ray.shutdown()


def _watch(joined: threading.Event, deadline: float, is_another: Callable[[], bool]) -> None:
    """Ends the process unless it has joined in time: Ray asks a cluster that has gone for half a minute."""
    until = time.monotonic() + deadline
    while not joined.wait(_LOOK_SECONDS):
        late = time.monotonic() >= until
        if late or is_another():
            reason = "it takes too long" if late else "the cluster is a new one"
            _log.error("joining Ray given up", extra={"detail": reason})
            os._exit(EXIT_AGAIN)
