"""Invariant 4: secrets are sealed from the moment they arrive; none leaves in a record, log, metric, page or file.

First an edge alone, then control API, registry, vault and link. A whole installation is searched in tests/e2e, and
answers of a target that echoes the secret are in test_04_echoed_secrets.
"""

from __future__ import annotations

import contextlib
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import yaml

from tests.invariants.canary_line import (
    BEARER,
    CALLER_QUERY_KEY,
    ENVIRONMENT,
    HEADER_KEY,
    Line,
    sealed,
)
from tests.kit.api import REGIONS, api, caller_body, sender_body
from tests.kit.canary import Canaries
from tests.kit.edge import CALLER_KEY, ROOT, EdgeProcess, policy, running_edge, until
from tests.kit.hand import HandUpstream
from tests.kit.linked import linked
from tests.kit.raw import RawClient, get
from tests.kit.upstream import Upstream
from tests.kit.whole_region import WholeRegion

# -- everything else that is written --------------------------------------------------------------------


def test_nothing_is_written_anywhere(hostile: tuple[EdgeProcess, HandUpstream]) -> None:
    """After calls that end in every way: no secret of either side in records, logs, metrics, pages or any file."""
    edge, upstream = hostile
    form = BEARER.encode()

    def ended(raw: bytes, answer: bytes, alias: str = "api", *, hang_up: bool = True) -> None:
        with contextlib.closing(Line(edge, upstream)) as line:
            line.begin(raw, alias).send(answer)
            if hang_up:
                line.hang_up()
            with contextlib.suppress(EOFError, ConnectionError):
                line.client.answer()

    before = len(edge.records())
    ended(b"", b"HTTP/1.1 200 %b\r\nX: %b\r\nContent-Length: %d\r\n\r\n%b" % (form, form, len(form), form))
    ended(b"", b"HTTP/1.1 200 %b\r\nContent-Length: 1000\r\n\r\n%b" % (form, form))  # cut off
    ended(b"", b"HTTP/1.1 200 OK\r\nNo colon %b\r\n\r\n" % form)  # invalid
    ended(b"", b"%b\r\n\r\n" % form)  # not even HTTP
    ended(b"", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%b\r\n" % form)  # a bad chunk
    ended(b"", b"HTTP/1.1 200 OK\r\nContent-Encoding: %b\r\nContent-Length: 0\r\n\r\n" % form)
    ended(get("/api/in-header/x", "X-Token: mine"), b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    with_key = get(f"/api/in-query/x?caller%20key={quote(CALLER_QUERY_KEY, safe='')}&token=1&a=b", key=None)
    ended(with_key, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    ended(get("/api/api/x", f"X-Api-Key: {CALLER_KEY}"), b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    with RawClient(edge.port) as client:
        # Refused before and after authentication, with credentials in every place.
        client.send(get(f"/api/in-query/x?caller+key={quote(CALLER_QUERY_KEY)}"))
        assert client.answer().status == 401  # two that differ
        client.send(get("/api/nowhere/x"))
        assert client.answer().status == 404
        client.send(get("/api/api/x", f"Via: 1.1 {edge_name(edge)}"))
        assert client.answer().status == 508
        client.send(get("/api/api/x", f"Bad Name: {CALLER_KEY}"))
        assert client.answer().status == 400
    seen = b""
    with RawClient(edge.port) as client:
        client.send(get("/ready"))
        answer = client.answer()
        seen += answer.raw_head + answer.body
    with RawClient(edge.port) as client:
        client.send(get("/metrics"))
        answer = client.answer()
        assert b"exeat_masks_total" in answer.body
        seen += answer.raw_head + answer.body
    edge.wait_records(before + 9)
    codes = {"proxy-access-granted", "answer-cut-off", "target-invalid", "scrub-failed"}
    until(lambda: codes <= {record["code"] for record in edge.records()}, 5, "a record of each kind")
    assert any(record.get("scrubbed") for record in edge.records())
    assert sealed(seen)
    assert all_sealed(edge.home)
    for pid in (edge.pid, *edge.worker_pids()):
        assert sealed(Path(f"/proc/{pid}/cmdline").read_bytes())


def edge_name(edge: EdgeProcess) -> str:
    return (edge.home / "home" / "run" / "edge.name").read_text()


def all_sealed(folder: Path) -> bool:
    """Whether no file below holds a secret; at least log, record, ring and policy are among them."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert {"edge.log", "requests.ndjson", "policy.yaml", "edge.out", "limits.mmap"} <= {
        path.name for path in files
    }
    for path in files:
        assert sealed(path.read_bytes()), path
    return True


def misplaced() -> Iterator[tuple[str, dict[str, Any]]]:
    """Policies in which somebody wrote a secret where none belongs."""
    caller = {"key": {"env": "TEST_CALLER_KEY"}}
    yield "value", policy("http://a.test", sender={"credentialSecret": {"token": BEARER}})
    yield "body", policy("http://a.test", sender={"credentialSecret": BEARER})
    yield "env", policy("http://a.test", sender={"credentialSecret": {"token": {"env": BEARER}}})
    yield "file", policy("http://a.test", sender={"credentialSecret": {"token": {"file": BEARER}}})
    yield "form", policy("http://a.test", sender={"credentialSecret": {"token": {BEARER: "x"}}})
    yield "extra", policy("http://a.test", caller={"credentialSecret": {**caller, BEARER: "x"}})
    yield "prefix", policy("http://a.test", caller={"credentialSecret": {**caller, "prefix": BEARER}})
    yield "name", policy("http://a.test", caller={"credentialSecret": {**caller, "name": BEARER}})
    yield "user", policy(f"http://user:{HEADER_KEY}@a.test")
    yield "short", policy("http://a.test", sender={"credentialSecret": {"token": {"env": "TEST_SHORT"}}})
    yield "control", policy("http://a.test", sender={"credentialSecret": {"token": {"env": "TEST_CONTROL"}}})


MISPLACED = dict(misplaced())
OFTEN = {"EXEAT_POLICY_POLL_SECONDS": "0.05"}
BAD_VALUES = {"TEST_SHORT": "cnry-57", "TEST_CONTROL": f"{BEARER}\x07{HEADER_KEY}"}


@pytest.mark.parametrize("name", MISPLACED)
def test_a_bad_policy_is_refused_without_quoting_it(tmp_path: Path, name: str) -> None:
    """What `exeat edge` prints of a policy file it cannot use names the place, never what stands there."""
    path = tmp_path / "policy.yaml"
    path.write_text(yaml.safe_dump(MISPLACED[name]))
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "scripts.cli",
            "edge",
            "--policy",
            path,
            "--home",
            tmp_path / "home",
            "--port",
            "0",
        ],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "TEST_CALLER_KEY": CALLER_KEY, **ENVIRONMENT, **BAD_VALUES},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 78
    printed = done.stdout + done.stderr
    assert b"policy.yaml:" in printed
    assert sealed(printed)
    assert b"cnry-57" not in printed
    for file in (tmp_path / "home").rglob("*"):
        assert not file.is_file() or sealed(file.read_bytes()), file


def test_a_bad_change_of_the_policy_is_reported_without_quoting_it(tmp_path: Path) -> None:
    """A running edge keeps its policy and tells of the fault in its log and on `/ready`, without the secret."""
    good = policy("http://127.0.0.1:9")
    with running_edge(tmp_path, good, environment={**ENVIRONMENT, **BAD_VALUES, **OFTEN}) as edge:

        def ready() -> dict[str, Any]:
            with RawClient(edge.port) as client:
                client.send(get("/ready", key=None))
                answer = client.answer()
                assert sealed(answer.raw_head + answer.body)
                found: dict[str, Any] = json.loads(answer.body)
                return found

        for document in MISPLACED.values():
            edge.write_policy(good)
            until(lambda: not ready()["policyFault"], 30)
            edge.write_policy(document)
            until(lambda: ready()["policyFault"], 30)
        edge.write_policy(good)
        until(lambda: not ready()["policyFault"], 30)
        assert sealed(edge.log().encode())
        assert "cnry-57" not in edge.log()


# -- the planes -------------------------------------------------------------------------------------------


async def test_control_plane_seals_what_arrives(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Made, replaced, altered, refused, repeated: not in store, logs, answers or feed, which has it for the vault only."""
    caplog.set_level(logging.DEBUG)
    canaries, heard = Canaries(), []
    async with api(tmp_path) as core:

        async def ask(method: str, path: str, **more: Any) -> Any:
            answer = await core.call(method, path, **more)
            heard.append(repr(answer.headers).encode() + answer.content)
            return answer

        for body, field in ((caller_body(), "key"), (sender_body(), "token")):
            key = {"idempotency-key": canaries.odd()}
            told = {**body, "credentialSecret": {field: canaries.odd()}}
            for _ in range(2):
                made = await ask("POST", "{c}/credentials", json=told, headers=key)
            assert made.status_code == 201
            path = f"{{c}}/credentials/{made.json()['credentials'][0]['credentialId']}"
            assert (await ask("PUT", path, json=told)).status_code == 200
            patch = {"credentialSecret": {field: canaries.odd()}}
            assert (await ask("PATCH", path, json=patch)).status_code == 200
            for wrong in (canaries.odd(), {canaries.plain(): canaries.odd()}, {field: [canaries.odd()]}):
                refused = await ask("PATCH", path, json={"credentialSecret": wrong})
                assert refused.status_code == 422
            assert (await ask("PATCH", path, json=patch, token=f"u-{canaries.plain()}")).status_code == 401
            assert (await ask("GET", "{c}/audit")).status_code == 200
        region = core.regions[REGIONS[0]]
        until_all = core.head
        assert await core.plane.ledger.propagated(until_all, (REGIONS[0],), 5.0)
        opened = [one["secret"] for one in region.secrets()]
        fed = [repr(answer).encode() for answer in region.answers]
    search = canaries.search()
    assert len(opened) == 6
    assert all(search.first(json.dumps(one).encode()) for one in opened)
    assert [search.first(one) for one in (*heard, *fed, caplog.text.encode())] == [None] * (
        len(heard) + len(fed) + 1
    )
    assert_nothing_in(tmp_path, search, {"control.db"})


def test_region_keeps_and_carries_it_sealed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Vault, registry, link and edge: stores, mirror, snapshot, rings, records and logs have neither it nor the pepper."""
    caplog.set_level(logging.DEBUG)
    canaries = Canaries()
    first, second, key = canaries.odd(), canaries.odd(), canaries.odd()
    with Upstream() as upstream, linked(tmp_path, kind=WholeRegion) as (plane, edge):
        region = plane.region
        plane.attend()
        plane.do(region.credential("shown", "proxy", "apiKey", {"key": key}))
        plane.do(region.sample(upstream.url, proxyProxyCredentialIds=["caller", "shown"]))
        edge.wait_ready()
        for token in (first, second):
            plane.do(region.credential("sender", "target", "bearer", {"token": token}))
            revision = plane.call("publish").revision
            until(lambda revision=revision: edge.ready()["revision"] == revision, 10)

            def is_sent(token: str = token) -> bool:
                assert edge.get("/api/api/x", key=key).status == 200
                return upstream.seen[-1].get("authorization") == f"Bearer {token}"

            until(is_sent, 10, "a lease of the new version")
            assert edge.get("/api/api/x", key=canaries.odd()).status == 401
        (spooled, *_) = until(lambda: list((edge.home / "spool").glob("*.ndjson")), 5, "records in the spool")
        pepper = region.core._lessor._pepper.reveal()
        fed = [repr(answer).encode() for answer in region.feed.told]
    search = canaries.search(pepper)
    assert [search.first(one) for one in (*fed, caplog.text.encode())] == [None] * (len(fed) + 1)
    assert_nothing_in(tmp_path, search, {"vault.db", "registry.db", "state", spooled.name, "edge.log"})


def assert_nothing_in(folder: Path, search: Any, expected: set[str]) -> None:
    """Searches every file below; only once nobody of this process has a store open there."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert expected <= {path.name for path in files}
    assert {str(path): form for path in files if (form := search.of_file(path)) is not None} == {}
