"""The policy file as a source of bundles, driven poll by poll: what is loaded when, and what stays when it cannot be."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
import yaml

from models.errors import ConfigurationError
from models.policy import BrokenProxy
from models.secret import Secret
from proxy_edge.policy_file import PolicyFileErrors
from proxy_edge.policy_source import FilePolicySource
from tests.kit.edge import CALLER_KEY, TARGET_TOKEN, policy
from tests.proxy_edge.watched_file import ENVIRONMENT, Clock, Watched


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
