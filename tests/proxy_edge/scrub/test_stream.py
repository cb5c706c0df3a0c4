"""ScrubStream: for any split the output is that of the whole, and only a beginning of a form is held."""

from __future__ import annotations

import copy
import json
import pickle
import random
import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy_edge.scrub.forms import Forms, spell
from proxy_edge.scrub.stream import ScrubStream

TOKEN = b"q7Jt0ZmXh4Rb9KcWv2Ls8YdPe5NfUg1TaGi3Hjk6"


def _held(forms: tuple[bytes, ...], data: bytes) -> int:
    """Length of the longest suffix that is a proper prefix of a form, by definition."""
    return max(
        (n for form in forms for n in range(1, min(len(form) - 1, len(data)) + 1) if data.endswith(form[:n])),
        default=0,
    )


def _run(forms: Forms, pieces: list[bytes]) -> tuple[bytes, int]:
    """Streams the pieces; checks on the way that exactly the allowed tail is held back."""
    stream, fed, sent = ScrubStream(forms), b"", b""
    for piece in pieces:
        fed += piece
        sent += stream.feed(piece)
        assert stream.held == len(fed) - len(sent)
        assert stream.held == _held(forms._spelled, fed)
    sent += stream.finish()
    assert stream.held == 0
    return sent, stream.count


def _split(data: bytes, cuts: list[int]) -> list[bytes]:
    at = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[start:end] for start, end in pairwise(at)]


@st.composite
def _texts(draw, forms: tuple[bytes, ...]) -> bytes:
    """Text with whole forms, beginnings and ends of forms planted in noise."""
    whole = st.sampled_from(forms)
    part = st.tuples(whole, st.integers(0, 40)).map(lambda pair: pair[0][: pair[1]])
    end = st.tuples(whole, st.integers(0, 40)).map(lambda pair: pair[0][pair[1] :])
    noise = st.one_of(
        st.binary(max_size=6), st.sampled_from([b'{"token":"', b'"}', b"%", b"\\", b"*", b"\n\n"])
    )
    return b"".join(draw(st.lists(st.one_of(whole, whole, part, end, noise), max_size=8)))


_values = st.one_of(
    st.text("abcXYZ019+/=_-", min_size=8, max_size=24).map(str.encode),
    st.text(min_size=8, max_size=16).map(lambda text: text.encode("utf-8", "replace")),
    st.text('*" \\/é%', min_size=8, max_size=16).map(str.encode),
    st.binary(min_size=8, max_size=16),
)


@given(st.data(), st.lists(_values, min_size=1, max_size=3), st.lists(st.integers(0, 2**16), max_size=12))
def test_any_secrets_in_any_text_split_anyhow_come_out_as_from_the_whole(data, values, cuts):
    """Streamed equals unsplit, of equal length, with the same count and no form left."""
    forms = Forms.of([*values, values[0][:9]])
    text = data.draw(_texts(forms._spelled))
    masked, count = forms.mask(text)
    assert len(masked) == len(text)
    assert not forms.found(masked)
    assert _run(forms, _split(text, cuts)) == (masked, count)


@given(
    st.lists(st.text("ab", min_size=8, max_size=16), min_size=1, max_size=4),
    st.text("ab", max_size=60),
    st.lists(st.integers(0, 99), max_size=60),
)
def test_any_overlapping_forms_split_anyhow_come_out_as_from_the_whole(words, text, cuts):
    """Over two letters forms begin inside one another across every cut."""
    spelled = tuple(dict.fromkeys(word.encode() for word in words))
    forms = Forms(spelled)
    for whole in (text.encode(), spelled[0] + spelled[-1][3:] + text.encode() + spelled[0][:-1]):
        assert _run(forms, _split(whole, cuts)) == forms.mask(whole)


@pytest.mark.parametrize("form", spell(TOKEN), ids=range(len(spell(TOKEN))))
def test_a_form_cut_at_every_byte_is_masked(form):
    """Two pieces cut anywhere, and single bytes: never a byte of the form in the output."""
    forms = Forms.of([TOKEN])
    text = b'data: {"echo": "' + form + b'"}\n\n'
    masked, _ = forms.mask(text)
    for cut in range(len(text) + 1):
        assert _run(forms, [text[:cut], text[cut:]]) == (masked, 1)
    assert _run(forms, [text[at : at + 1] for at in range(len(text))]) == (masked, 1)


