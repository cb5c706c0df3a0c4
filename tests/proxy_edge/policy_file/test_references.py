"""Secret references, each form by itself."""

from __future__ import annotations

import pytest

from models.errors import ConfigurationError
from models.secret import Secret
from proxy_edge.policy_file.references import SecretReader

CANARY = "c4n4ry-0123456789"


def test_a_variable_is_read_from_the_mapping_given(tmp_path, monkeypatch):
    """The process's own environment is never looked at."""
    monkeypatch.setenv("EXEAT_OTHER", CANARY)
    read = SecretReader(tmp_path, {"EXEAT_KEY": CANARY})
    assert read({"env": "EXEAT_KEY"}) == (Secret(CANARY), "")
    with pytest.raises(ConfigurationError, match="EXEAT_OTHER is not set"):
        read({"env": "EXEAT_OTHER"})


def test_a_file_is_read_once_named_by_each_reference(tmp_path):
    """Two references to one file give one source, and an absolute path stands for itself."""
    file = tmp_path / "key"
    file.write_text(CANARY)
    file.chmod(0o600)
    read = SecretReader(tmp_path, {})
    assert read({"file": "key"}) == read({"file": str(file)}) == (Secret(CANARY), "")
    assert read.sources == [file]
    assert CANARY not in "".join(read.stamps)


@pytest.mark.parametrize(
    "reference",
    [CANARY, None, 5, [CANARY], {}, {CANARY: 1}, {"env": CANARY}, {"env": [CANARY]}, {"file": CANARY},
     {"file": 5}, {"file": "a\0" + CANARY}, {"file": CANARY * 1000}, {"file": "\udcff" + CANARY},
     {"env": "A", "file": CANARY}, {"env": "C4N4RY"}],
)  # fmt: skip
def test_a_bad_reference_is_refused_without_echo(tmp_path, reference):
    """Whatever was written, the message says what to write instead, not what it found."""
    with pytest.raises(ConfigurationError) as caught:
        SecretReader(tmp_path, {})(reference)
    assert "c4n4ry" not in str(caught.value).lower()
