"""Tails: the longest suffix that begins a form, exactly, for any content and at linear cost."""

from __future__ import annotations

import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proxy_edge.scrub import tails as module
from proxy_edge.scrub.tails import Tails, borders


def reference(forms: tuple[bytes, ...], data: bytes) -> int:
    """The definition: the longest suffix that is a proper prefix of a form."""
    sizes = range(max(map(len, forms), default=0), 0, -1)
    return next(
        (n for n in sizes if n <= len(data) and any(len(f) > n and f.startswith(data[-n:]) for f in forms)), 0
    )


def test_every_prefix_of_a_form_is_held_and_nothing_else():
    """From one byte to all but one; the complete form and foreign text are not held."""
    forms = (b"0123456789abcdef", b"ABCDEFGH")
    tails = Tails(forms)
    for form in forms:
        for size in range(1, len(form)):
            assert tails.longest(form[:size]) == size
            assert tails.longest(b"--" + form[:size]) == size
            assert tails.longest(form[:size] + b"-") == 0
        assert tails.longest(form) == 0
    assert tails.longest(b"") == 0
    assert Tails(()).longest(b"anything") == 0


@given(st.lists(st.text("ab", min_size=8, max_size=30), min_size=1, max_size=4), st.text("ab", max_size=60))
def test_any_tail_of_forms_that_repeat_themselves_is_exact(words, text):
    """Two letters make many candidates: the longest wins."""
    forms = tuple(dict.fromkeys(word.encode() for word in words))
    tails = Tails(forms)
    for data in (text.encode(), text.encode() + forms[0][:-1], forms[-1][:12] + forms[0]):
        assert tails.longest(data) == reference(forms, data)


@example(0, ["bbabaaaa", "baabbbabaa"], "aaaab")
@given(
    st.integers(0, 4),
    st.lists(st.text("ab", min_size=8, max_size=60), min_size=1, max_size=3),
    st.text("ab", max_size=80),
)
def test_the_linear_scan_agrees_with_the_comparisons(tries, words, text):
    """Where the candidates run out of tries the answer stays the same."""
    forms, before = tuple(word.encode() for word in words), module._TRIES
    module._TRIES = tries
    try:
        data = text.encode() + forms[0][: len(text)]
        assert Tails(forms).longest(data) == reference(forms, data)
    finally:
        module._TRIES = before


@pytest.mark.parametrize("tries", [0, 3, 100])
def test_every_candidate_of_a_form_that_repeats_itself_is_looked_at(tries, monkeypatch):
    """The end of the data fits the form at many places; the right one may be any of them."""
    monkeypatch.setattr(module, "_TRIES", tries)
    forms = (b"b" + b"a" * 20, b"a" * 30 + b"c", b"a" * 12 + b"b" + b"a" * 12 + b"c")
    tails = Tails(forms)
    for size in range(31):
        for before in (b"c", b"b", b"ab", b"a" * 12 + b"b", b"ca" + b"a" * 12 + b"b"):
            data = before + b"a" * size
            assert tails.longest(data) == reference(forms, data)


@given(st.text("ab", min_size=1, max_size=40))
def test_borders_are_those_of_the_definition(word):
    """Each entry is the longest proper border of that prefix."""
    form = word.encode()
    for size, border in enumerate(borders(form), 1):
        prefix = form[:size]
        assert border == next(n for n in range(size - 1, -1, -1) if prefix.endswith(prefix[:n]))


@pytest.mark.parametrize("period", [1, 8, 32])
def test_a_hostile_tail_costs_linear_time(period):
    """A form of 48 kB that repeats itself, against the same with faults: well under a second each."""
    unit = bytes(range(97, 97 + period))
    block = (unit * 16384)[:16384]
    form = block + b"!" + block + b"?" + block
    tails = Tails((form,))
    begun = time.process_time()
    assert tails.longest(form[:-1]) == len(form) - 1
    for data in (block * 3, block + b"?" + block + b"?" + block, block + b"!" + block[:12288] * 2):
        assert tails.longest(data) == len(block)
    assert time.process_time() - begun < 1
