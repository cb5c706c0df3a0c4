"""`exeat first-run`: starts the demo upstream and one edge in front of it, and stops both on Ctrl-C.

Each part is a process of its own in its own session, ended by its process id. The edge may reach the
demo upstream's one address and no other private one.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import NoReturn

from models.errors import ConfigurationError
from proxy_edge import home, process
from proxy_edge.fork import say
from proxy_edge.settings import EdgeSettings, environment
from scripts.first_run.secrets import CALLER_KEY, TARGET_TOKEN, demo_secrets

UPSTREAM_OFFSET = 90
"""The demo upstream's port above `port_base`: 7790 unless told otherwise, as the sample policy has it."""

START_SECONDS = 60.0
DRAIN_SECONDS = "5"

_SAMPLE = Path(__file__).with_name("policy.yaml")
_ROOT = Path(__file__).resolve().parents[2]
_ADDRESS = re.compile(r"127\.0\.0\.1:\d+")
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class _StopAsked(Exception):
    """Ctrl-C, SIGTERM or the end of the terminal."""


class _PartEnded(Exception):
    """A part ended by itself, with this exit status."""

    def __init__(self, name: str, status: int) -> None:
        super().__init__(name)
        self.name, self.status = name, status


def first_run(settings: EdgeSettings) -> int:
    """Blocks until asked to stop; the exit status: 0 then, else that of the part that ended by itself."""
    home.prepare(settings.home)
    secrets = demo_secrets(settings.home)
    port = settings.port_base + UPSTREAM_OFFSET
    if port > 65535:
        raise ConfigurationError(f"leaves no room for the demo upstream on {port}", field="EXEAT_PORT_BASE")
    address = f"127.0.0.1:{port}"
    policy = own_policy(settings.home, address)
    token = secrets[TARGET_TOKEN].reveal().decode()
    handed_on = {
        "EXEAT_DRAIN_SECONDS": DRAIN_SECONDS,
        **environment(),
        CALLER_KEY: secrets[CALLER_KEY].reveal().decode(),
        TARGET_TOKEN: token,
        "EXEAT_HOME": str(settings.home),
        "EXEAT_POLICY": str(policy),
        "EXEAT_PORT_BASE": str(settings.port_base),
        "EXEAT_WORKERS": str(settings.workers),
        "EXEAT_EGRESS_ALLOW": ",".join(filter(None, (settings.egress_allow, address))),
        "EXEAT_LOG_STDERR": "false",
    }
    parts: list[_Part] = []
    with _signals_raise():
        try:
            _tell(f"starting the demo upstream on {address}")
            parts.append(
                _Part(
                    "demo upstream",
                    ["demo-upstream", "--port", str(port)],
                    {**environment(), TARGET_TOKEN: token},
                )
            )
            parts[0].wait_ready()
            _tell(f"starting the edge with {policy}, home {settings.home}")
            parts.append(_Part("edge", ["edge"], handed_on))
            url = parts[1].wait_ready()
            _tell(invitation(url, secrets[CALLER_KEY].reveal().decode(), policy, settings.home))
            _wait_for_an_end(parts)
        except _StopAsked:
            _tell("stopping")
            return 0
        except _PartEnded as ended:
            say(
                f"the {ended.name} ended (status {ended.status}); the edge logs to {home.log_file(settings.home)}"
            )
            return ended.status or 1
        finally:
            for number in _SIGNALS:
                signal.signal(number, signal.SIG_IGN)
            for part in reversed(parts):
                part.stop()


def own_policy(directory: Path, address: str) -> Path:
    """The home's copy of the sample policy, made when absent, so that it can be edited while the edge runs.

    An edited copy is kept; only the demo upstream's address in it follows the ports of this run.
    """
    path = directory / "policy.yaml"
    if not path.exists():
        shutil.copyfile(_SAMPLE, path)
    text = path.read_text()
    if (adapted := _ADDRESS.sub(address, text)) != text:
        path.write_text(adapted)
    return path


def invitation(url: str, key: str, policy: Path, directory: Path) -> str:
    """What is printed once everything runs; the command in it works when pasted."""
    return f"""
Exeat is running at {url}, everything it keeps is in {directory}/.
Callers reach the demo upstream as {url}/api/demo/…; try:

    curl -s -H 'Authorization: Bearer {key}' {url}/api/demo/hello

The upstream answers "authenticated": true: it was given its own token, which the caller never saw.
Edit {policy} while it runs: a change is in force within a second. Ctrl-C stops all of it.
"""


class _Part:
    """One process of the first run, tied to this one: it is asked to stop when this one is gone."""

    def __init__(self, name: str, arguments: list[str], variables: Mapping[str, str]) -> None:
        self.name = name
        parent = os.getpid()
        path = os.pathsep.join(filter(None, [str(_ROOT), variables.get("PYTHONPATH")]))

        def tie() -> None:
            process.default_signals()
            process.die_with_parent(parent, signal.SIGTERM)

        self.process = subprocess.Popen(
            # A folder called `scripts` where the operator stands is not ours: -P, and our own place instead.
            [sys.executable, "-P", "-m", "scripts.cli", *arguments],
            env={**variables, "PYTHONPATH": path},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            start_new_session=True,
            preexec_fn=tie,  # noqa: PLW1509 - this process has one thread
        )

    def wait_ready(self) -> str:
        """The URL of its ready line. Raises _PartEnded when it ends, or says nothing for START_SECONDS."""
        assert self.process.stdout is not None, "asked for above"
        deadline = time.monotonic() + START_SECONDS
        said = b""
        while not said.endswith(b"\n"):
            left = deadline - time.monotonic()
            readable, _, _ = select.select([self.process.stdout], [], [], max(0.0, left))
            piece = os.read(self.process.stdout.fileno(), 4096) if readable else b""
            if not piece:
                status = self.process.wait() if readable else 1
                raise _PartEnded(self.name, status)
            said += piece
        found = re.search(r"https?://\S+", said.decode())
        assert found is not None, "a ready line has an address"
        return found[0]

    def stop(self) -> None:
        """SIGTERM, then SIGKILL when it takes too long; returns when it is gone."""
        with contextlib.suppress(ProcessLookupError):
            self.process.terminate()
        try:
            self.process.wait(timeout=60.0)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def _wait_for_an_end(parts: list[_Part]) -> NoReturn:
    while True:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
        for part in parts:
            if (status := part.process.poll()) is not None:
                raise _PartEnded(part.name, status)


@contextlib.contextmanager
def _signals_raise() -> Iterator[None]:
    def stop(_number: int, _frame: FrameType | None) -> None:
        raise _StopAsked

    before = {number: signal.signal(number, stop) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _tell(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
