"""Single calls that show what a peer does: the check that a governed peer governs.

A figure counts only for a peer that passed, so that nothing is measured which enforces nothing. The
texts name what was expected and must never hold a key.
"""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from scripts.bench import governance
from scripts.bench.governance import Keys


class Answer(NamedTuple):
    """What came back: status, headers with lower-case names, body."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Probe:
    """One call and what must be true of its answer. `times` repeats it; the last answer is judged."""

    name: str
    path: str
    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    holds: Callable[[Answer], bool] = lambda _answer: True
    times: int = 1


@dataclass(frozen=True, slots=True)
class Finding:
    """The outcome of one probe."""

    name: str
    ok: bool
    detail: str


def ask(port: int, path: str, headers: Mapping[str, str]) -> Answer:
    """One GET on a connection of its own. Errors: OSError, http.client.HTTPException."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path, headers=dict(headers))
        response = connection.getresponse()
        return Answer(
            response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
        )
    finally:
        connection.close()


def answers(port: int, path: str, headers: Mapping[str, str]) -> bool:
    """Whether that GET is answered with 200 just now."""
    try:
        return ask(port, path, headers).status == 200
    except (OSError, http.client.HTTPException):
        return False


def plain(path: str, headers: Mapping[str, str], body: bytes) -> list[Probe]:
    """What holds for every peer, governed or not: the upstream's answer arrives as it is."""
    return [
        Probe(
            "the upstream's answer arrives unchanged", path, 200, headers, lambda answer: answer.body == body
        )
    ]


def governed(keys: Keys, *, prefix: str = "", limited: str = "") -> list[Probe]:
    """What holds for a governed peer.

    prefix: what precedes the target path on this peer; limited: the same for the calls that a limit of
    one a minute applies to.
    """
    key = {governance.KEY_HEADER: keys.caller.reveal().decode()}
    wrong = {governance.KEY_HEADER: "caller-" + "0" * 48}
    load = prefix + governance.LOAD_PATH
    return [
        Probe("a call without a key is refused", load, 401),
        Probe("a call with a wrong key is refused", load, 401, wrong),
        Probe(
            "the bearer arrives, the key does not",
            prefix + governance.SEEN_PATH,
            200,
            key,
            _credentials_swapped,
        ),
        *(
            Probe(f"a deny rule of scope {scope} denies", prefix + governance.denied_path(scope), 403, key)
            for scope in governance.SCOPES
        ),
        Probe("what no rule allows is denied", prefix + governance.UNMATCHED_PATH, 403, key),
        # Three calls, since the minute may turn between two of them.
        Probe("a limit of one a minute denies", limited + governance.LIMITED_PATH, 429, key, times=3),
    ]


def scrubbed(keys: Keys, *, prefix: str) -> Probe:
    """The injected token comes back neither in a header nor in the body."""
    token = keys.bearer.reveal()
    key = {governance.KEY_HEADER: keys.caller.reveal().decode()}

    def clean(answer: Answer) -> bool:
        text = " ".join(answer.headers.values()).encode() + answer.body
        return token not in text and b"echo" in answer.body

    return Probe("the answer is scrubbed", prefix + governance.ECHO_PATH, 200, key, clean)


def run(port: int, probes: Iterable[Probe]) -> list[Finding]:
    """Make the calls one after the other and judge them."""
    return [_judge(port, probe) for probe in probes]


def eventually(name: str, holds: Callable[[], bool], seconds: float = 6.0) -> Finding:
    """A finding about something that may take a moment, such as a record that is written behind."""
    deadline = time.monotonic() + seconds
    while not (ok := holds()) and time.monotonic() < deadline:
        time.sleep(0.1)  # a program without a loop, up to a deadline
    return Finding(name, ok, "" if ok else f"not so after {seconds:g} s")


def _judge(port: int, probe: Probe) -> Finding:
    try:
        for _ in range(probe.times):
            answer = ask(port, probe.path, probe.headers)
    except (OSError, http.client.HTTPException) as error:
        return Finding(probe.name, ok=False, detail=f"no answer ({type(error).__name__})")
    if answer.status != probe.status:
        return Finding(probe.name, ok=False, detail=f"answered {answer.status}, not {probe.status}")
    holds = probe.holds(answer)
    return Finding(probe.name, holds, "" if holds else f"answered {answer.status}, but not as it should")


def _credentials_swapped(answer: Answer) -> bool:
    return b'"authorization":"injected"' in answer.body and b'"apiKey":"absent"' in answer.body
