"""The policy file as a source of bundles, driven poll by poll: what is loaded when, and what stays when it cannot be."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from models.errors import ConfigurationError, CredentialRejected
from models.policy import BrokenProxy, CompiledProxy
from models.request import CanonicalRequest
from models.secret import Secret
from proxy_edge.edge import Bundle
from proxy_edge.policy_file import PolicyFileErrors
from proxy_edge.policy_source import FilePolicySource
from proxy_edge.steps.lease import StaticLeases
from tests.kit.edge import CALLER_KEY, TARGET_TOKEN, policy

ENVIRONMENT = {"TEST_CALLER_KEY": CALLER_KEY, "TEST_TARGET_TOKEN": TARGET_TOKEN}
START = datetime(2026, 1, 1, tzinfo=UTC)


class Clock:
    """Wall time that the test moves, in seconds after START."""

    def __init__(self) -> None:
        self.after = 0.0

    def wall_ms(self) -> int:
        return int((START.timestamp() + self.after) * 1000)

    def boot_ns(self) -> int:
        return 0


class Watched:
    """A policy file, its source, and what the source delivered."""

    def __init__(self, folder: Path, environment: Mapping[str, str] = ENVIRONMENT) -> None:
        self.path = folder / "policy.yaml"
        self.clock = Clock()
        self.source = FilePolicySource(self.path, environment, self.clock, 0.0, Secret(bytes(32)))
        self.bundles: list[Bundle] = []
        self.faults: list[str] = []

    def write(self, **fields: Any) -> None:
        draft = self.path.with_suffix(".new")
        draft.write_text(yaml.safe_dump(policy("http://target.test", **fields), sort_keys=False))
        draft.rename(self.path)

    def first(self) -> Bundle:
        bundle = self.source.first()
        self.bundles.append(bundle)
        return bundle

    def look(self) -> None:
        """One poll."""
        self.source._look(self.bundles.append, self.faults.append)

    @property
    def proxy(self) -> CompiledProxy:
        """The one proxy as last delivered."""
        proxy = self.bundles[-1].policy.proxies[b"proxy-one"]
        assert isinstance(proxy, CompiledProxy)
        return proxy


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    watched = Watched(tmp_path)
    watched.write()
    watched.first()
    return watched


def accepts(watched: Watched, key: str) -> bool:
    request = CanonicalRequest(b"GET", b"/", b"", [(b"x-api-key", key.encode())])
    try:
        return watched.proxy.callers.authenticate(request) == "caller"
    except CredentialRejected:
        return False


def test_unchanged_file_delivers_nothing(watched: Watched) -> None:
    """Polls of a file that stays as it is compile and deliver nothing."""
    for _ in range(3):
        watched.look()
    assert ([bundle.policy.revision for bundle in watched.bundles], watched.faults) == ([1], [])


def test_change_is_delivered_once(watched: Watched) -> None:
    """An edit is delivered by the next poll, as the next revision; the same text again is no edit."""
    watched.write(proxyActive=False)
    watched.look()
    watched.look()
    assert [bundle.policy.revision for bundle in watched.bundles] == [1, 2]
    assert not watched.proxy.active
    watched.path.write_text(watched.path.read_text())
    watched.look()
    assert len(watched.bundles) == 2


def test_missing_file_at_the_start_is_an_error(tmp_path: Path) -> None:
    """There is no first bundle without a usable file."""
    with pytest.raises(ConfigurationError, match=r"policy\.yaml:1: "):
        Watched(tmp_path).source.first()


class Editor(Mapping[str, str]):
    """An environment during whose reading somebody edits: `edit` runs once, at the first look-up."""

    def __init__(self) -> None:
        self.edit: Callable[[], object] | None = None

    def __getitem__(self, name: str) -> str:
        edit, self.edit = self.edit, None
        if edit is not None:
            edit()
        return ENVIRONMENT[name]

    def __iter__(self) -> Iterator[str]:
        return iter(ENVIRONMENT)

    def __len__(self) -> int:
        return len(ENVIRONMENT)


@pytest.mark.parametrize("at_start", [True, False])
def test_edit_while_the_file_is_loaded_is_not_missed(tmp_path: Path, *, at_start: bool) -> None:
    """A file replaced after it was read and before the load is over is loaded again."""
    editor = Editor()
    watched = Watched(tmp_path, editor)
    watched.write(proxyName="Before")
    if not at_start:
        watched.first()
        watched.write(proxyName="Meanwhile")
    editor.edit = lambda: watched.write(proxyActive=False)
    if at_start:
        watched.first()
    else:
        watched.look()
    assert vars(editor)["edit"] is None
    states = [watched.proxy.active]
    watched.look()
    states.append(watched.proxy.active)
    assert states == [True, False]


def secret_file(path: Path, secret: str) -> None:
    draft = path.with_suffix(".draft")
    draft.write_text(secret)
    draft.chmod(0o600)
    draft.rename(path)


def test_secret_file_is_watched(watched: Watched, tmp_path: Path) -> None:
    """A file that an edit names is watched from then on; a change of it alone delivers new digests."""
    key = tmp_path / "key"
    secret_file(key, CALLER_KEY)
    watched.write(caller={"credentialSecret": {"key": {"file": "key"}}})
    watched.look()
    watched.look()
    assert (len(watched.bundles), accepts(watched, CALLER_KEY)) == (2, True)
    secret_file(key, "another-key-0123456789")
    watched.look()
    assert (len(watched.bundles), accepts(watched, CALLER_KEY)) == (3, False)
    assert accepts(watched, "another-key-0123456789")


def test_secret_file_replaced_right_after_it_was_named(watched: Watched, tmp_path: Path) -> None:
    """A file that is changed after its first reading and before the next poll is read again."""
    key = tmp_path / "key"
    secret_file(key, CALLER_KEY)
    watched.write(caller={"credentialSecret": {"key": {"file": "key"}}})
    watched.look()
    secret_file(key, "another-key-0123456789")
    watched.look()
    assert accepts(watched, "another-key-0123456789")


def test_missing_secret_file_is_seen_when_it_comes(watched: Watched, tmp_path: Path) -> None:
    """A broken edit is repaired by the file it misses, without another edit."""
    watched.write(caller={"credentialSecret": {"key": {"file": "key"}}})
    watched.look()
    watched.look()
    assert "credentials[0].credentialSecret.key: " in watched.faults[-1]
    assert len(watched.bundles) == 1
    secret_file(tmp_path / "key", "another-key-0123456789")
    watched.look()
    assert (len(watched.bundles), accepts(watched, "another-key-0123456789")) == (2, True)


def test_broken_file_keeps_what_was_in_force(watched: Watched, caplog: pytest.LogCaptureFixture) -> None:
    """Every error is logged with its place, one fault tells them all, and no bundle is delivered until the repair."""
    watched.write(proxyTargetId="nowhere", proxyActive="perhaps")
    watched.look()
    watched.look()
    [fault] = watched.faults
    assert fault.count("\n") == 1
    logged = [record.__dict__["fault"] for record in caplog.records if record.levelname == "ERROR"]
    assert sorted(logged) == sorted(fault.split("\n"))
    assert len(watched.bundles) == 1
    watched.write()
    watched.look()
    assert [bundle.policy.revision for bundle in watched.bundles] == [
        1,
        2,
    ]  # though the text is the first again


@pytest.mark.parametrize("how", ["removed", "folder", "loop"])
def test_file_that_is_no_file_keeps_what_was_in_force(watched: Watched, how: str) -> None:
    """A file that is gone, or is something else, is a fault like any other, and its return is noticed."""
    watched.path.unlink()
    if how == "folder":
        watched.path.mkdir()
    elif how == "loop":
        watched.path.symlink_to(watched.path.name)
    watched.look()
    watched.look()
    assert (len(watched.faults), len(watched.bundles)) == (1, 1)
    if how == "folder":
        watched.path.rmdir()
    watched.write()
    watched.look()
    assert len(watched.bundles) == 2


def at(seconds: float) -> str:
    return datetime.fromtimestamp(START.timestamp() + seconds, UTC).isoformat()


def held(bundle: Bundle) -> StaticLeases:
    """A file's leases are all there from the beginning."""
    assert isinstance(bundle.leases, StaticLeases)
    return bundle.leases


