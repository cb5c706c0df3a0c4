"""What the first run writes and prints; that it runs is shown in tests/scripts/test_cli.py."""

from __future__ import annotations

import shlex
from pathlib import Path

from scripts.first_run.run import invitation, own_policy


def test_sample_policy_is_copied_with_the_upstreams_address(tmp_path: Path) -> None:
    """The copy names the port of this run, and nothing else changes."""
    sample = own_policy(tmp_path, "127.0.0.1:7790").read_text()
    assert sample.count("127.0.0.1:7790") == 1
    assert own_policy(tmp_path, "127.0.0.1:9090").read_text() == sample.replace(":7790", ":9090")


def test_edited_policy_is_kept(tmp_path: Path) -> None:
    """What the operator wrote survives a restart."""
    path = own_policy(tmp_path, "127.0.0.1:7790")
    path.write_text(path.read_text() + "# mine\n")
    assert own_policy(tmp_path, "127.0.0.1:7790").read_text().endswith("# mine\n")


def test_printed_command_is_one_shell_line(tmp_path: Path) -> None:
    """It can be pasted as it stands: three words after `curl -s`, key and URL among them."""
    text = invitation("http://127.0.0.1:7701", "key-of-the-caller", tmp_path / "policy.yaml", tmp_path)
    [line] = [line for line in text.splitlines() if line.strip().startswith("curl")]
    assert shlex.split(line) == [
        *("curl", "-s", "-H", "Authorization: Bearer key-of-the-caller"),
        "http://127.0.0.1:7701/api/demo/hello",
    ]
