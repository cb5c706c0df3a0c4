"""Runs a whole edge in this process: workers, keeper and, without a policy file, the link. For the command line.

It chooses the mode and nothing else: with a policy file the edge is alone; else everything comes over the link.
"""

from __future__ import annotations

import sys

from models.setting_types import variable
from proxy_edge import home
from proxy_edge.fork import Program
from proxy_edge.records.keeper import run_keeper
from proxy_edge.settings import EdgeSettings, environment
from proxy_edge.supervisor import Supervisor
from proxy_edge.worker import run_worker


def run_edge(settings: EdgeSettings) -> int:
    """Blocks until it has stopped; the exit status. Raises ConfigurationError before anything was started."""
    settings.check_mode()
    settings.check_files()
    return Supervisor(settings, run_worker, run_keeper, link=link_program(settings)).run()


def link_program(settings: EdgeSettings) -> Program | None:
    """The link of an edge; None where a policy file is all there is."""
    if settings.policy is not None:
        return None
    root = settings.home.absolute()
    log = home.link_log_file(root)
    told = {
        "home": root,
        "region": settings.region,
        "workers": settings.workers,
        "ray_address": settings.ray_address,
        "ray_token_file": settings.ray_token_file,
        "ray_epoch_file": settings.ray_epoch_file,
        "limiter_shards": settings.limiter_shards,
        "log": log,
        "log_level": settings.log_level,
    }
    given = {variable(name): str(value) for name, value in told.items() if value is not None}
    return Program((sys.executable, "-m", "actors.link"), {**environment(), **given}, log)
