"""The demo's calls: the commands to paste, what they came to, and what the records say of them. `exeat demo`.

What is printed can be pasted again, and comes to the same. Secrets stand in it by the names of their files only.
"""

from __future__ import annotations

import asyncio
import shlex
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import httpx

from control_api import files
from models.errors import ConfigurationError
from models.home import Home
from models.secret import Secret
from scripts.first_run import demo
from scripts.up import plan, state
from scripts.up.part import DEMO
from sdk import ExeatClient

ATTEMPTS: Final = 12
"""More than two windows admit, so that some are stopped also where a minute ends between two of them."""
RECORD_SECONDS: Final = 10.0
SHOWN: Final = ("content-type", "exeat-proxy-code", "exeat-request-id", "ratelimit", "retry-after")
_WIDE: Final = "    "

Print = Callable[[str], None]


class Place(NamedTuple):
    """Where a running installation can be reached."""

    home: Home
    region: str
    api: str
    upstream: str


class Told(NamedTuple):
    """What a call was answered: status, fields by their names in lower case, body."""

    status: int
    fields: Mapping[str, str]
    body: str

    @property
    def code(self) -> str:
        """The edge's, for example `rule-denied`."""
        return self.fields.get("exeat-proxy-code", "")

    @property
    def request_id(self) -> str:
        """Under which its record is found."""
        return self.fields.get("exeat-request-id", "")


def find(root: Path) -> Place:
    """Where the installation in a home is. Raises ConfigurationError when it is not ready, or has no demo upstream."""
    found = state.read(root)
    if state.holder(root) is None or found is None or found.phase != "ready":
        raise ConfigurationError(f"nothing is ready in {root}; start it with `exeat up`", field="EXEAT_HOME")
    upstream = next((part.url for part in found.parts if part.part == DEMO), "")
    if not upstream:
        raise ConfigurationError("leaves the demo upstream out; the demo calls it", field="EXEAT_DEMO")
    return Place(Home(root), found.regions[0], plan.url(found.port_base), upstream)


def run(place: Place, tell: Print = print) -> bool:
    """Makes what is needed, calls, shows; whether everything came to what was said. Raises CallFailed, ConfigurationError."""
    return asyncio.run(_run(place, tell))


async def _run(place: Place, tell: Print) -> bool:
    token = files.read_secret(place.home.owner_token)
    if token is None:
        raise ConfigurationError(
            "is gone; `exeat token reset` makes another", file=str(place.home.owner_token)
        )
    keys = demo.keys(place.home)
    async with ExeatClient(place.api, token) as api:
        scene = await demo.prepare(api, place.region, place.upstream, keys)
        if not await demo.in_force(api, scene.revision):
            tell(f"revision {scene.revision} is not in force at every edge; `exeat status` shows what runs")
            return False
        tell(
            f"The client {demo.CLIENT!r} has two proxies at the edge of {place.region}. Every call can be pasted.\n"
        )
        ids, good = await _calls(place, scene, keys.caller, tell)
        tell("\nTheir records:\n")
        tell(f"{_WIDE}{records_command(place, scene)}\n")
        lines = await _records(api, scene.client_id, ids)
        for line in described(lines):
            tell(f"{_WIDE}{line}")
        return good and len(lines) == len(ids)


