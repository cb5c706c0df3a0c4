"""A real Ray head for tests, started and stopped as `exeat up` does it, and a home for the actors of one region."""

from __future__ import annotations

import contextlib
import os
import secrets
import select
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from actors.settings import ActorsSettings
from models.custody.signing import Signer
from models.home import Home
from proxy_edge import process
from scripts.up import ray_guard, ray_head
from scripts.up.environment import clean
from tests.kit.feed import KEY, REGION

ROOT = Path(__file__).resolve().parents[2]


def tied_to_this_process() -> Callable[[], None]:
    """For `preexec_fn`: the child is asked to stop when this process ends, however that happens."""
    parent = os.getpid()
    return lambda: process.die_with_parent(parent, signal.SIGTERM)


@contextlib.contextmanager
def ray_cluster(regions: tuple[str, ...] = (REGION,)) -> Iterator[ray_head.Head]:
    """A Ray head on loopback with a home of its own; ended with its whole session."""
    home = Path(tempfile.mkdtemp(prefix="exeat-test-"))
    token = Home(home).ray_token
    token.touch(mode=0o600)
    token.write_text(secrets.token_hex(32))
    head = ray_head.Head(home=home, regions=regions, port=ray_head.free_port(home), token=token)
    guard = subprocess.Popen(
        ray_guard.arguments(head),
        env=clean(os.environ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=ROOT,
        start_new_session=True,
        preexec_fn=tied_to_this_process(),  # noqa: PLW1509 - nothing but two system calls
    )
    try:
        assert guard.stdout is not None
        readable, _, _ = select.select([guard.stdout], [], [], 60)
        line = guard.stdout.readline() if readable else b""
        assert line.startswith(b"ray ready"), "the Ray head did not start"
        yield head
    finally:
        guard.terminate()
        guard.wait(30)
        assert guard.stdout is not None
        guard.stdout.close()
        ray_guard.clear(home)
        ray_head.forget_short_path(home)
        shutil.rmtree(home, ignore_errors=True)


def enrol(home: Path, control_public: bytes, region: str = REGION) -> Signer:
    """Makes the files of one region's actors under `home`; the vault's identity."""
    files = Home(home).region(region)
    files.hosts.mkdir(parents=True, mode=0o700)
    identity = Signer.new_private()
    signer = Signer(identity)
    for path, text in (
        (files.key, KEY),
        (files.control_public, control_public.hex()),
        (files.vault_key, identity.reveal().hex()),
        (files.vault_public, signer.public.hex()),
        (files.vault_kek, secrets.token_hex(32)),
    ):
        path.touch(mode=0o600)
        path.write_text(text)
    return signer


def actors_settings(
    head: ray_head.Head, home: Path, control_url: str, region: str = REGION
) -> ActorsSettings:
    """What the guardian and other drivers of these tests are told."""
    return ActorsSettings(
        home=home,
        region=region,
        control_url=control_url,
        ray_address=head.address,
        ray_token_file=head.token,
        ray_epoch_file=ray_guard.epoch_file(head.home),
        log=home / "logs" / f"actors-{region}.log",
    )
