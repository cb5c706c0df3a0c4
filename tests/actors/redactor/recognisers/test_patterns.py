"""Patterns with our own classes of letters, and words of any script."""

from __future__ import annotations

from actors.redactor.recognisers.patterns import Pattern, coarse, whole
from actors.redactor.recognisers.words import FULL_NAME, without_possessive


def test_classes_are_coarser_inside_and_outside_of_brackets() -> None:
    """And what only looks like one, in an escape, is left alone."""
    assert coarse(r"\p{N}[\p{N}x]\\p{N}") == r"[0-9][0-9x]\\p{N}"


def test_names_of_any_script_match() -> None:
    """Also those whose letters take two bytes or more; positions are code points."""
    pattern = Pattern(FULL_NAME)
    for text in ("Žofie Říhová", "Ångström", "Ольга Крылова", "Λάμπρος", "Nguyễn Ánh", "Jean-Luc O'Neill"):
        (match,) = pattern.matches(f"😀 {text} é")
        assert match.span() == (2, 2 + len(text))
        assert match.group() == text


def test_groups_have_names() -> None:
    """One that takes no part is empty and nowhere."""
    match = Pattern("(?P<a>x)(?P<b>y)?").first("x")
    assert match is not None
    assert (match.group("a"), match.group("b"), match.span("b")) == ("x", "", (-1, -1))
    assert Pattern("z").first("x") is None


def test_parts_of_words_are_not_whole() -> None:
    """Letters and digits of any script make words; signs do not."""
    assert whole("(é12)", 1, 4)
    assert not whole("é12", 1, 3)
    assert not whole("12é", 0, 2)
    assert not whole("12", 1, 1)
    assert whole("+12", 0, 3)


def test_a_possessive_is_no_part_of_a_name() -> None:
    """Neither form of it."""
    for text in ("Ann's", "Ann\u2019s", "Ann'", "Ann"):
        assert text[: without_possessive(text, 0, len(text))] == "Ann"
