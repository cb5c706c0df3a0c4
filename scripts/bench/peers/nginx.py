"""Debian's nginx as a plain reverse proxy: one worker, connections to the target kept open, no duties.

It shows what forwarding alone costs. It must never be read as a governed peer.
"""

from __future__ import annotations

from scripts.bench import probes
from scripts.bench.errors import PeerError
from scripts.bench.governance import LOAD_PATH
from scripts.bench.nginx import configuration, find_nginx, nginx_version
from scripts.bench.peers import NOT_INSTALLED, Endpoint, Site
from scripts.bench.processes import free_port, wait_until
from scripts.bench.upstream import answer_body


def http_block(port: int, upstream_port: int) -> str:
    """The `http` block: everything to the target over up to 256 kept connections."""
    return f"""
    upstream target {{
        server 127.0.0.1:{upstream_port};
        keepalive 256;
        keepalive_requests 1000000000;
        keepalive_timeout 3600s;
    }}
    server {{
        listen 127.0.0.1:{port} backlog=1024;
        location / {{
            proxy_pass http://target;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
        }}
    }}"""


def launch(site: Site) -> Endpoint:
    """Start it and wait until it forwards. Errors: PeerError."""
    program = find_nginx()
    if program is None:
        raise PeerError(NOT_INSTALLED)
    port = free_port()
    config = site.work / "nginx.conf"
    config.write_text(
        configuration(site.work, "nginx", http_block(port, site.upstream_port)), encoding="utf-8"
    )
    argv = [program, "-p", str(site.work), "-e", "stderr", "-c", str(config)]
    child = site.processes.start("nginx", argv, cores=site.cores)
    wait_until(child, lambda: probes.answers(port, LOAD_PATH, {}))
    return Endpoint(
        title=f"nginx {nginx_version(program)}, plain reverse proxy",
        port=port,
        path=LOAD_PATH,
        headers={},
        pid=child.process.pid,
        check=lambda: probes.run(port, probes.plain(LOAD_PATH, {}, answer_body())),
    )
