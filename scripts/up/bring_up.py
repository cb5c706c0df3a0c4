"""`exeat up` in the foreground: one whole installation, from its keys to a line that says everything is ready.

Holds the home's lock for its whole life. It prints the owner's token once, to the terminal of the first start,
and writes it to no log.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
from collections.abc import Sequence

from actors.names import posts
from control_api import files
from models.errors import ConfigurationError
from models.home import Home
from proxy_edge.fork import EXIT_CONFIGURATION, say
from proxy_edge.settings import environment
from scripts.settings import UpSettings
from scripts.up import enrol, leftovers, plan, ray_head, sessions, state
from scripts.up.bootstrap import bootstrap
from scripts.up.part import Part
from scripts.up.supervisor import Failure, Listener, Supervisor


def up(settings: UpSettings, *, welcome: bool = True) -> int:
    """Blocks until everything has stopped; the exit status.

    0: asked to stop, or runs already. 1: not everything became ready. 78: what the operator wrote cannot be used,
    then also raised as ConfigurationError. welcome: whether to print URLs and token when all are ready.
    """
    home = Home(settings.home)
    make_directories(home)
    lock = state.Lock(home.root)
    if not lock.acquire():
        _print(f"Exeat already runs in {home.root}; `exeat status` shows its parts, `exeat down` stops it")
        return 0
    try:
        return _locked(settings, home, welcome=welcome)
    finally:
        lock.release()


def make_directories(home: Home) -> None:
    """Makes the home and what every command needs in it. Raises ConfigurationError."""
    for path in (home.root, home.run, home.logs):
        enrol.directory(path)


def _locked(settings: UpSettings, home: Home, *, welcome: bool) -> int:
    for name in ("EXEAT_TLS_CERTIFICATE", "EXEAT_TLS_KEY"):
        if environment().get(name):
            raise ConfigurationError(
                "is for parts that run alone; `exeat up` serves this machine only, in plain HTTP: unset it",
                field=name,
            )
    regions = plan.choose_regions(settings.region_names, enrol.known_regions(home))
    where = plan.ports(settings.port_base, regions)
    leftovers.clear(home.root)
    listened_on = [*where.values(), *([plan.demo_port(settings.port_base)] if settings.demo else [])]
    plan.check_ports(listened_on)
    enrol.make_keys(home, regions)
    head = ray_head.Head(
        home=home.root,
        regions=regions,
        port=ray_head.free_port(home.root, listened_on),
        token=home.ray_token,
        object_store_bytes=settings.ray_store_megabytes << 20,
        actors=len(posts(settings.limiter_shards, settings.redactors)),
    )
    parts = [Part(spec) for spec in plan.specs(settings, regions, head, environment())]
    shown = home.run / "token.shown"
    report = _Report(settings, regions, parts, first=not shown.exists())
    _print(f"starting Exeat in {home.root}: Ray, control API, {len(regions)} regions ({', '.join(regions)})")
    supervisor = Supervisor(
        parts, report, start_seconds=settings.start_seconds, drain_seconds=settings.drain_seconds
    )
    report.changed("starting", None)

    def prepare() -> None:
        edges = {region: plan.url(port) for region, port in where.items() if region}
        bootstrap(home, edges)

    def celebrate() -> None:
        # Not at the first start, but at the first that is seen to end well: else nobody was shown the token.
        files.write_new(shown, b"")
        if welcome:
            _print(welcome_text(settings, regions, first=report.first))

    try:
        failure = supervisor.run(prepare, celebrate)
    except ConfigurationError as error:
        report.changed("failed", Failure(str(error), str(home.logs), EXIT_CONFIGURATION))
        raise
    finally:
        leftovers.clear(home.root)
    if failure is None:
        _print("stopped")
        return 0
    say(f"{failure.reason}\nmore is in {failure.log}")
    return failure.status


def welcome_text(settings: UpSettings, regions: Sequence[str], *, first: bool) -> str:
    """What is printed once everything runs; the command in it works when pasted."""
    home = Home(settings.home)
    where = plan.ports(settings.port_base, regions)
    edges = "\n".join(f"    edge {region:<18}{plan.url(where[region])}" for region in regions)
    demo = (
        f"\nThree governed calls and their records:\n\n    exeat demo --home {shlex.quote(str(home.root))}\n"
    )
    token = f"\nThe owner's token, shown this once and kept in {home.owner_token}:\n\n    {_token(home)}\n"
    return f"""
Exeat is ready.

    control API            {plan.url(where[""])}/v1   (documentation: {plan.url(where[""])}/docs)
{edges}
{token if first else ""}
Everything it keeps is in {home.root}. Try:

    curl -s -H "Authorization: $(cat {shlex.quote(str(home.owner_token))})" {plan.url(where[""])}/v1/endpoints
{demo if settings.demo else ""}"""


class _Report(Listener):
    """Prints progress, and keeps `state.json` up to date."""

    def __init__(
        self, settings: UpSettings, regions: Sequence[str], parts: Sequence[Part], *, first: bool
    ) -> None:
        self._settings, self._regions, self._parts = settings, tuple(regions), parts
        self.first = first
        mine = sessions.look(os.getpid())
        self._start = 0 if mine is None else mine.start
        self._boot = sessions.boot_id()

    def tell(self, text: str) -> None:
        _print(text)

    def changed(self, phase: state.Phase, failure: Failure | None) -> None:
        found = state.State(
            pid=os.getpid(),
            start=self._start,
            boot=self._boot,
            phase=phase,
            port_base=self._settings.port_base,
            regions=self._regions,
            first=self.first,
            reason="" if failure is None else failure.reason,
            log="" if failure is None else failure.log,
            parts=tuple(part.record() for part in self._parts),
        )
        state.write(self._settings.home, found)


def _token(home: Home) -> str:
    try:
        return home.owner_token.read_text().strip()
    except OSError:
        return "(the file is gone: `exeat token reset` makes another)"


def _print(text: str) -> None:
    with contextlib.suppress(BrokenPipeError):  # nobody reads any more; what runs shall go on
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
