"""Patterns: the bounds, what counts as counted repetition, and sets that never take a failure for no match."""

from __future__ import annotations

import random

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from re2 import _re2

from models.errors import PatternError
from models.patterns import (
    MAX_BYTES,
    MAX_PROGRAM,
    MAX_REPEAT,
    PatternSet,
    compile_pattern,
    compile_set,
    largest_count,
    subject,
)


def refusal(pattern: str) -> str:
    with pytest.raises(PatternError) as caught:
        compile_pattern(pattern, field="path.pattern")
    assert caught.value.field == "path.pattern"
    return caught.value.message


def bare(max_mem: int):
    """RE2's options with the given memory, otherwise as we compile, but written down here."""
    options = _re2.RE2.Options()
    options.max_mem, options.log_errors, options.dot_nl, options.never_capture = max_mem, False, True, True
    return options


# --- bounds


@pytest.mark.parametrize(
    ("pattern", "part"),
    [
        ("a" * (MAX_BYTES + 1), "more than 1024 bytes"),
        ("é" * (MAX_BYTES // 2 + 1), "more than 1024 bytes"),
        ("(", "missing )"),
        (r"(a)\1", "invalid escape"),
        ("(?=a)", "invalid"),
        ("a{1001}", "invalid repetition size"),
        ("\ud800", "not valid Unicode"),
        (f"a{{{MAX_REPEAT + 1}}}", "counted repetition 101 is over 100"),
        ("[ab]{101,}", "counted repetition 101 is over 100"),
        ("(?:ab){0,101}", "counted repetition 101 is over 100"),
        ("(?i)(a{2}){101}?", "counted repetition 101 is over 100"),
        ("(?:a{100}){11}", "invalid repetition size"),
        ("(?:(?:a{11}){10}){10}", "invalid repetition size"),
        (r"(?i)\pL{100}x", f"more than {MAX_PROGRAM} instructions"),
        (r"(?:\pL{10}){100}", "RE2 refuses it"),
    ],
)
def test_patterns_out_of_bounds_are_refused(pattern, part):
    """Too long, not RE2, or too large once counted repetition is written out; the error names the field."""
    assert part in refusal(pattern)


@pytest.mark.parametrize(
    "pattern",
    [
        "",
        "a" * MAX_BYTES,
        "é" * (MAX_BYTES // 2),
        f"a{{{MAX_REPEAT}}}",
        "a{0,100}",
        "a{100,}",
        "(?:a{100}){10}",
        r"^[\p{L}\p{N} _-]{1,64}$",
        "a\x00b",
    ],
)
def test_patterns_within_bounds_are_taken(pattern):
    """The bounds themselves are allowed."""
    assert compile_pattern(pattern).source == pattern.encode()


def test_a_bad_pattern_is_not_written_to_standard_error(capfd):
    """RE2 logs errors by itself unless told not to; user patterns belong in no log."""
    refusal("a(canary")
    assert "canary" not in capfd.readouterr().err


@pytest.mark.parametrize(
    ("pattern", "count"),
    [
        ("abc", 0),
        ("a{7}", 7),
        ("a{3,}", 3),
        ("a{3,9}b{5}", 9),
        ("a{7}?", 7),
        ("a{,900}", 0),
        ("a{900", 0),
        ("a{900 }", 0),
        ("a{0900}", 0),
        ("a{9999999999}", 0),
        (r"a\{900}", 0),
        (r"a\\{9}", 9),
        ("[a{900}]", 0),
        ("[]a{900}]", 0),
        ("[^]a{900}]", 0),
        (r"[\]{900}]", 0),
        ("[a]{9}", 9),
        ("[]]{9}", 9),
        ("[[:alpha:]{900}]", 0),
        ("[[:alpha:]]{9}", 9),
        ("[[:]{9}", 9),
        ("[A-[:alpha:]{9}]", 9),
        (r"[\d-[:alpha:]{900}]", 0),
        (r"[\pN]{9}", 9),
        (r"[\p{Greek}-]{9}", 9),
        (r"\p{Greek}{9}", 9),
        (r"\pN{9}", 9),
        (r"\x{900}", 0),
        (r"\x{41}{9}", 9),
        (r"[\x{41}-\x{5A}{900}]", 0),
        (r"\Qa{900}\E", 0),
        (r"\Qa{900}", 0),
        (r"\Q\\E{9}", 9),
        (r"\Qab\E{9}", 9),
        ("a\n{9}", 9),
    ],
)
def test_counted_repetition_is_found_as_re2_reads_it(pattern, count):
    """Braces in classes, escapes and quotations are literal; everything else that has RE2's form counts."""
    assert largest_count(pattern) == count
    assert _re2.RE2(pattern.encode(), bare(8 << 20)).ok()


_LITERALS = st.sampled_from([*"ab-,^]{}7:", "é", "{7}", "{7}", "{7}", "[:alpha:]"])
_ESCAPES = st.sampled_from(
    [r"\d", r"\p{Greek}", r"\PN", r"\x{7}", r"\x41", r"\]", r"\[", r"\\", r"\{", r"\-"]
)
_CLASSES = st.builds(
    "[{}{}]".format,
    st.sampled_from(["", "^", "]", "^]", "-"]),
    st.lists(_LITERALS | _ESCAPES | st.sampled_from(["[:", "[", ":]", "-["]), min_size=1, max_size=5).map(
        "".join
    ),
)
_QUOTES = st.builds(
    r"\Q{}{}".format, st.lists(_LITERALS | _ESCAPES, max_size=3).map("".join), st.sampled_from([r"\E", ""])
)
_PATTERNS = st.recursive(
    _LITERALS | _ESCAPES | _CLASSES | _QUOTES,
    lambda parts: st.lists(parts, max_size=4).map("".join) | parts.map("(?:{})".format),
    max_leaves=8,
)


@settings(max_examples=300)
@given(_PATTERNS, _PATTERNS)
@example("[A-[:alpha:]a", "]")
def test_counted_repetition_is_found_wherever_re2_finds_it(before, after):
    """RE2 refuses counts over 1,000, so it tells which braces it takes for a count; we must agree."""

    def with_count(count: int) -> str:
        return f"{before}{{{count}}}{after}"

    assume(_re2.RE2(with_count(9).encode(), bare(8 << 20)).ok())
    over = _re2.RE2(with_count(1001).encode(), bare(8 << 20))
    counted = not over.ok() and b"invalid repetition size: {1001}" in over.error()
    assert (largest_count(with_count(9)) == 9) is counted


# --- subjects


@given(st.binary())
def test_every_subject_is_valid_text_and_valid_text_is_left_alone(raw):
    """What is matched is UTF-8; only bytes that are not part of any character change."""
    text = subject(raw).decode()
    assert [ord(each) for each in text if each.isascii()] == [byte for byte in raw if byte < 0x80]
    assert text == raw.decode("utf-8", "replace") or "\ufffd" in raw.decode("utf-8", "replace")


@given(st.binary(), st.binary())
def test_a_dot_matches_every_character_of_any_subject(before, after):
    """No byte, valid or not, a line feed included, breaks `.*`."""
    raw = b"<" + before + b"secret" + after + b">"
    assert compile_pattern("^<.*secret.*>$").full(subject(raw))


@pytest.mark.parametrize("stray", [b"\xff", b"\xc3", b"\xe2\x82", b"\xed\xa0\x80", b"\xc0\xaf", b"\x80"])
def test_a_stray_byte_does_not_hide_the_characters_around_it(stray):
    """`é` is still `é` beside bytes that are no character."""
    assert compile_pattern("café").search(subject("un café".encode() + stray))
    assert compile_pattern("café$").search(subject(stray + b"x" + "un café".encode()))


def test_a_byte_of_latin_1_is_the_character_of_its_number():
    """So a pattern can name what a Latin-1 target would read."""
    assert compile_pattern("^café$").search(subject("café".encode("latin-1")))


@pytest.mark.parametrize(
    ("pattern", "raw", "found"),
    [
        ("a.b", b"a\nb", True),
        ("(?-s)a.b", b"a\nb", False),
        ("^b", b"a\nb", False),
        ("a$", b"a\n", False),
        ("(?m)^b", b"a\nb", True),
        ("A", b"a", False),
        ("(?i)A", b"a", True),
    ],
)
def test_flags_are_re2s_but_for_the_dot(pattern, raw, found):
    """`.` also matches a line feed; anchors are those of the whole text; the rest is by inline flags."""
    assert compile_pattern(pattern).search(raw) is found
    assert compile_set([pattern]).match(raw) == ([0] if found else [])


def test_full_takes_the_whole_text_whichever_alternative_comes_first():
    """A shorter alternative first does not hide the longer one."""
    pattern = compile_pattern("x-a|x-ab", ignore_case=True)
    assert pattern.full(b"x-ab")
    assert pattern.full(b"X-A")
    assert not pattern.full(b"x-abc")
    assert not pattern.full(b"ax-a")


# --- sets

_PIECES = ("", "a", "^a", "b$", "a.*b", "[^a]", "é", "(?i)B", r"\d{2,3}", "^$", "a|b", "\n", ".")


@given(
    st.lists(st.sampled_from(_PIECES), max_size=8),
    st.binary(max_size=12) | st.text("ab1é\n", max_size=12).map(str.encode),
)
def test_a_set_finds_what_its_patterns_find_alone(patterns, raw):
    """Same options, same answer, in ascending order, repeated patterns included."""
    text = subject(raw)
    alone = [index for index, pattern in enumerate(patterns) if compile_pattern(pattern).search(text)]
    assert compile_set(patterns).match(text) == alone


def test_a_bad_pattern_in_a_set_is_named():
    """By its own field, or by its place."""
    with pytest.raises(PatternError) as caught:
        compile_set(["a", "("], field="rules")
    assert caught.value.field == "rules[1]"
    with pytest.raises(PatternError) as caught:
        compile_set(["a", "("], field="rules", fields=["rules[x].path.pattern", "rules[y].path.pattern"])
    assert caught.value.field == "rules[y].path.pattern"


def test_a_thousand_fair_patterns_fit_in_one_set():
    """They exceed RE2's default of 8 MiB; the larger stated bound holds them."""
    patterns = [rf"^/v\d/(customers|orders){i}/[\w.-]{{1,64}}/items/[0-9a-f]{{32}}$" for i in range(1000)]
    with pytest.raises(PatternError):
        compile_set(patterns, memory=[8 << 20])
    assert compile_set(patterns).match(b"/v1/orders77/some.name/items/" + b"0f" * 16) == [77]


def test_patterns_that_are_too_much_together_are_refused():
    """Each is fine alone; the set does not compile, and asking it anything would end the process."""
    letters = random.Random(1)
    patterns = ["".join(letters.choices("abcdefgh", k=1000)) for _ in range(750)]
    with pytest.raises(PatternError, match="too large together") as caught:
        compile_set(patterns, field="rules")
    assert caught.value.field == "rules"


def exhausted() -> tuple[PatternSet, bytes]:
    """A set that compiled and whose automaton runs out of memory on a subject, by RE2's own account.

    3,000 patterns that match together make states of 12 kB each; a set compiles when its program leaves
    room for twenty states of ordinary size, so the least memory it compiles with does not hold two of these.
    """
    patterns = ["zz"] * 3000
    low, high = 1000, 1 << 20
    while high - low > 64:
        middle = (low + high) // 2
        try:
            compile_set(patterns, memory=[middle])
        except PatternError:
            low = middle
        else:
            high = middle
    return compile_set(patterns, memory=[high]), b"zz zz " * 10


def test_a_set_whose_automaton_gives_up_still_finds_every_match():
    """The scan says that nothing matched, not even the sentinel; the answer is the true one all the same."""
    patterns, text = exhausted()
    assert patterns.scan(text) == []
    assert patterns.match(text) == list(range(3000))


def test_a_set_that_gave_up_once_goes_on_answering():
    """A failed scan leaves neither the set nor its next answers wrong."""
    patterns, text = exhausted()
    for _ in range(3):
        assert patterns.match(text) == list(range(3000))
        assert patterns.match(b"a z") == []
