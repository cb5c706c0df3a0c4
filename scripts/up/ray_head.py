"""How one Ray head is started here: its command, its environment, the short path to its directory, its ports.

Everything it listens on is on 127.0.0.1, its token is in a file, and what is not needed is left out. Values and
paths only; `scripts/up/ray_guard.py` runs it. Tests that need a cluster start theirs the same way.
"""

from __future__ import annotations

import json
import os
import socket
import stat
import sys
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

from actors.names import posts
from models.errors import ConfigurationError
from models.home import short_directory
from scripts.up import ray_hook
from scripts.up.environment import clean

FIRST_PORT, PORTS = 20_000, 12_000
"""Where the head's port is looked for: outside 10002 to 19999, which Ray clusters take by default, and below
the ports that systems give to outgoing connections, so that it is still free after a restart."""

ACTOR_BYTES = 512 << 20
"""More than any one actor declares to need (`actors.remote`)."""

STARTED = b"Ray runtime started"
"""What `ray start` prints once GCS and raylet run."""


class Head(NamedTuple):
    """One Ray head. Paths are absolute; `token` is a file of mode 600 with the cluster's token."""

    home: Path
    regions: tuple[str, ...]
    port: int
    token: Path
    object_store_bytes: int = 100 << 20
    actors: int = len(posts())
    """That each region has."""

    @property
    def address(self) -> str:
        """What the members of the cluster are told, host:port."""
        return f"127.0.0.1:{self.port}"

    @property
    def directory(self) -> Path:
        """Where Ray keeps its sessions: sockets and logs."""
        return self.home / "run" / "ray"

    @property
    def memory_bytes(self) -> int:
        """What actors may declare to need; nothing is allocated for it."""
        return max(1, self.actors * len(self.regions)) * ACTOR_BYTES

    @property
    def cpus(self) -> int:
        """Ray starts so many idle workers at once: one for each actor that is about to be placed."""
        return max(1, self.actors * len(self.regions))


def command(head: Head, directory: Path) -> list[str]:
    """`ray start` in the foreground. directory: the short path of `head.directory`.

    A port of 0 is one that the system chooses when it is bound, so that no two listeners can want the same.
    """
    resources = {f"region:{region}": 1 for region in head.regions}
    zero = (
        *("node-manager-port", "object-manager-port", "dashboard-agent-listen-port"),
        *("dashboard-agent-grpc-port", "runtime-env-agent-port", "metrics-export-port"),
        *("min-worker-port", "max-worker-port"),
    )
    return [
        *(sys.executable, "-P", "-m", "ray.scripts.scripts", "start", "--head", "--block"),
        *("--node-ip-address=127.0.0.1", f"--port={head.port}"),
        *(f"--{name}=0" for name in zero),
        *(
            "--include-dashboard=false",
            "--include-log-monitor=false",
            "--no-monitor",
            "--disable-usage-stats",
        ),
        *(f"--num-cpus={head.cpus}", "--num-gpus=0", f"--memory={head.memory_bytes}"),
        f"--object-store-memory={head.object_store_bytes}",
        *(f"--resources={json.dumps(resources)}", f"--temp-dir={directory}", "--log-color=false"),
    ]


def variables(head: Head, whole: Mapping[str, str]) -> dict[str, str]:
    """The environment of the head and so of every actor: no setting and no secret of ours, but paths.

    whole: the environment of whoever starts it.
    """
    return (
        clean(whole)
        | {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(head.token),
            "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # else it listens on all interfaces
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_START_HOOK": ray_hook.NAME,
            "OMP_NUM_THREADS": "1",  # a redactor uses one core; several side by side must not fight for all of them
            "OPENBLAS_NUM_THREADS": "1",
        }
    )


def short_path(head: Head) -> Path:
    """The symlink to `head.directory` whose path leaves room for socket names; made, or checked, here.

    Raises ConfigurationError when the directory of that name belongs to somebody else.
    """
    folder = own_directory(short_directory(head.home, os.getuid()))
    link = folder / "ray"
    if link.is_symlink():
        if link.readlink() == head.directory:
            return link
        link.unlink()
    link.symlink_to(head.directory)
    return link


def own_directory(path: Path) -> Path:
    """`path`, made with mode 700 if need be. Raises ConfigurationError unless it is ours and nobody else's."""
    path.mkdir(mode=0o700, exist_ok=True)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) & 0o077:
        raise ConfigurationError(f"{path} is not a directory of ours alone: remove it", field="EXEAT_HOME")
    return path


def forget_short_path(home: Path) -> None:
    """Removes what `short_path` made, as far as it is empty then; touches nothing in a place that is not ours."""
    folder = short_directory(home, os.getuid())
    try:
        found = folder.lstat()
        # Anybody may have made something of that name, also a link to a directory of ours.
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
            return
        if (folder / "ray").is_symlink():
            (folder / "ray").unlink(missing_ok=True)
        folder.rmdir()
    except OSError:
        return  # nothing there, or in use by another part


def free_port(home: Path, taken: Iterable[int] = ()) -> int:
    """A free port for a head's GCS: for one home usually the same. taken: ports to leave alone.

    Raises ConfigurationError when none of many is free.
    """
    first = int.from_bytes(blake2b(str(home).encode(), digest_size=4).digest()) % PORTS
    avoid = set(taken)
    for offset in range(256):
        port = FIRST_PORT + (first + offset * 7) % PORTS
        if port in avoid:
            continue
        with socket.socket() as probe:
            # As servers do: a port with nothing but connections of the past is free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise ConfigurationError(f"no port from {FIRST_PORT} on is free for Ray", field="EXEAT_HOME")
