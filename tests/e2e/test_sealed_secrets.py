"""Secrets stay sealed in a whole installation: canaries through every way in, then a search through all it wrote.

The canaries go in by POST, PUT and PATCH, in requests that are refused for every reason, in wrong places, as keys
and tokens of callers; calls use them, vault and worker are killed meanwhile. Then files, shared memory, memory of
those who need none, variables, arguments and every answer are searched for them in every form.
"""

from __future__ import annotations

import base64
import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from models.home import short_directory
from tests.kit.bad_credentials import REGION
from tests.kit.canary import Canaries, Search, forms
from tests.kit.desk import Desk
from tests.kit.planes import RunningHome
from tests.kit.planting import Planting, is_in
from tests.kit.upstream import Upstream

MAY_HOLD = {"vault", "worker", "control"}
"""Parts through whose hands plaintext goes: it is sealed in one, sealed anew in another and injected in the third."""
pytestmark = [pytest.mark.soak, pytest.mark.timeout(240)]


class Story(NamedTuple):
    """What was planted where. shown: what the API chose itself; sent: what the target must have been sent."""

    home: RunningHome
    desk: Desk
    search: Search
    upstream: Upstream
    shown: dict[str, str]
    sent: list[str]


@pytest.fixture(scope="module")
def story(custody_home: RunningHome) -> Iterator[Story]:
    with Upstream() as upstream, Desk(_port(custody_home.control_url), custody_home.token) as desk:
        planting = Planting(custody_home, desk, upstream)
        planting.plant()
        search = planting.canaries.search(*planting.shown.values())
        yield Story(custody_home, desk, search, upstream, planting.shown, planting.sent)


# -- planting -------------------------------------------------------------------------------------------


def _port(url: str) -> int:
    return int(url.rpartition(":")[2])


# -- the search -----------------------------------------------------------------------------------------


def test_every_secret_went_where_it_belongs(story: Story) -> None:
    """Or the search would prove nothing: the target was sent each, and the caller's answer had filler in its place."""
    for secret in story.sent:
        assert any(is_in(seen, secret) for seen in story.upstream.seen), secret
    assert len(story.shown) == 3
    assert len(story.desk.heard) > 1000


def test_search_finds_what_it_looks_for(story: Story, tmp_path: Path) -> None:
    """Each form is found in a file, also across two windows, in base64 of more, and in memory that has it."""
    secret = Canaries()
    planted = secret.odd()
    search = secret.search()
    place = tmp_path / "planted"
    for form in forms(planted) | {base64.b64encode(b"?" * shift + planted.encode()) for shift in range(3)}:
        place.write_bytes(b"<" + form + b"\0" * 5000)
        assert search.of_file(place), form
        assert search.first(b"<" + form.swapcase() + b">"), form
    place.write_bytes(b"\0" * ((1 << 24) - 9) + planted.encode())
    assert search.of_file(place)
    for worker in story.home.pids("worker", REGION):
        with contextlib.suppress(PermissionError):
            assert story.search.of_memory(worker)


def test_no_file_holds_a_secret(story: Story) -> None:
    """Stores with their logs, rings, snapshots, records, logs of all parts, Ray's session: not in any form."""
    names = {path.name for path in story.home.files()}
    assert {"control.db", "control.db-wal", "vault.db", "registry.db", "state", "numbering"} <= names
    assert {"edge.log", "link.log", "control.log", "raylet.out", "gcs_server.out", "limiter.db"} <= names
    short = short_directory(story.home.root, os.getuid())
    files = {*story.home.files(), *(path for path in short.rglob("*") if path.is_file())}
    assert _found(story.search, files) == {}


def test_no_shared_memory_holds_a_secret(story: Story) -> None:
    """Ray's object store, and every other file without a name that a process of the home has open."""
    opened = dict(_nameless(story.home))
    assert any("plasma" in target for target in opened.values())
    assert _found(story.search, opened) == {}


def test_no_process_that_needs_none_has_a_secret(story: Story) -> None:
    """Registry, link, raylet, Ray's head and everyone else who only carries or supervises: not even in memory."""
    may = {row.pid for row in story.home.status() if row.part in MAY_HOLD}
    found, looked = {}, 0
    for process in story.home.processes():
        if process.pid in may:
            continue
        with contextlib.suppress(PermissionError, ProcessLookupError, FileNotFoundError):
            form = story.search.of_memory(process.pid)
            looked += 1
            if form is not None:
                found[process.pid, Path(f"/proc/{process.pid}/cmdline").read_bytes()[:80]] = form
    assert found == {}
    assert looked or os.getuid()