def test_leases_are_bound_to_credential_and_destination(watched: Watched) -> None:
    """One for each proxy's credential at that proxy's target, and a file needs no link."""
    assert set(held(watched.bundles[-1])) == {("sender", "http", "target.test", 80)}
    assert watched.proxy.lease_key in held(watched.bundles[-1])
    assert (watched.source.link, watched.bundles[-1].age) == ("file", 0.0)


def test_expiry_of_credentials_takes_effect_by_itself(watched: Watched) -> None:
    """Each expiry is a revision of its own: the caller's empties its digests, the target's takes the lease away."""
    watched.write(caller={"credentialExpiresAt": at(10)}, sender={"credentialExpiresAt": at(20)})
    watched.look()
    states = []
    for seconds in (9.5, 9.999, 10, 10.5, 19.9, 20, 30):
        watched.clock.after = seconds
        watched.look()
        bundle = watched.bundles[-1]
        states.append(
            (bundle.policy.revision, accepts(watched, CALLER_KEY), {key[0] for key in held(bundle)})
        )
    assert states == [
        (2, True, {"sender"}),
        (2, True, {"sender"}),
        (3, False, {"sender"}),
        (3, False, {"sender"}),
        (3, False, {"sender"}),
        (4, False, set()),
        (4, False, set()),
    ]
    assert b"x-api-key" in watched.proxy.callers.strip_headers  # an expired key is still not forwarded