@pytest.mark.parametrize("size", [1, 7, 100, 4096, 65536, 65537, 3_000_000])
def test_bodies_of_any_size_with_the_secret_on_every_chunk_border(size):
    """The secret lies across each border of 64 KiB chunks, and at both ends of the body."""
    forms = Forms.of([TOKEN])
    body = bytearray(random.Random(size).randbytes(size))
    for at in (0, *range(65536 - 20, size, 65536), size - len(TOKEN)):
        body[max(at, 0) : max(at, 0) + len(TOKEN)] = TOKEN[: size - max(at, 0)]
    stream = ScrubStream(forms)
    sent = (
        b"".join(stream.feed(bytes(body[at : at + 65536])) for at in range(0, size, 65536)) + stream.finish()
    )
    assert (sent, stream.count) == forms.mask(bytes(body))
    assert len(sent) == size
    assert TOKEN not in sent


def test_pieces_without_a_beginning_of_a_form_pass_as_the_same_object():
    """The fast path makes no copy and holds nothing: events leave when they arrive."""
    stream = ScrubStream(Forms.of([TOKEN]))
    for event in (b'data: {"n": 1}\n\n', b": ping\n\n", b"\x00" * 70000, json.dumps({"a": [1, 2]}).encode()):
        assert stream.feed(event) is event
        assert stream.held == 0
    assert stream.feed(b"") == b""
    assert stream.finish() == b""
    assert stream.count == 0


def test_one_secret_that_begins_another_is_not_delayed_past_its_end():
    """The shorter one stands at the end of a piece: it is held as the longer may follow, then masked."""
    short, long = TOKEN[:10], TOKEN
    forms = Forms.of([long, short])
    assert _run(forms, [b"x" + short, b"y"]) == (b"x" + b"*" * 10 + b"y", 1)
    assert _run(forms, [b"x" + short, long[10:], b"y"]) == (b"x" + b"*" * 40 + b"y", 1)
    assert _run(forms, [b"x" + short]) == (b"x" + b"*" * 10, 1)
    assert _run(forms, [b"x" + long[:-1], b"y"]) == (b"x" + b"*" * 10 + long[10:-1] + b"y", 1)


@pytest.mark.parametrize("gap", [b"x", b"x" + TOKEN[:5] + b"y", b"x" * 99])
def test_runs_that_do_not_touch_are_counted_apart(gap):
    """Text between two occurrences ends a run, whether it passed untouched, in part or with a held tail."""
    forms = Forms.of([TOKEN])
    expected = forms.mask(TOKEN + gap + TOKEN + TOKEN)
    assert expected[1] == 2
    for pieces in ([gap, TOKEN, TOKEN], [gap + TOKEN[:5], TOKEN[5:] + TOKEN], [gap + TOKEN, TOKEN]):
        assert _run(forms, [TOKEN, *pieces]) == expected


def test_no_forms_means_no_change():
    """Without a value everything passes as it is."""
    assert _run(Forms.of([]), [TOKEN, b"", b"abc"]) == (TOKEN + b"abc", 0)


def test_a_stream_is_ready_for_another_body_after_its_end():
    """Nothing of one body reaches the next but the count."""
    stream = ScrubStream(Forms.of([TOKEN]))
    assert stream.feed(TOKEN[:20]) + stream.finish() == TOKEN[:20]
    assert stream.feed(TOKEN[20:]) + stream.finish() == TOKEN[20:]
    assert stream.count == 0
    assert stream.feed(TOKEN) + stream.finish() + stream.feed(TOKEN) + stream.finish() == b"*" * 80
    assert stream.count == 2


def test_a_stream_shows_and_pickles_nothing():
    """A stream holds secret material: repr shows the count alone, pickling and copying are refused."""
    stream = ScrubStream(Forms.of([TOKEN]))
    stream.feed(TOKEN[:30])
    assert repr(stream) == "ScrubStream(count=0)"
    for leak in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            leak(stream)
    assert not hasattr(stream, "__dict__")


@pytest.mark.parametrize("secret", [b"a" * 40, b"a" * 4096, b"a" * 2000 + b"b" + b"a" * 2000 + b"c"])
@pytest.mark.parametrize("size", [64, 16384, 65536])
def test_a_hostile_stream_costs_linear_time(secret, size):
    """What the secret repeats, in small and large pieces, stays far from quadratic."""
    forms = Forms.of([secret])
    data = (secret[:-1] + b"a" * 97) * (2**18 // len(secret))
    stream = ScrubStream(forms)
    begun = time.process_time()
    sent = b"".join(stream.feed(data[at : at + size]) for at in range(0, len(data), size)) + stream.finish()
    assert time.process_time() - begun < 5
    assert (sent, stream.count) == forms.mask(data)