async def _calls(place: Place, scene: demo.Scene, key: Secret, tell: Print) -> tuple[set[str], bool]:
    """Makes and shows all of them; their request ids, and whether each was answered as it should be."""
    headers = {"authorization": key.reveal().decode()}
    async with httpx.AsyncClient(trust_env=False, headers=headers, timeout=30.0) as http:
        tell("1. A call that works. The answer comes back without what it tells about a person:\n")
        works = await _ask(http, f"{scene.url}/customers/7")
        _show(tell, curl(place, f"{scene.url}/customers/7"), works)

        tell("\n2. A call that a rule denies. Nothing goes out:\n")
        denied = await _ask(http, f"{scene.url}/admin/users")
        _show(tell, curl(place, f"{scene.url}/admin/users"), denied)

        tell(f"\n3. Calls that a limit stops after {demo.PER_MINUTE} in a minute:\n")
        tell(f"{_WIDE}{loop(place, f'{scene.limited_url}/hello')}\n")
        limited = [await _ask(http, f"{scene.limited_url}/hello") for _ in range(ATTEMPTS)]
        tell(_WIDE + " ".join(str(one.status) for one in limited))
        stopped = next((one for one in limited if one.status == httpx.codes.TOO_MANY_REQUESTS), None)
        if stopped is not None:
            tell(f"\n{_WIDE}the first that was stopped:\n")
            _answer(tell, stopped)
    good = (
        works.status == httpx.codes.OK
        and "<PERSON>" in works.body
        and denied.code == "rule-denied"
        and stopped is not None
    )
    return {one.request_id for one in (works, denied, *limited)}, good


async def _ask(http: httpx.AsyncClient, url: str) -> Told:
    answer = await http.get(url)
    return Told(answer.status_code, dict(answer.headers.items()), answer.text)


async def _records(api: ExeatClient, client_id: str, ids: set[str]) -> list[dict[str, Any]]:
    """The records of these requests, newest first, as soon as all can be read; what there is when that takes long."""
    deadline = time.monotonic() + RECORD_SECONDS
    while True:
        reply = await api.call("GET", f"/clients/{client_id}/requests", query={"limit": 100})
        found = [one for one in (reply.data or {}).get("requests", ()) if one.get("requestId") in ids]
        if len(found) == len(ids) or time.monotonic() > deadline:
            return found
        await asyncio.sleep(0.2)


# What is printed.


def curl(place: Place, url: str) -> str:
    """The command that makes this call."""
    return f"curl -i -H {_authorization(place.home.demo_key)} {url}"


def loop(place: Place, url: str) -> str:
    """The command that makes a call often and prints the statuses."""
    one = f"curl -s -o /dev/null -w '%{{http_code}} ' -H {_authorization(place.home.demo_key)} {url}"
    return f"for n in $(seq {ATTEMPTS}); do {one}; done; echo"


def records_command(place: Place, scene: demo.Scene) -> str:
    """The command that shows records."""
    url = f"{place.api}/v1/clients/{scene.client_id}/requests?limit=3"
    return f"curl -s -H {_authorization(place.home.owner_token)} '{url}'"


def described(lines: Sequence[Mapping[str, Any]]) -> list[str]:
    """Records for people, oldest first; those that are alike on one line."""
    counted = Counter(_told(line) for line in reversed(lines))
    return [f"{text}{f'  (x {count})' if count > 1 else ''}" for text, count in counted.items()]


def _told(record: Mapping[str, Any]) -> str:
    more = []
    if redactions := record.get("redactions"):
        more.append("redacted " + ", ".join(f"{name} {count}" for name, count in sorted(redactions.items())))
    decision = record.get("decision") or {}
    more += [
        f"denied by {scope.get('by')} of the {scope.get('scope')}"
        for scope in decision.get("scopes", ())
        if scope.get("effect") == "deny"
    ]
    first = f"{record.get('status')}  {record.get('code'):<20}  {record.get('method')} {record.get('path')}"
    return "  ".join([first, *more])


def _authorization(path: Path) -> str:
    return f'"Authorization: $(cat {shlex.quote(str(path))})"'


def _show(tell: Print, command: str, answer: Told) -> None:
    tell(f"{_WIDE}{command}\n")
    _answer(tell, answer)


def _answer(tell: Print, answer: Told) -> None:
    tell(f"{_WIDE}{answer.status}")
    for name in SHOWN:
        if name in answer.fields:
            tell(f"{_WIDE}{name}: {answer.fields[name]}")
    tell(f"\n{_WIDE}{answer.body}")
