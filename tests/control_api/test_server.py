"""`exeat control` as a process: ready line, home, drain, crash, and what it refuses."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from control_api.ledger.crash import Crash
from control_api.server import run_control, services
from control_api.settings import ControlSettings
from models.errors import ConfigurationError
from models.home import Home
from tests.kit.edge import ROOT, until
from tests.kit.plane import SIGNER

RUN = (
    "import sys; from control_api.server import run_control; from control_api.settings import ControlSettings;"
    " sys.exit(run_control(ControlSettings.load()))"
)


@contextmanager
def control(home: Path, **variables: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A running control API over `home`, on a free port; its URL."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("EXEAT_")}
    out = home.parent / "out"
    with out.open("wb") as stdout, (home.parent / "err").open("ab") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-c", RUN],
            cwd=ROOT,
            env={**inherited, "EXEAT_HOME": str(home), "EXEAT_PORT": "0", **variables},
            stdout=stdout,
            stderr=stderr,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
    try:
        line = until(lambda: out.read_text().strip() or process.poll() is not None, 30, "ready")
        assert isinstance(line, str), (home.parent / "err").read_text()
        assert line.startswith("control ready: http://127.0.0.1:")
        yield process, line.removeprefix("control ready: ")
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.wait(30)


def test_it_starts_stops_and_finds_everything_again(tmp_path: Path) -> None:
    """Same owner, same data; one ready line; files of mode 600 in directories of 700; SIGTERM ends it with 0."""
    home = tmp_path / "home"
    with control(home) as (process, url):
        token = (home / "owner.token").read_text().strip()
        with httpx.Client(base_url=url, headers={"authorization": token}, trust_env=False) as http:
            made = http.post("/v1/clients", json={"clientName": "Kept"})
            assert made.status_code == 201
    assert process.returncode == 0
    with control(home, EXEAT_LOG_STDERR="false") as (process, url):
        assert (home / "owner.token").read_text().strip() == token
        found = httpx.get(f"{url}/v1/clients", headers={"authorization": token}, trust_env=False)
        assert [client["clientName"] for client in found.json()["clients"]] == ["Kept"]
    assert process.returncode == 0
    assert (tmp_path / "out").read_text().count("control ready:") == 1
    for path in home.rglob("*"):
        wanted = 0o700 if path.is_dir() else 0o644 if path.suffix == ".pub" else 0o600
        assert path.stat().st_mode & 0o777 == wanted, path
    log = (home / "logs" / "control.log").read_text()
    assert '"ready"' in log
    assert "/v1/clients" not in log
    assert token not in log + (tmp_path / "err").read_text()


def test_a_crash_point_ends_it_and_the_write_is_whole(tmp_path: Path) -> None:
    """After the insert it is there at the next start, once, for the same key."""
    home = tmp_path / "home"
    with control(home):
        token = (home / "owner.token").read_text().strip()
    fields = {"authorization": token, "idempotency-key": "one"}
    with control(home, EXEAT_CRASH_POINT="after-insert") as (process, url):
        with pytest.raises(httpx.TransportError):
            httpx.post(
                f"{url}/v1/clients", json={"clientName": "A"}, headers=fields, trust_env=False, timeout=30
            )
        assert process.wait(30) == -signal.SIGKILL
    with control(home) as (_, url):
        again = httpx.post(f"{url}/v1/clients", json={"clientName": "A"}, headers=fields, trust_env=False)
        listed = httpx.get(f"{url}/v1/clients", headers={"authorization": token}, trust_env=False)
    assert again.status_code == 201
    assert len(listed.json()["clients"]) == 1


def test_what_it_cannot_listen_on_is_named(tmp_path: Path) -> None:
    """A port in use, an address of another machine, a home that is a file."""
    (tmp_path / "file").write_text("")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        for options, field in (
            ({"port": port}, "EXEAT_PORT"),
            ({"port_base": port}, "EXEAT_PORT_BASE"),
            ({"host": "192.0.2.1", "insecure_bind": True, "port": 0}, "EXEAT_PORT"),
            ({"host": "no-such-host.invalid", "insecure_bind": True}, "EXEAT_HOST"),
            ({"home": tmp_path / "file"}, "EXEAT_HOME"),
        ):
            with pytest.raises(ConfigurationError) as refused:
                run_control(ControlSettings(**{"home": tmp_path / "home", **options}))
            assert refused.value.field == field


async def test_services_are_opened_and_closed_in_order(tmp_path: Path) -> None:
    """Everything works inside, and a second opening finds the first one's owner."""
    home = Home(tmp_path)
    for _ in range(2):
        async with services(home, SIGNER, Crash(), record_days=30) as opened:
            assert len(opened.ledger.projection.list("user")) == 1
            assert await opened.readiness.writes_work()
