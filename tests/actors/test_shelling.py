"""What leaves an actor's methods: answers as they are, our errors bare, of all others the type alone."""

from __future__ import annotations

import logging
import os
import pickle
from pathlib import Path
from typing import Any

import msgspec
import pytest

from actors.shelling import decode, encode, guarded, guarded_sync, public_key, ready_answer
from models.custody.signing import Signer
from models.errors import ConfigurationError, ExeatError, Refused
from models.planes.calls import ListenRequest, Ready
from models.planes.frames import PROTOCOL


def fail(kind: str) -> str:
    """A method's body: raises as told, with a text that must not get out."""
    if kind == "ours":
        try:
            raise ValueError("secret")
        except ValueError:
            raise Refused("not that") from None
    if kind == "setting":
        raise ConfigurationError("is missing", field="EXEAT_X")
    if kind == "other":
        raise ValueError("secret")
    return kind


@guarded
async def waits(kind: str) -> str:
    return fail(kind)


@guarded_sync
def works(kind: str) -> str:
    return fail(kind)


async def call(method: Any, kind: str) -> str:
    answer = method(kind)
    return answer if isinstance(answer, str) else await answer


@pytest.mark.parametrize("method", [waits, works], ids=["async", "sync"])
async def test_what_gets_out(method: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Of either sort of method; every error can be pickled, because Ray does."""
    assert await call(method, "fine") == "fine"
    for kind, error, text in (
        ("ours", Refused, "not that"),
        ("setting", ConfigurationError, "EXEAT_X: is missing"),
        ("other", ExeatError, "failed with ValueError"),
    ):
        with pytest.raises(error, match=text) as raised:
            await call(method, kind)
        assert raised.value.__cause__ is None
        assert raised.value.__suppress_context__
        assert str(pickle.loads(pickle.dumps(raised.value))) == str(raised.value)  # noqa: S301 - our own bytes


def test_a_method_with_texts_logs_no_traceback(caplog: pytest.LogCaptureFixture) -> None:
    """The lines of one may quote a text."""
    with caplog.at_level(logging.DEBUG), pytest.raises(ExeatError):
        works("other")
    assert "secret" not in caplog.text
    assert "ValueError" in str(caplog.records[0].__dict__)


def test_arguments_are_read_as_what_they_should_be_or_not_at_all() -> None:
    """What was encoded comes back; another shape is an error, which leaves a method as its type alone."""
    asked = ListenRequest(link="l", edge="e", revision=1, sheet=2, issued_ms=3)
    assert decode(encode(asked), ListenRequest) == asked
    for payload in (b"", b"\xc1", encode(7), encode({"link": "l"})):
        with pytest.raises(msgspec.DecodeError):
            decode(payload, ListenRequest)


def test_an_actor_says_what_it_is() -> None:
    """With this process's protocol and id, by which whoever calls knows old code."""
    said = msgspec.msgpack.decode(ready_answer("RateLimiter", "us", "fine"), type=Ready)
    assert said == Ready(role="RateLimiter", region="us", protocol=PROTOCOL, pid=os.getpid(), detail="fine")


def test_a_pinned_key_is_read_with_the_blanks_around_it(tmp_path: Path) -> None:
    """As enrolment writes it."""
    signer = Signer(Signer.new_private())
    (tmp_path / "key.pub").write_text(signer.public.hex() + "\n")
    assert public_key(tmp_path / "key.pub").public == signer.public


@pytest.mark.parametrize(
    "content",
    [None, b"", b"zz" * 32, b"00" * 31, b"\xff\xfe"],
    ids=["none", "empty", "no-hex", "short", "binary"],
)
def test_a_pinned_key_that_cannot_be_used_is_named_by_its_file(tmp_path: Path, content: bytes | None) -> None:
    """And not quoted."""
    path = tmp_path / "key.pub"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"key\.pub") as raised:
        public_key(path)
    assert "zz" not in str(raised.value)
