"""Every file in `bad/` is refused with exactly the errors its own first lines expect.

A line `# expect: LINE | FIELD | MESSAGE` stands for one error; `expect-start` for one whose message begins so.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy_edge.policy_file import PolicyFileErrors, load_policy_file

BAD = sorted((Path(__file__).parent / "bad").glob("*.yaml"))
ENVIRONMENT = {
    "CALLER_KEY": "c4n4ry-caller-0123456789",
    "TARGET_TOKEN": "c4n4ry-target-0123456789",
    "EMPTY_KEY": "",
    "SHORT_KEY": "c4n4ry-short",
    "TINY_TOKEN": "c4n4ry",
    "BLANK_END": "c4n4ry-0123456789 ",
    "LINE_FEED": "c4n4ry-01234\n56789",
    "NOT_UTF8": "c4n4ry-01234\udcff56789",
    "VERY_LONG": "c4n4ry" * 2000,
}


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_a_bad_file_is_refused_with_all_its_errors(path):
    """Each error names file, line and field, none is missing, none is more, and no secret is in any text."""
    expected = [line[2:] for line in path.read_text().splitlines() if line.startswith("# expect")]
    with pytest.raises(PolicyFileErrors) as caught:
        load_policy_file(path, ENVIRONMENT)
    found = [f"{error.line} | {error.field} | {error.message}" for error in caught.value.errors]
    unmet = [one for one in expected if not any(_meets(error, one) for error in found)]
    assert expected
    assert not unmet, found
    assert len(found) == len(expected), found
    assert {error.file for error in caught.value.errors} == {str(path)}
    assert all(str(error) in str(caught.value) for error in caught.value.errors)
    assert str(path.parent) in str(caught.value)
    chain, texts = caught.value, []
    while chain is not None:
        texts += [str(chain), repr(chain), repr(getattr(chain, "args", ""))]
        chain = chain.__cause__ or (None if chain.__suppress_context__ else chain.__context__)
    assert not [text for text in texts if "c4n4ry" in text]


def _meets(error, expectation):
    kind, _, rest = expectation.partition(": ")
    return error == rest if kind == "expect" else error.startswith(rest.rstrip())
