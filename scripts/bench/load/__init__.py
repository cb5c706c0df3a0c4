"""Load: what is sent to a peer and what came of it.

Two generators with one result: `wrk` for many connections where it is installed, and our own, which
judges every single answer. Neither may report a figure when an answer was not the expected one.
"""

from __future__ import annotations

from dataclasses import dataclass

from scripts.bench.errors import LoadError


@dataclass(frozen=True, slots=True)
class Sample:
    """One measurement: answers, the seconds they took, and latency percentiles in microseconds."""

    requests: int
    seconds: float
    p50_us: float
    p99_us: float

    @property
    def rate(self) -> float:
        """Answers per second."""
        return self.requests / self.seconds


def from_latencies(nanoseconds: list[int], seconds: float) -> Sample:
    """A sample from the latency of every answer. Errors: LoadError when there was none."""
    if not nanoseconds:
        raise LoadError("no answer in time")
    ordered = sorted(nanoseconds)
    return Sample(len(ordered), seconds, _percentile(ordered, 0.50), _percentile(ordered, 0.99))


def request_bytes(port: int, path: str, headers: dict[str, str]) -> bytes:
    """A GET as both generators send it."""
    lines = [
        f"GET {path} HTTP/1.1",
        f"Host: 127.0.0.1:{port}",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def _percentile(ordered: list[int], share: float) -> float:
    """Nearest rank, in microseconds."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] / 1000
