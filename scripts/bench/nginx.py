"""nginx as a building block: found, versioned, and configured with one worker in the foreground.

The target and the plain-proxy peer both use it. Nothing it writes may lie outside the run's directory.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from scripts.bench.processes import find_program


def find_nginx() -> str | None:
    """The path of nginx, or None."""
    return find_program("nginx")


def nginx_version(program: str) -> str:
    """For example `1.22.1`."""
    told = subprocess.run([program, "-v"], capture_output=True, text=True, timeout=10, check=False)
    return (told.stderr + told.stdout).strip().rpartition("/")[2].split(" ")[0] or "unknown"


def configuration(work: Path, name: str, http: str) -> str:
    """A whole configuration file around an `http` block; its scratch files are in `work`."""
    scratch = "\n".join(
        f"    {kind}_temp_path {work}/{name}-{kind};"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    return f"""daemon off;
worker_processes 1;
pid {work}/{name}.pid;
error_log stderr error;
events {{ worker_connections 4096; }}
http {{
{scratch}
    access_log off;
    keepalive_timeout 3600s;
    keepalive_requests 1000000000;
{http}
}}
"""
