"""`wrk` as the generator for many connections: one thread, one script, one line of JSON back.

The headers go through the script, which lies in the run's private directory: keys must never stand in
a process list. wrk counts answers above 399 only, so the mean size of an answer is checked as well.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from scripts.bench.errors import LoadError
from scripts.bench.load import Sample
from scripts.bench.machine import pinned
from scripts.bench.processes import find_program

_MARK = "exeat-bench "
_DONE = """
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    'MARK{"requests":%d,"microseconds":%d,"bytes":%d,"status":%d,"socket":%d,"p50":%.1f,"p99":%.1f}\\n',
    summary.requests, summary.duration, summary.bytes, e.status, e.connect + e.read + e.write + e.timeout,
    latency:percentile(50), latency:percentile(99)))
end
""".replace("MARK", _MARK)


def find_wrk() -> str | None:
    """The path of wrk, or None."""
    return find_program("wrk")


def wrk_version(program: str) -> str:
    """For example `debian/4.1.0-3+b2`."""
    told = subprocess.run([program, "-v"], capture_output=True, text=True, timeout=10, check=False)
    words = (told.stdout + told.stderr).split()
    return words[1] if len(words) > 1 else "unknown"


def script(headers: dict[str, str]) -> str:
    """The Lua script: headers for every request, and the summary as JSON. No callback per answer."""
    return "".join(f'wrk.headers["{name}"] = "{value}"\n' for name, value in headers.items()) + _DONE


def parse(output: str, least_bytes: int) -> Sample:
    """A sample from what wrk printed.

    least_bytes: what an answer has at least on the wire. Errors: LoadError for anything but clean runs.
    """
    line = next((line for line in output.splitlines() if line.startswith(_MARK)), None)
    if line is None:
        raise LoadError("wrk gave no summary")
    told = json.loads(line.removeprefix(_MARK))
    if told["status"]:
        raise LoadError(f"{told['status']} of {told['requests']} answers were errors")
    if told["socket"]:
        raise LoadError(f"{told['socket']} connections failed")
    if not told["requests"]:
        raise LoadError("no answer in time")
    if told["bytes"] < told["requests"] * least_bytes:
        raise LoadError(f"answers were too short ({told['bytes'] // told['requests']} bytes each)")
    return Sample(told["requests"], told["microseconds"] / 1e6, told["p50"], told["p99"])


def run(
    program: str,
    work: Path,
    url: str,
    headers: dict[str, str],
    *,
    connections: int,
    seconds: int,
    least_bytes: int,
    cores: frozenset[int],
) -> Sample:
    """One run against `url`. Errors: LoadError."""
    lua = work / "wrk.lua"
    lua.write_text(script(headers), encoding="utf-8")
    argv = [program, "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "5s", "-s", str(lua), url]
    with pinned(cores):
        try:
            told = subprocess.run(argv, capture_output=True, text=True, timeout=seconds + 15, check=False)
        except subprocess.TimeoutExpired as error:
            raise LoadError("wrk did not end") from error
    if told.returncode:
        raise LoadError(f"wrk ended with {told.returncode}: {told.stderr.strip()[-200:]}")
    return parse(told.stdout, least_bytes)
