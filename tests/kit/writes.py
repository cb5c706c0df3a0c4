"""Random writes of a small control plane, for Hypothesis: what they do is plain, so that a model can follow them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hypothesis import strategies as st

from control_api.ledger.change import PART_KINDS, Body, Item, Key
from tests.kit.plane import credential, filter_, proxy, rule, target

REGIONS = ("us", "eu")


@dataclass(frozen=True)
class Write:
    """One thing done. verb: put, revoke or delete. kind and number name the resource; value varies its body."""

    verb: str
    kind: str
    number: int
    value: int
    region: str


writes = st.builds(
    Write,
    st.sampled_from(("put", "put", "put", "revoke", "delete")),
    st.sampled_from(("credential", "target", "proxy", "rule", "filter")),
    st.integers(0, 2),
    st.integers(0, 5),
    st.sampled_from(REGIONS),
)


def item_of(write: Write, there: Mapping[Key, Body]) -> Item | None:
    """The item of a write, given what is there; None when it makes no sense now."""
    name = f"{write.kind}-{write.region}-{write.number}"
    was = there.get((write.kind, name))
    if write.verb == "revoke":
        if write.kind != "credential" or was is None:
            return None
        return credential(name, write.region, **{**was, "credentialStatus": "revoked"})
    made = _made(write, name)
    if write.kind in PART_KINDS and (write.verb == "put") and made.parent not in there:
        return None
    if write.verb == "delete":
        if was is None:
            return None
        return Item(made.kind, made.id, made.client_id, made.parent)
    if was is not None and was.get("credentialStatus") == "revoked":
        return None
    return made


def _made(write: Write, name: str) -> Item:
    region, value = write.region, write.value
    if write.kind == "credential":
        return credential(name, region, credentialVersion=value + 1)
    if write.kind == "target":
        return target(name, region, targetTimeoutMs=value + 1)
    if write.kind == "proxy":
        return proxy(
            name, [f"credential-{region}-0"], f"target-{region}-0", f"credential-{region}-1", region,
            proxyAlias=f"alias-{region}-{write.number}-{value}",
        )  # fmt: skip
    kind = ("credential", "target", "proxy")[write.number]
    parent = (kind, f"{kind}-{region}-0")
    return rule(name, parent, f"^/v{value}") if write.kind == "rule" else filter_(name, parent, f"$.v{value}")


def apply_to(there: dict[Key, Body], item: Item) -> None:
    """What a write does to the model; rules and filters go with what they stand on."""
    if item.after is not None:
        there[item.key] = item.after
        return
    del there[item.key]
    for key in [key for key in there if key[0] in PART_KINDS and parent_of(key) == item.key]:
        del there[key]


def parent_of(key: Key) -> Key:
    """What a rule or filter of these writes stands on, from its own name."""
    _, region, number = key[1].split("-")
    kind = ("credential", "target", "proxy")[int(number)]
    return kind, f"{kind}-{region}-0"
