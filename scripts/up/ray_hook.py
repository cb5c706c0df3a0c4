"""What `ray start` calls before it starts anything (`RAY_START_HOOK`): leaves out what has no switch of its own.

The Ray Client server opens a port and takes seconds and 60 MB, and nobody here speaks its protocol.
"""

from __future__ import annotations

from typing import Any

NAME = f"{__name__}.leave_out"
"""What the variable is set to."""


def leave_out(parameters: Any, head: bool) -> None:
    """parameters: Ray's RayParams of the node about to start. head: whether it is a head node."""
    del head
    parameters.ray_client_server_port = None
