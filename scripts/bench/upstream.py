"""The one target behind every peer: 250 bytes of JSON from nginx, or from Python where nginx is missing.

It also says which credentials it saw, for the check that a peer governs. It is the same process for
all peers of a run and must never be the proxy under test.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

from scripts.bench import probes
from scripts.bench.governance import KEY_HEADER, LOAD_PATH, Keys
from scripts.bench.nginx import configuration, find_nginx, nginx_version
from scripts.bench.processes import Processes, free_port, wait_until

ANSWER_BYTES = 250


@dataclass(frozen=True, slots=True)
class Upstream:
    """A running target: where it listens and what it is."""

    port: int
    title: str


def answer_body() -> bytes:
    """The JSON that every load request gets: exactly 250 bytes, as DESIGN section 7 measured with."""
    item = {
        "id": 42,
        "name": "A small thing",
        "state": "active",
        "tags": ["one", "two"],
        "price": 12.5,
        "note": "",
    }
    missing = ANSWER_BYTES - len(json.dumps(item))
    return json.dumps({**item, "note": "n" * missing}).encode()


def people_body() -> bytes:
    """2 kB of JSON with ten texts of about 90 characters, in each of which somebody is named, as a ticket system tells."""
    names = ("Ada Young", "Grace Miller", "Linus Walker", "Mary Carter", "Alan Brooks")
    tickets = [
        {
            "id": number,
            "state": "open",
            "priority": number % 4,
            "amount": 12.5 * number,
            "updated": f"2026-03-{number % 28 + 1:02d}T09:30:00.000Z",
            "note": f"{name} asked about invoice {number}; write to {name.split()[0].lower()}@example.com"
            f" or ring +1 617-253-{number:04d} today",
        }
        for number, name in enumerate(names * 2, 140)
    ]
    return json.dumps({"tickets": tickets}).encode()


def start(processes: Processes, work: Path, keys: Keys, cores: frozenset[int]) -> Upstream:
    """Start the target and wait until it answers. Errors: PeerError."""
    port = free_port()
    program = find_nginx()
    if program:
        config = work / "upstream.conf"
        config.write_text(configuration(work, "upstream", nginx_http(port, keys)), encoding="utf-8")
        argv = [program, "-p", str(work), "-e", "stderr", "-c", str(config)]
        title = f"nginx {nginx_version(program)}"
    else:
        # The token goes through a file of the private directory, never through the process list.
        token = work / "upstream.token"
        token.write_bytes(keys.bearer.reveal())
        argv = [sys.executable, "-m", "scripts.bench.python_upstream", str(port), str(token)]
        title = "Python (uvloop, httptools)"
    root = Path(__file__).resolve().parents[2]
    child = processes.start("upstream", argv, cores=cores, cwd=root)
    wait_until(child, lambda: probes.answers(port, LOAD_PATH, {}))
    return Upstream(port, title)


def nginx_http(port: int, keys: Keys) -> str:
    """The `http` block of the target: fixed answers by path, connections kept open."""
    bearer = keys.bearer.reveal().decode()
    key_variable = "$http_" + KEY_HEADER.lower().replace("-", "_")
    body = answer_body().decode()
    return f"""
    map_hash_bucket_size 256;
    map $http_authorization $seen_authorization {{ default other; "" missing; "Bearer {bearer}" injected; }}
    map {key_variable} $seen_key {{ default present; "" absent; }}
    default_type application/json;
    server {{
        listen 127.0.0.1:{port} backlog=1024;
        location /v1/items/ {{ return 200 '{body}'; }}
        location /v1/limited/ {{ return 200 '{body}'; }}
        location /v1/people/ {{ return 200 '{people_body().decode()}'; }}
        location /v1/seen/ {{ return 200 '{{"authorization":"$seen_authorization","apiKey":"$seen_key"}}'; }}
        location /v1/echo/ {{
            add_header X-Echo $http_authorization;
            return 200 '{{"echo":"$http_authorization"}}';
        }}
        location / {{ return 200 '{{"reached":true}}'; }}
    }}"""
