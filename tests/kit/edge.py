"""A real `exeat edge` process for tests: its policy file, its ports, its records, its end.

Every process is started in a session of its own and ended by its id; nothing is looked up by name.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

import yaml

ROOT = Path(__file__).resolve().parents[2]
CALLER_KEY = "caller-key-0123456789abcdef"
TARGET_TOKEN = "target-token-fedcba9876543210"


def until(condition: Callable[[], Any], seconds: float = 10.0, what: str = "") -> Any:
    """Waits until `condition` is true and returns its value; fails the test after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {seconds} s: {what or condition}"
        time.sleep(0.01)


def policy(target_url: str, **proxy: Any) -> dict[str, Any]:
    """A small policy: one caller (apiKey), one target with a bearer, one proxy with alias `api`.

    Keyword arguments are fields of the proxy; `caller`, `target` and `sender` are mappings merged into
    those resources.
    """
    caller, target, sender = (proxy.pop(name, {}) for name in ("caller", "target", "sender"))
    return {
        "version": 1,
        "clients": [{"clientId": "acme", "clientName": "Acme"}],
        "credentials": [
            {
                "credentialId": "caller",
                "credentialName": "Caller",
                "credentialType": "proxy",
                "credentialAuthType": "apiKey",
                "credentialSecret": {"key": {"env": "TEST_CALLER_KEY"}},
                **caller,
            },
            {
                "credentialId": "sender",
                "credentialName": "Sender",
                "credentialType": "target",
                "credentialAuthType": "bearer",
                "credentialSecret": {"token": {"env": "TEST_TARGET_TOKEN"}},
                **sender,
            },
        ],
        "targets": [{"targetId": "target", "targetName": "Target", "targetBaseURL": target_url, **target}],
        "proxies": [
            {
                "proxyId": "proxy-one",
                "proxyName": "One",
                "proxyAlias": "api",
                "proxyProxyCredentialId": "caller",
                "proxyTargetId": "target",
                "proxyTargetCredentialId": "sender",
                **proxy,
            }
        ],
    }


class EdgeProcess:
    """`exeat edge --policy` on a free port with its own home. Use as a context manager."""

    def __init__(
        self,
        home: Path,
        document: dict[str, Any],
        *,
        workers: int = 1,
        environment: dict[str, str] | None = None,
    ) -> None:
        self.home = home
        self.policy_path = home / "policy.yaml"
        self.output = home / "edge.out"
        self._workers = workers
        self._environment = {
            key: value for key, value in os.environ.items() if not key.startswith("EXEAT_")
        } | {
            "TEST_CALLER_KEY": CALLER_KEY,
            "TEST_TARGET_TOKEN": TARGET_TOKEN,
            "EXEAT_EGRESS_ALLOW": "127.0.0.0/8",
            **(environment or {}),
        }
        home.mkdir(parents=True, exist_ok=True)
        self.write_policy(document)
        self.port = 0
        self.process: subprocess.Popen[bytes] | None = None

    def write_policy(self, document: dict[str, Any]) -> None:
        """Replaces the policy file in one step."""
        draft = self.policy_path.with_suffix(".new")
        draft.write_text(yaml.safe_dump(document, sort_keys=False))
        draft.rename(self.policy_path)

    def start(self) -> Self:
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "scripts.cli",
                    "edge",
                    "--policy",
                    str(self.policy_path),
                    "--home",
                    str(self.home / "home"),
                    "--port",
                    str(self.port),
                    "--workers",
                    str(self._workers),
                ],
                cwd=ROOT,
                env=self._environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        line = until(self._ready_line, 20, "edge ready")
        self.port = int(re.search(r":(\d+) ", line)[1])  # type: ignore[index]  # the line was matched
        return self

    def _ready_line(self) -> str:
        assert self.process is not None
        text = self.output.read_text()
        assert self.process.poll() is None, f"edge ended with {self.process.returncode}:\n{text}"
        lines = re.findall(r"^edge ready: .*$", text, re.MULTILINE)
        return lines[-1] if lines else ""

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def worker_pids(self) -> list[int]:
        """The supervisor's children that are workers, in order of age."""
        return self._children("exeat-worker")

    def keeper_pid(self) -> int:
        """The child that delivers the records."""
        return int(until(lambda: self._children("exeat-keeper"), 5, "the keeper")[0])

    def _children(self, name: str) -> list[int]:
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        named = []
        for child in children:
            with suppress(FileNotFoundError, ProcessLookupError):
                if Path(f"/proc/{child}/comm").read_text().strip() == name:
                    named.append(int(child))
        return named

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Signals the supervisor and returns its exit status."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(45)

    def kill(self) -> None:
        """Ends everything that is left, by process id."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exc: object) -> None:
        try:
            self.stop()
        finally:
            self.kill()

    def records(self) -> list[dict[str, Any]]:
        """All records in the local sink so far."""
        path = self.home / "home" / "records" / "requests.ndjson"
        if not path.exists():
            return []
        return [json.loads(line) for line in path.read_bytes().splitlines() if line.endswith(b"}")]

    def wait_records(self, count: int, seconds: float = 5.0) -> list[dict[str, Any]]:
        """The records once there are at least `count` of them."""
        until(lambda: len(self.records()) >= count, seconds, f"{count} records")
        return self.records()

    def log(self) -> str:
        """Everything that was logged or printed."""
        path = self.home / "home" / "logs" / "edge.log"
        return self.output.read_text() + (path.read_text() if path.exists() else "")


@contextmanager
def running_edge(home: Path, document: dict[str, Any], **options: Any) -> Iterator[EdgeProcess]:
    """A started edge that is ended with the block."""
    with EdgeProcess(home, document, **options) as edge:
        yield edge
