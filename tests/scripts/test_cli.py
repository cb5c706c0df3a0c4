"""The command line as an operator meets it: real programs, their output, their exit status."""

from __future__ import annotations

import os
import random
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from proxy_edge.settings import EdgeSettings

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = [sys.executable, "-m", "scripts.cli"]


def environment(home: Path, **settings: str) -> dict[str, str]:
    """Nothing of whoever runs the tests but the search path."""
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "EXEAT_HOME": str(home),
        **{f"EXEAT_{name.upper()}": value for name, value in settings.items()},
    }


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs `exeat` with arguments to its end."""

    def runner(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*PROGRAM, *arguments],
            env=environment(tmp_path / "home", **settings),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60.0,
            check=False,
        )

    return runner


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts `exeat` with arguments; whatever still runs at the end is stopped."""
    with ExitStack() as programs:

        def starter(*arguments: str, **settings: str) -> subprocess.Popen[str]:
            program = subprocess.Popen(
                [*PROGRAM, *arguments],
                env=environment(tmp_path / "home", **settings),
                cwd=tmp_path,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
            programs.callback(program.communicate)
            programs.callback(program.terminate)
            return program

        yield starter


def read_until(program: subprocess.Popen[str], text: str) -> str:
    """Its output up to the line that holds `text`; fails with its errors when it ends before."""
    assert program.stdout is not None
    said = ""
    for line in program.stdout:
        said += line
        if text in line:
            return said
    pytest.fail(f"ended with {program.wait()} after {said!r}: {program.communicate()[1]}")


def wait_until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    """Returns once `condition` holds; fails after `seconds`."""
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        pause.wait(0.01)


def is_open(port: int) -> bool:
    """Whether something listens on `port`."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def free_port_base() -> int:
    """A port base whose edge and demo upstream find their ports free."""
    while True:
        base = random.randrange(20_000, 32_000, 100)
        if not is_open(base + 1) and not is_open(base + 90):
            return base


def test_settings_lists_all_of_them(run: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    """One line each, with the value in force; the one that is a secret is masked."""
    done = run("settings", workers="4", demo_target_token="canary-77aa")
    lines = done.stdout.splitlines()
    assert done.returncode == 0
    names = [*EdgeSettings.model_fields, "demo_target_token"]
    assert [line.split()[0] for line in lines[1:]] == [f"EXEAT_{name.upper()}" for name in names]
    assert [line.split()[1:3] for line in lines if line.startswith("EXEAT_WORKERS")] == [["4", "1"]]
    assert "canary" not in done.stdout


@pytest.mark.parametrize("arguments", [[], ["up"], ["edge", "--nonsense"], ["demo-upstream", "--port", "x"]])
def test_wrong_arguments_end_with_2(
    run: Callable[..., subprocess.CompletedProcess[str]], arguments: list[str]
) -> None:
    """Usage on stderr, as every command line does; commands of later issues are not there."""
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("usage: exeat")


@pytest.mark.parametrize(
    ("arguments", "settings", "message"),
    [
        (["edge"], {}, "EXEAT_POLICY: give a policy file with --policy"),
        (["edge", "--policy", "none.yaml"], {}, "EXEAT_POLICY: there is no file none.yaml"),
        (["edge", "--workers", "two"], {}, "EXEAT_WORKERS: must be a whole number"),
        (["settings"], {"port": "http"}, "EXEAT_PORT: must be a whole number"),
        (
            ["first-run"],
            {"port_base": "65500"},
            "EXEAT_PORT_BASE: leaves no room for the demo upstream on 65590",
        ),
        (
            ["demo-upstream", "--port", "70000"],
            {},
            "--port: 127.0.0.1:70000 cannot be listened on: no such port",
        ),
    ],
)
def test_operators_mistake_is_one_line(
    run: Callable[..., subprocess.CompletedProcess[str]],
    arguments: list[str],
    settings: dict[str, str],
    message: str,
) -> None:
    """Status 78, the setting's name, what is wrong, no traceback."""
    done = run(*arguments, **settings)
    assert (done.returncode, done.stdout, done.stderr) == (78, "", f"exeat: {message}\n")


def test_policy_error_names_file_line_and_field(
    run: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    """Said once although two workers would meet it; nothing is left listening."""
    (tmp_path / "policy.yaml").write_text("version: 1\nclients:\n  - clientId: c\n    clientNam: x\n")
    base = free_port_base()
    done = run("edge", "--policy", "policy.yaml", "--workers", "2", port_base=str(base), log_stderr="false")
    assert done.returncode == 78
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    lines = done.stderr.splitlines()
    assert all(line.startswith("exeat: policy.yaml:") for line in lines)
    assert (
        len([line for line in lines if line.startswith("exeat: policy.yaml:4: clients[0].clientNam: ")]) == 1
    )
    assert not is_open(base + 1)


def test_demo_upstream_shows_that_a_credential_came_and_not_which(
    start: Callable[..., subprocess.Popen[str]],
) -> None:
    """The echo, the slow answer and the stream, over one real connection."""
    upstream = start("demo-upstream", "--port", "0", demo_target_token="canary-51f0")
    url = read_until(upstream, "demo upstream ready").split()[-1]
    with httpx.Client(base_url=url, headers={"authorization": "Bearer canary-51f0"}) as client:
        answer = client.post("/any/path?x=1", json={"a": 1})
        assert answer.json()["method"] == "POST"
        assert (answer.json()["path"], answer.json()["query"]) == ("/any/path", "x=1")
        assert answer.json()["authorization"] == "Bearer ****"
        assert answer.json()["authenticated"] is True
        assert client.get("/", headers={"authorization": "Bearer other"}).json()["authenticated"] is False
        assert answer.json()["body"] == '{"a":1}'
        assert "canary" not in answer.text
        assert client.get("/slow?seconds=0").status_code == 200
        assert client.head("/").headers["content-length"]
        events = client.get("/stream?events=3&interval=0")
        assert events.headers["content-type"].startswith("text/event-stream")
        assert events.text.count("data: ") == 3
    upstream.terminate()
    assert upstream.wait(10.0) == 0


def test_demo_upstream_says_when_its_port_is_taken(
    run: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    """Address and option in one line."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = run("demo-upstream", "--port", str(port))
    assert done.returncode == 78
    assert done.stderr == f"exeat: --port: 127.0.0.1:{port} cannot be listened on: Address already in use\n"


def test_first_run_serves_the_printed_call_and_stops_all(start: Callable[..., subprocess.Popen[str]]) -> None:
    """The pasted command gets the demo upstream's answer, without the caller's key; Ctrl-C leaves nothing."""
    base = free_port_base()
    program = start("first-run", "--port-base", str(base), "--workers", "2")
    said = read_until(program, "curl ")
    words = shlex.split(said.splitlines()[-1])
    name, _, value = words[3].partition(": ")
    answer = httpx.get(words[4], headers={name: value})
    assert answer.status_code == 200, answer.text
    assert answer.headers["exeat-proxy-code"] == "proxy-access-granted"
    assert answer.json()["authenticated"] is True
    assert value.removeprefix("Bearer ") not in answer.text
    assert httpx.get(words[4]).status_code == 401
    program.send_signal(signal.SIGINT)
    assert program.wait(30.0) == 0
    assert not is_open(base + 1)
    assert not is_open(base + 90)


def test_first_run_that_is_killed_takes_its_parts_along(start: Callable[..., subprocess.Popen[str]]) -> None:
    """Kill -9 of the program that started them: edge, workers and upstream end."""
    base = free_port_base()
    program = start("first-run", "--port-base", str(base))
    read_until(program, "curl ")
    program.kill()
    wait_until(lambda: not is_open(base + 1) and not is_open(base + 90))


def test_first_run_passes_on_why_a_part_cannot_start(
    run: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    """A taken port of the edge: its own line on stderr, its status, and the upstream is stopped again."""
    base = free_port_base()
    with socket.create_server(("127.0.0.1", base + 1)):
        done = run("first-run", "--port-base", str(base))
    assert done.returncode == 78
    assert f"exeat: EXEAT_PORT_BASE: 127.0.0.1:{base + 1} is already in use" in done.stderr
    assert "Traceback" not in done.stderr
    assert not is_open(base + 90)
