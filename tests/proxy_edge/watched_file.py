"""A policy file, its source, and what the source delivered, poll by poll."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from models.policy import CompiledProxy
from models.secret import Secret
from proxy_edge.edge import Bundle
from proxy_edge.policy_source import FilePolicySource
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