def test_expiry_does_not_hide_a_fault(watched: Watched) -> None:
    """A credential that expires while the file is broken expires in the old policy, and the fault is told again."""
    watched.write(caller={"credentialExpiresAt": at(10)})
    watched.look()
    watched.path.write_text("nonsense")
    watched.look()
    watched.clock.after = 11
    watched.look()
    assert not accepts(watched, CALLER_KEY)
    assert len(watched.faults) == 2
    assert watched.faults[0] == watched.faults[1]


def test_proxy_that_cannot_be_compiled_is_alone(watched: Watched, caplog: pytest.LogCaptureFixture) -> None:
    """A proxy whose rules no record could name is kept as broken, logged, and the policy is delivered all the same."""
    watched.write(rules=[{"ruleId": "default", "effect": "deny"}])
    watched.look()
    policy = watched.bundles[-1].policy
    assert policy.revision == 2
    assert isinstance(policy.proxies[b"api"], BrokenProxy)
    assert [broken.id for broken in policy.broken] == ["proxy-one"]
    assert [record.message for record in caplog.records] == ["proxy cannot be compiled"]


async def test_follow_polls_until_cancelled(watched: Watched) -> None:
    """`follow` looks again and again, survives faults, and ends when cancelled."""
    ages: list[float] = []
    following = asyncio.ensure_future(
        watched.source.follow(watched.bundles.append, watched.faults.append, ages.append)
    )

    async def until(condition: Callable[[], object]) -> None:
        async with asyncio.timeout(10):
            while not condition():  # noqa: ASYNC110 - the source tells nobody when it has looked
                await asyncio.sleep(0)

    watched.path.write_text("nonsense")
    await until(lambda: watched.faults)
    watched.write(proxyActive=False)
    await until(lambda: len(watched.bundles) == 2)
    await until(lambda: ages)
    assert set(ages) == {0.0}
    following.cancel()
    with pytest.raises(asyncio.CancelledError):
        await following


def test_bundle_shows_no_secret(watched: Watched) -> None:
    """No secret is in the repr of a bundle, nor of what is reached from it."""
    bundle = watched.bundles[-1]
    text = repr((bundle, bundle.leases, watched.proxy))
    assert CALLER_KEY not in text
    assert TARGET_TOKEN not in text


