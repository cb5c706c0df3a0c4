"""What leaves an actor's methods: answers as they are, our errors bare, of all others the type alone."""

from __future__ import annotations

import logging
import pickle
from typing import Any

import pytest

from actors.shelling import guarded, guarded_sync
from models.errors import ConfigurationError, ExeatError, Refused


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
