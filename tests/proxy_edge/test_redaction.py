"""A worker's question about texts: through a real link to the real core; split, put together, fail closed."""

from __future__ import annotations

import asyncio
import logging
import os
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.link import place
from actors.link.call_side import CallSide
from actors.link.held import Held
from actors.link.server import LinkServer
from actors.redactor.recognisers import email
from actors.tasks import spawn, stop
from models.entities import fits
from models.errors import LinkUnavailable, RedactionFailed, Refused
from models.planes.texts import Find, Found, Span
from proxy_edge.redaction import TOGETHER, Redaction
from tests.kit.link import REGION, LocalActors, Region, Worker, until
from tests.kit.redactor import find, redacted

MAIL = "x@mail.example"


class Site:
    """A link, and a worker's client at its socket."""

    def __init__(self, path: Path) -> None:
        self.actors, self.region = LocalActors(), Region()
        self.actors.ask = self._ask  # type: ignore[method-assign]  # of all actors only the redactor
        held = Held(REGION, self.region.control_key, self.region.vault_key)
        self.server = LinkServer(
            held, CallSide(self.actors), uid=os.getuid(), on_progress=lambda: None, on_done=lambda _: None
        )
        self.client = Worker(path, self.region).client
        self.calls = 0

    async def _ask(self, role: str, method: str, payload: bytes, *, shard: int = 0, seconds: float) -> bytes:
        assert (role, method, shard) == ("Redactor", "find", 0)
        assert seconds > 0
        self.calls += 1
        return await find(payload)

    def redaction(self, **bounds: int) -> Redaction:
        return Redaction(self.client.call, **bounds)


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    path = tmp_path / "link"
    one = Site(path)
    await one.server.open(place.bind(path))
    running = spawn("client", one.client.run())
    await until(lambda: one.client.connected)
    yield one
    await stop(running)
    one.server.close()
    await until(lambda: not one.server._all)


async def test_spans_of_each_text_come_back_in_order(site: Site) -> None:
    """Positions in code points; equal texts are asked once, and texts without a letter or digit not at all."""
    texts = ["😀 Ask Maria Garcia", "", "--", f"to {MAIL}", "😀 Ask Maria Garcia"]
    found = await site.redaction().find(texts)
    assert [redacted(text, spans) for text, spans in zip(texts, found, strict=True)] == [
        "😀 Ask <PERSON>",
        "",
        "--",
        "to <EMAIL_ADDRESS>",
        "😀 Ask <PERSON>",
    ]
    assert site.calls == 1
    assert await site.redaction().find([]) == []


async def test_much_text_is_split_and_found_at_every_seam(site: Site) -> None:
    """Names that stand where a long text is cut are found whole; no call is over its bounds."""
    text = "and then Maria Garcia wrote to a@b.example about it 😀 " * 40
    (spans,) = await site.redaction(most_bytes=700, most_texts=2).find([text])
    assert fits(text, spans)
    assert "Garcia" not in redacted(text, spans)
    counts = Counter(one.entity for one in spans)
    assert counts["EMAIL_ADDRESS"] == counts["PERSON"] == 40


async def test_without_a_link_it_fails_after_its_time(tmp_path: Path) -> None:
    """It tries until then, because a link comes back."""
    client = Worker(tmp_path / "nobody", Region()).client
    with pytest.raises(RedactionFailed, match="in time"):
        await Redaction(client.call, seconds=0.25).find(["a b"])


def spoiled(*answers: bytes | Exception) -> tuple[Redaction, list[bytes]]:
    """One whose calls are answered with `answers`, the last one for ever; and what it asked."""
    asked: list[bytes] = []

    async def call(_role: str, _method: str, payload: bytes, _seconds: float) -> bytes:
        asked.append(payload)
        answer = answers[min(len(asked), len(answers)) - 1]
        if isinstance(answer, Exception):
            raise answer
        return answer

    return Redaction(call, seconds=0.15), asked


def answer(*spans: tuple[Span, ...]) -> bytes:
    return msgspec.msgpack.encode(Found(spans))


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"\xc1", id="no-msgpack"),
        pytest.param(answer(), id="too-few"),
        pytest.param(answer((), ()), id="too-many"),
        pytest.param(answer((Span(0, 4, "PERSON", 1.0),)), id="beyond-the-end"),
        pytest.param(answer((Span(-1, 2, "PERSON", 1.0),)), id="before-the-start"),
        pytest.param(answer((Span(0, 2, "PERSON", 1.0), Span(1, 3, "PERSON", 1.0))), id="overlapping"),
        pytest.param(answer((Span(1, 2, "PERSON", 1.0), Span(0, 1, "PERSON", 1.0))), id="out-of-order"),
        pytest.param(answer((Span(0, 1, "EVERYBODY", 1.0),)), id="unknown-entity"),
        pytest.param(LinkUnavailable("away"), id="away"),
    ],
)
async def test_what_does_not_fit_is_no_answer(wrong: bytes | Exception) -> None:
    """It is asked again; with nothing else until the deadline nothing may go out."""
    redaction, asked = spoiled(wrong, answer((Span(0, 1, "PERSON", 1.0),)))
    assert await redaction.find(["abc"]) == [(Span(0, 1, "PERSON", 1.0),)]
    assert len(asked) == 2
    redaction, _ = spoiled(wrong)
    with pytest.raises(RedactionFailed):
        await redaction.find(["abc"])


