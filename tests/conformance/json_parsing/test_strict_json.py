"""The strict parser against nst/JSONTestSuite (1ef36fa, MIT; see ORIGIN.md): every file, and what we do with each `i_`."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.errors import JsonRefused
from models.strict_json import dumps, loads

VECTORS = Path(__file__).parent / "vectors"

LEFT_OPEN = {
    # Any number of the grammar is read, and keeps its spelling.
    "number_double_huge_neg_exp": "read",
    "number_huge_exp": "read",
    "number_neg_int_huge_exp": "read",
    "number_pos_double_huge_exp": "read",
    "number_real_neg_overflow": "read",
    "number_real_pos_overflow": "read",
    "number_real_underflow": "read",
    "number_too_big_neg_int": "read",
    "number_too_big_pos_int": "read",
    "number_very_big_negative_int": "read",
    # Half a surrogate pair is no character.
    "object_key_lone_2nd_surrogate": "refused",
    "string_1st_surrogate_but_2nd_missing": "refused",
    "string_1st_valid_surrogate_2nd_invalid": "refused",
    "string_incomplete_surrogate_and_escape_valid": "refused",
    "string_incomplete_surrogate_pair": "refused",
    "string_incomplete_surrogates_escape_valid": "refused",
    "string_invalid_lonely_surrogate": "refused",
    "string_invalid_surrogate": "refused",
    "string_inverted_surrogates_U+1D11E": "refused",
    "string_lone_second_surrogate": "refused",
    # UTF-8 and nothing else, without a byte order mark.
    "string_UTF-16LE_with_BOM": "refused",
    "string_UTF-8_invalid_sequence": "refused",
    "string_UTF8_surrogate_U+D800": "refused",
    "string_invalid_utf-8": "refused",
    "string_iso_latin_1": "refused",
    "string_lone_utf8_continuation_byte": "refused",
    "string_not_in_unicode_range": "refused",
    "string_overlong_sequence_2_bytes": "refused",
    "string_overlong_sequence_6_bytes": "refused",
    "string_overlong_sequence_6_bytes_null": "refused",
    "string_truncated-utf-8": "refused",
    "string_utf16BE_no_BOM": "refused",
    "string_utf16LE_no_BOM": "refused",
    "structure_UTF-8_BOM_empty_object": "refused",
    # At most 128 levels.
    "structure_500_nested_arrays": "refused",
}

TWICE = {"y_object_duplicated_key", "y_object_duplicated_key_and_value"}
"""The grammar allows a name twice (RFC 8259 section 4: "SHOULD be unique"); we do not, as DESIGN asks."""


def expected(name: str) -> str:
    if name in TWICE or name.startswith("n_"):
        return "refused"
    return "read" if name.startswith("y_") else LEFT_OPEN[name.removeprefix("i_")]


@pytest.mark.parametrize("name", sorted(path.stem for path in VECTORS.glob("*.json")))
def test_every_vector_is_read_or_refused_as_stated(name: str) -> None:
    """What is read can be written, and is then read as the same."""
    raw = (VECTORS / f"{name}.json").read_bytes()
    try:
        value = loads(raw)
    except JsonRefused:
        got = "refused"
    else:
        got = "read"
        assert str(loads(dumps(value))) == str(value)
    assert got == expected(name)


def test_every_open_case_is_decided() -> None:
    """Each `i_` has its line, and each line its file; and all vectors are here."""
    names = {path.stem for path in VECTORS.glob("*.json")}
    assert {name for name in names if name.startswith("i_")} == {f"i_{name}" for name in LEFT_OPEN}
    assert names >= TWICE
    assert len(names) == 318
