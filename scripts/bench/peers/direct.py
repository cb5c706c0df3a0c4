"""No proxy at all: the client calls the target.

It is the floor that added latency is measured from, and must never be given a duty.
"""

from __future__ import annotations

from scripts.bench import probes
from scripts.bench.governance import LOAD_PATH
from scripts.bench.peers import Endpoint, Site
from scripts.bench.upstream import answer_body


def launch(site: Site) -> Endpoint:
    """The target itself."""
    port = site.upstream_port
    return Endpoint(
        title="client to target",
        port=port,
        path=LOAD_PATH,
        headers={},
        pid=None,
        check=lambda: probes.run(port, probes.plain(LOAD_PATH, {}, answer_body())),
    )
