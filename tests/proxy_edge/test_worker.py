"""One worker as a process: what it makes in its home, what it refuses to start with, what it leaves when it cannot."""

from __future__ import annotations

import socket
import stat
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography.hazmat.primitives import serialization

from models.errors import ConfigurationError
from proxy_edge.records.keeper import records_file
from proxy_edge.settings import EdgeSettings
from proxy_edge.worker import EdgeLoop, run_worker, server_context
from tests.kit.edge import CALLER_KEY, TARGET_TOKEN, EdgeProcess, policy, running_edge
from tests.kit.raw import RawClient, get


def test_worker_needs_a_policy_file_or_a_region(tmp_path: Path) -> None:
    """Without either there is nothing to enforce: it refuses by the setting's name, before it touches the home."""
    with socket.socket() as listener, pytest.raises(ConfigurationError) as caught:
        run_worker(EdgeSettings.load(home=tmp_path / "home"), 0, listener, lambda: None)
    assert caught.value.field == "EXEAT_REGION"
    assert not (tmp_path / "home").exists()


def broken(**fields: Any) -> dict[str, Any]:
    return policy("http://127.0.0.1:9", **fields)


@pytest.mark.parametrize("workers", [1, 3])
def test_unusable_policy_ends_the_start(tmp_path: Path, workers: int) -> None:
    """Every error is printed once with file, line and field, the status is 78, and no ring, count or record is left."""
    document = broken(proxyTargetId="nowhere", proxyActive="perhaps")
    edge = EdgeProcess(tmp_path, document, workers=workers, environment={"EXEAT_LOG_STDERR": "false"})
    try:
        with pytest.raises(AssertionError, match="edge ended with 78"):
            edge.start()
    finally:
        edge.kill()
    lines = edge.output.read_text().splitlines()
    text = edge.policy_path.read_text().splitlines()
    assert len(lines) == 2
    for line, field, message in (
        (lines[0], "proxyTargetId", "nowhere"),
        (lines[1], "proxyActive", "perhaps"),
    ):
        number = next(at for at, source in enumerate(text, 1) if message in source)
        assert line.startswith(f"exeat: {edge.policy_path}:{number}: proxies[0].{field}: ")
    home = tmp_path / "home"
    assert not (home / "ring").exists()
    assert not list((home / "run").glob("*.mmap"))
    assert edge.records() == []


def test_missing_secret_is_named_and_not_shown(tmp_path: Path) -> None:
    """A secret that is not there is told by its field and variable; those that are there are not shown."""
    document = broken(caller={"credentialSecret": {"key": {"env": "TEST_NO_SUCH_KEY"}}})
    edge = EdgeProcess(tmp_path, document)
    try:
        with pytest.raises(AssertionError, match="edge ended with 78"):
            edge.start()
    finally:
        edge.kill()
    assert "credentials[0].credentialSecret.key: " in edge.log()
    assert "TEST_NO_SUCH_KEY" in edge.log()
    assert CALLER_KEY not in edge.log()
    assert TARGET_TOKEN not in edge.log()


def test_home_is_private(tmp_path: Path) -> None:
    """All of the edge's state is readable by its owner only, and nothing is written beside the home."""
    with running_edge(tmp_path, policy("http://127.0.0.1:9", rules=[{"effect": "deny"}])) as edge:
        with RawClient(edge.port) as client:
            client.send(get("/api/api/x"))
            assert client.answer().status == 403
        edge.wait_records(1)
        home = tmp_path / "home"
        assert records_file(home).is_file()
        modes = {str(path.relative_to(home)): stat.S_IMODE(path.stat().st_mode) for path in home.rglob("*")}
        assert {mode for path, mode in modes.items() if (home / path).is_dir()} == {0o700}
        assert {mode for path, mode in modes.items() if (home / path).is_file()} == {0o600}
        assert {path.split("/")[0] for path in modes} == {"logs", "records", "ring", "run"}
        assert {path.name for path in tmp_path.iterdir()} == {"home", "policy.yaml", "edge.out"}


def test_nothing_waits_in_the_ring_after_a_stop(tmp_path: Path) -> None:
    """A worker that stops delivers its records first; its ring is empty and gone."""
    with running_edge(tmp_path, policy("http://127.0.0.1:9", rules=[{"effect": "deny"}])) as edge:
        with RawClient(edge.port) as client:
            for _ in range(50):
                client.send(get("/api/api/x"))
                client.answer()
        assert edge.stop() == 0
    assert len(edge.records()) == 50
    assert not list((tmp_path / "home" / "ring").glob("*.mmap"))


def test_loop_remembers_its_servers() -> None:
    """A drain can stop accepting before Sanic does: the loop knows every server that was made on it."""
    loop = EdgeLoop()
    try:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            server = loop.run_until_complete(loop.create_server(lambda: None, sock=listener))
            assert loop.servers == [server]
            server.close()
            loop.run_until_complete(server.wait_closed())
    finally:
        loop.close()


@pytest.mark.parametrize(
    ("certificate", "key", "told"),
    [
        ("nonsense", "nonsense", "are not a PEM certificate and key"),
        ("one", "other", "do not belong together"),
        ("one", "encrypted", "give a key without a pass phrase"),
    ],
)
def test_tls_files_that_cannot_be_used_are_named(
    tmp_path: Path, certificate: str, key: str, told: str
) -> None:
    """An operator is told which files and why; nobody is asked for a pass phrase."""
    files = {name: tmp_path / f"{name}.pem" for name in ("nonsense", "one", "other", "encrypted")}
    authority = trustme.CA()
    one, other = authority.issue_cert("edge.test"), authority.issue_cert("edge.test")
    files["nonsense"].write_text("nonsense")
    one.cert_chain_pems[0].write_to_path(str(files["one"]))
    other.private_key_pem.write_to_path(str(files["other"]))
    private = serialization.load_pem_private_key(one.private_key_pem.bytes(), None)
    files["encrypted"].write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"pass phrase"),
        )
    )
    settings = EdgeSettings.load(tls_certificate=files[certificate], tls_key=files[key])
    with pytest.raises(ConfigurationError, match=told) as refused:
        server_context(settings)
    assert refused.value.field in {"EXEAT_TLS_CERTIFICATE", "EXEAT_TLS_KEY"}