def test_a_replaced_caller_secret_stays_valid_for_its_overlap(tmp_path: Path) -> None:
    """For credentialOverlapSeconds both secrets are accepted, then only the new one."""
    document = policy("http://t.test", caller={"credentialOverlapSeconds": 60})
    environment = {"TEST_CALLER_KEY": "first-key-0123456789", "TEST_TARGET_TOKEN": "token-0123456789"}
    clock = Clock()
    path = tmp_path / "policy.yaml"
    path.write_text(yaml.safe_dump(document))
    source = FilePolicySource(path, environment, clock, 1, Secret(b"p" * 32))

    def accepts(bundle: Bundle, key: bytes) -> bool:
        proxy = bundle.policy.proxies[b"api"]
        assert isinstance(proxy, CompiledProxy)
        request = CanonicalRequest(b"GET", b"/", b"", [(b"authorization", key)])
        try:
            return proxy.callers.authenticate(request) == "caller"
        except CredentialRejected:
            return False

    bundles = [source.first()]
    environment["TEST_CALLER_KEY"] = "second-key-0123456789"
    path.write_text(yaml.safe_dump(document) + "# edited\n")
    source._look(bundles.append, pytest.fail)
    assert [accepts(bundles[-1], key) for key in (b"first-key-0123456789", b"second-key-0123456789")] == [
        True,
        True,
    ]

    clock.after += 61
    source._look(bundles.append, pytest.fail)
    assert [accepts(bundles[-1], key) for key in (b"first-key-0123456789", b"second-key-0123456789")] == [
        False,
        True,
    ]


def test_a_file_for_another_region_is_refused(tmp_path: Path) -> None:
    """An edge that was told its region does not serve another one's file."""
    path = tmp_path / "policy.yaml"
    path.write_text(yaml.safe_dump({**policy("http://t.test"), "region": "eu-west-1"}))
    environment = {"TEST_CALLER_KEY": CALLER_KEY, "TEST_TARGET_TOKEN": TARGET_TOKEN}
    source = FilePolicySource(path, environment, Clock(), 1, Secret(b"p" * 32), region="us-east-1")
    with pytest.raises(ConfigurationError) as refused:
        source.first()
    assert isinstance(refused.value, PolicyFileErrors)
    (error,) = refused.value.errors
    assert (error.field, error.line) == (
        "region",
        path.read_text().splitlines().index("region: eu-west-1") + 1,
    )


def test_a_shorter_overlap_ends_what_overlaps_already(tmp_path: Path) -> None:
    """After a leak the operator sets the overlap to 0, and the old key is gone at once."""
    environment = {"TEST_CALLER_KEY": "first-key-0123456789", "TEST_TARGET_TOKEN": "token-0123456789"}
    path = tmp_path / "policy.yaml"
    source = FilePolicySource(path, environment, Clock(), 1, Secret(b"p" * 32))

    def write(overlap: int) -> None:
        document = policy("http://t.test", caller={"credentialOverlapSeconds": overlap})
        path.write_text(yaml.safe_dump(document))

    write(3600)
    source.first()
    environment["TEST_CALLER_KEY"] = "second-key-0123456789"
    path.write_text(path.read_text() + "# edited\n")
    bundles: list[Bundle] = []
    source._look(bundles.append, pytest.fail)
    write(0)
    source._look(bundles.append, pytest.fail)
    proxy = bundles[-1].policy.proxies[b"api"]
    assert isinstance(proxy, CompiledProxy)
    with pytest.raises(CredentialRejected):
        proxy.callers.authenticate(
            CanonicalRequest(b"GET", b"/", b"", [(b"authorization", b"first-key-0123456789")])
        )


def test_a_secret_that_cannot_be_scrubbed_costs_one_revision_only(tmp_path: Path) -> None:
    """Whatever ails one edit is a fault like any other, named and told; the next edit is noticed."""
    filler = "".join(letter * 8 for letter in "*#.xX-_0") * 2
    environment = {"TEST_CALLER_KEY": CALLER_KEY, "TEST_TARGET_TOKEN": TARGET_TOKEN}
    path = tmp_path / "policy.yaml"
    path.write_text(yaml.safe_dump(policy("http://t.test")))
    source = FilePolicySource(path, environment, Clock(), 1, Secret(b"p" * 32))
    source.first()
    bundles: list[Bundle] = []
    faults: list[str] = []

    def broken(_document: object) -> Bundle:
        raise RuntimeError(filler)

    working, source._bundle = source._bundle, broken  # type: ignore[method-assign]  # a fault of ours
    path.write_text(path.read_text() + "# edited\n")
    source._look(bundles.append, faults.append)
    assert faults == ["cannot be used: RuntimeError"]

    source._bundle = working  # type: ignore[method-assign]
    path.write_text(path.read_text() + "# edited again\n")
    source._look(bundles.append, faults.append)
    assert len(bundles) == 1