async def test_a_refusal_and_what_is_no_text_fail_at_once() -> None:
    """Neither gets better by waiting; the text is in no message and no log."""
    redaction, asked = spoiled(Refused("no"))
    with pytest.raises(RedactionFailed):
        await redaction.find(["abc"])
    assert len(asked) == 1
    redaction, asked = spoiled(answer(()))
    with pytest.raises(RedactionFailed) as raised:
        await redaction.find(["abc\ud800"])
    assert asked == []
    assert "abc" not in str(raised.value)


async def test_many_texts_may_take_long_while_redactors_answer() -> None:
    """The time counts from the last answer, not from the question; a few calls are under way at once."""
    running: list[int] = []
    most = 0

    async def call(_role: str, _method: str, payload: bytes, _seconds: float) -> bytes:
        nonlocal most
        running.append(0)
        most = max(most, len(running))
        with suppress(TimeoutError):  # what a redactor takes to read them
            await asyncio.wait_for(asyncio.Event().wait(), 0.1)
        running.pop()
        return answer(*(() for _ in msgspec.msgpack.decode(payload, type=Find).texts))

    texts = [f"text {number}" for number in range(20)]
    assert await Redaction(call, seconds=0.3, most_texts=1).find(texts) == [()] * 20
    assert most == TOGETHER
    with pytest.raises(RedactionFailed, match="in time"):
        await Redaction(call, seconds=0.3, most_seconds=0.35, most_texts=1).find(texts)


async def test_redactors_that_stop_answering_fail_after_their_time() -> None:
    """However much of the answer they had read."""
    answered = 0

    async def call(_role: str, _method: str, payload: bytes, _seconds: float) -> bytes:
        nonlocal answered
        if answered == 7:
            await asyncio.Event().wait()
        answered += 1
        return answer(*(() for _ in msgspec.msgpack.decode(payload, type=Find).texts))

    with pytest.raises(RedactionFailed, match="in time"):
        await Redaction(call, seconds=0.1, most_texts=1).find([f"text {number}" for number in range(9)])
    assert answered == 7


async def test_one_failure_of_many_calls_ends_all(caplog: pytest.LogCaptureFixture) -> None:
    """No part of an answer is handed out, and nothing goes on being asked."""
    asked: list[int] = []

    async def call(_role: str, _method: str, payload: bytes, _seconds: float) -> bytes:
        texts = msgspec.msgpack.decode(payload, type=Find).texts
        asked.append(len(texts))
        if "bad" in texts:
            raise Refused("no")
        await asyncio.Event().wait()
        raise AssertionError

    with caplog.at_level(logging.DEBUG), pytest.raises(RedactionFailed):
        await Redaction(call, most_texts=1).find(["abc", "bad", "def"])
    assert asked == [1, 1, 1]
    await until(lambda: not [one for one in asyncio.all_tasks() if one.get_name() == "redaction"])
    assert "bad" not in caplog.text


@given(
    st.lists(
        st.lists(st.sampled_from(("ab", "é", "😀", "x.y", "\n", MAIL)), max_size=12).map(" ".join), max_size=4
    ),
    st.integers(72, 120),
    st.integers(1, 3),
)
async def test_no_cut_hides_anything(texts: list[str], most_bytes: int, most_texts: int) -> None:
    """However texts are cut, every call is within its bounds, and what is found in the whole is covered."""

    async def call(_role: str, _method: str, payload: bytes, _seconds: float) -> bytes:
        asked = msgspec.msgpack.decode(payload, type=Find).texts
        assert 0 < len(asked) <= most_texts
        assert sum(len(text.encode()) for text in asked) <= most_bytes
        return msgspec.msgpack.encode(Found(tuple(tuple(email.find(text)) for text in asked)))

    found = await Redaction(call, most_bytes=most_bytes, most_texts=most_texts).find(texts)
    for text, spans in zip(texts, found, strict=True):
        assert fits(text, spans)
        assert MAIL not in redacted(text, spans)


@given(st.text(max_size=300), st.integers(4, 40))
async def test_every_character_is_asked(text: str, most_bytes: int) -> None:
    """In pieces that overlap or touch, in order; none is empty, so that it ends."""
    redaction = Redaction(None, most_bytes=most_bytes)  # type: ignore[arg-type]  # nothing is asked
    pieces = list(redaction._pieces(0, text))
    if not any(one.isalnum() for one in text):
        assert pieces == []
        return
    at = 0
    for piece in pieces:
        assert piece.content
        assert piece.start <= at
        assert text[piece.start : piece.start + len(piece.content)] == piece.content
        assert len(piece.content.encode()) <= most_bytes
        at = piece.start + len(piece.content)
    assert at == len(text)