def test_no_answer_holds_a_secret(story: Story) -> None:
    """Of API and edge, whatever was asked; what the API chose is in the answer to its POST and in no other."""
    given = story.home.token
    search = Canaries().search(*story.shown.values())
    planted = [form for answer in story.desk.heard if (form := _planted(story, answer)) is not None]
    assert planted == []
    told = [answer for answer in story.desk.heard if search.first(answer) is not None]
    assert [sum(secret.encode() in answer for answer in told) for secret in story.shown.values()] == [1] * 3
    assert len(told) == 3
    assert not [answer for answer in story.desk.heard if given.encode() in answer]


def _planted(story: Story, answer: bytes) -> bytes | None:
    for secret in story.shown.values():
        answer = answer.replace(secret.encode(), b"")
    return story.search.first(answer)


def test_no_variable_or_argument_holds_a_secret(story: Story) -> None:
    """Of any process of the home; not the owner's token either, nor a key of the home, nor Ray's token."""
    search = Search([*story.search.forms, *(path.read_text().strip() for path in _secret_files(story.home))])
    looked = 0
    for process in story.home.processes():
        for name in ("environ", "cmdline"):
            with contextlib.suppress(PermissionError, FileNotFoundError, ProcessLookupError):
                text = Path(f"/proc/{process.pid}/{name}").read_bytes()
                assert search.first(text) is None, (process, name)
                looked += 1
    assert looked > 10


def test_what_must_be_a_file_is_in_that_file_only(story: Story) -> None:
    """Owner's token, keys, region key and Ray's token: mode 600, and in no other file, nor in Ray's object store."""
    secrets = _secret_files(story.home)
    assert len(secrets) == 7, secrets
    short = short_directory(story.home.root, os.getuid())
    places: dict[str | Path, str] = dict(_nameless(story.home))
    places |= {path: str(path) for path in {*story.home.files(), *short.rglob("*")} if path.is_file()}
    texts = {path: path.read_text().strip() for path in secrets}
    for path in secrets:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    raw = [bytes.fromhex(text) for text in texts.values() if _is_hex(text)]
    search = Search([*texts.values(), *raw])
    assert _found(search, {place: name for place, name in places.items() if place not in secrets}) == {}
    for path, text in texts.items():
        assert Search([other for other in texts.values() if other != text]).of_file(path) is None


def test_only_the_owner_may_look(story: Story) -> None:
    """Directories are 700 and files 600 but for public keys; Ray's own tree is below a directory that is 700."""
    root = story.home.root
    ray = root / "run" / "ray"
    short = short_directory(root, os.getuid())
    wrong = []
    for path in [root, *root.rglob("*"), short]:
        if path.is_symlink() or ray in path.parents or path == ray:
            continue
        mode = stat.S_IMODE(path.lstat().st_mode)
        if path.suffix == ".pub":
            mode &= 0o733
        if path.lstat().st_uid != os.getuid() or mode != (0o700 if path.is_dir() else 0o600):
            wrong.append((str(path), oct(mode)))
    assert wrong == []
    assert stat.S_IMODE(ray.parent.stat().st_mode) == 0o700


def _secret_files(home: RunningHome) -> list[Path]:
    one, region, edge = home.home, home.home.region(REGION), home.home.edge(REGION)
    return [
        one.owner_token,
        one.ray_token,
        one.policy_key,
        region.key,
        region.vault_kek,
        region.vault_key,
        edge.host_key,
    ]


def _is_hex(text: str) -> bool:
    return len(text) == 64 and not set(text) - set("0123456789abcdef")


def _nameless(home: RunningHome) -> Iterator[tuple[str, str]]:
    """(path to read it by, what it was) of open files in memory or without a name, each once."""
    seen = set()
    for process in home.processes():
        with contextlib.suppress(PermissionError, FileNotFoundError, ProcessLookupError):
            for descriptor in Path(f"/proc/{process.pid}/fd").iterdir():
                with contextlib.suppress(FileNotFoundError, PermissionError):
                    target = str(descriptor.readlink())
                    status = descriptor.stat()
                    hidden = target.startswith("/memfd:") or target.endswith(" (deleted)")
                    if hidden and stat.S_ISREG(status.st_mode) and (status.st_dev, status.st_ino) not in seen:
                        seen.add((status.st_dev, status.st_ino))
                        yield str(descriptor), target


def _found(search: Search, places: Any) -> dict[str, bytes]:
    """What was found where; a file that went away meanwhile has nothing."""
    found = {}
    for place in places:
        with contextlib.suppress(FileNotFoundError):
            form = search.of_file(place)
            if form is not None:
                found[str(place)] = form
    return found
