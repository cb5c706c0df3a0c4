"""Exeat itself, fully governed, as a real process: `exeat edge --policy FILE` with one worker.

API key, ten rules in each of four scopes, limits per minute and day, injected bearer token, full scrub,
record ring and sink. It must never be started otherwise than an operator would start it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import yaml

from scripts.bench import governance, probes
from scripts.bench.errors import PeerError
from scripts.bench.governance import LOAD_PATH
from scripts.bench.machine import version_of
from scripts.bench.peers import NOT_INSTALLED, Endpoint, Site, load_headers
from scripts.bench.processes import free_port, wait_until
from scripts.bench.upstream import answer_body

_PREFIX, _LIMITED = "/api/bench", "/api/bench-limited"
_CALLER, _BEARER = "BENCH_CALLER_KEY", "BENCH_BEARER_TOKEN"


def find_exeat() -> Path | None:
    """The command beside this interpreter, as `make setup` installs it, or None."""
    command = Path(sys.executable).parent / "exeat"
    return command if command.is_file() else None


def policy(upstream_port: int) -> dict[str, object]:
    """The policy file. The second proxy differs in one thing: it admits one call a minute."""
    return {
        "version": 1,
        "clients": [{"clientId": "bench-client", "clientName": "Benchmark"}],
        "credentials": [
            _credential("bench-caller", "proxy", "apiKey", {"key": {"env": _CALLER}}, "proxyCredential"),
            _credential("bench-bearer", "target", "bearer", {"token": {"env": _BEARER}}, "targetCredential"),
        ],
        "targets": [
            {
                "targetId": "bench-target",
                "clientId": "bench-client",
                "targetName": "Benchmark target",
                "targetBaseURL": f"http://127.0.0.1:{upstream_port}",
                "targetDefaultRuleEffect": "deny",
                "targetScrub": "full",
                "rules": _rules("target", "target"),
            }
        ],
        "proxies": [
            _proxy("bench", governance.PER_MINUTE),
            _proxy("bench-limited", 1),
        ],
    }


def launch(site: Site) -> Endpoint:
    """Start it and wait until it forwards. Errors: PeerError."""
    command = find_exeat()
    if command is None:
        raise PeerError(NOT_INSTALLED)
    port, headers, path = free_port(), load_headers(site.keys), _PREFIX + LOAD_PATH
    file, home = site.work / "policy.yaml", site.work / "home"
    file.write_text(yaml.safe_dump(policy(site.upstream_port), sort_keys=False), encoding="utf-8")
    argv = [
        str(command), "edge", "--policy", str(file), "--home", str(home), "--port", str(port), "--workers", "1",
    ]  # fmt: skip
    env = {
        "EXEAT_EGRESS_ALLOW": f"127.0.0.1:{site.upstream_port}",
        _CALLER: site.keys.caller.reveal().decode(),
        _BEARER: site.keys.bearer.reveal().decode(),
    }
    child = site.processes.start("exeat", argv, cores=site.cores, env=env)
    wait_until(child, lambda: probes.answers(port, path, headers))

    def check() -> list[probes.Finding]:
        calls = [
            *probes.plain(path, headers, answer_body()),
            *probes.governed(site.keys, prefix=_PREFIX, limited=_LIMITED),
            probes.scrubbed(site.keys, prefix=_PREFIX),
        ]
        return [*probes.run(port, calls), probes.eventually("calls are recorded", lambda: _is_recorded(home))]

    return Endpoint(
        title=f"Exeat {version_of('exeat')}, governed (API key, rules, limits, injected bearer, full scrub, ring and sink)",
        port=port,
        path=path,
        headers=headers,
        pid=child.process.pid,
        check=check,
    )


def _is_recorded(home: Path) -> bool:
    """Whether the sink of this home holds a record of the load path."""
    return any(
        LOAD_PATH.encode() in file.read_bytes() for file in home.glob("records/*.ndjson") if file.is_file()
    )


def _credential(name: str, kind: str, auth: str, secret: dict[str, object], scope: str) -> dict[str, object]:
    return {
        "credentialId": name,
        "clientId": "bench-client",
        "credentialName": name,
        "credentialType": kind,
        "credentialAuthType": auth,
        "credentialSecret": secret,
        "credentialDefaultRuleEffect": "deny",
        "rules": _rules(scope, name),
    }


def _proxy(name: str, per_minute: int) -> dict[str, object]:
    return {
        "proxyId": name,
        "clientId": "bench-client",
        "proxyName": name,
        "proxyProxyCredentialId": "bench-caller",
        "proxyTargetId": "bench-target",
        "proxyTargetCredentialId": "bench-bearer",
        "proxyDefaultRuleEffect": "deny",
        "proxyMaxRequestsPerMinute": per_minute,
        "proxyMaxRequestsPerDay": governance.PER_DAY,
        "rules": _rules("proxy", name),
    }


def _rules(scope: str, owner: str) -> list[dict[str, object]]:
    return [
        {"ruleId": f"{owner}-{number}", "effect": rule.effect, "path": {"pattern": rule.pattern}}
        for number, rule in enumerate(governance.rules(scope))
    ]
