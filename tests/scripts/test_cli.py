"""The command line as an operator meets it: real programs, their output, their exit status."""

from __future__ import annotations

import os
import random
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
    """Of every program, one line each, with the value in force; the one that is a secret is masked."""
    done = run("settings", workers="4", demo_target_token="canary-77aa")
    lines = done.stdout.splitlines()
    assert (done.returncode, done.stderr) == (0, "")
    start = lines.index("# exeat edge") + 1
    names = [f"EXEAT_{name.upper()}" for name in EdgeSettings.model_fields]
    assert [line.split()[0] for line in lines[start : start + len(names)]] == names
    workers = [line.split()[1:3] for line in lines if line.startswith("EXEAT_WORKERS ")]
    assert workers == [["4", "1"], ["4", "1"], ["4", "0"]]  # of `up`, of `edge` and of its link
    assert [line[2:] for line in lines if line.startswith("# exeat ")] == [
        *("exeat up, down, status, token", "exeat control", "exeat edge", "exeat actors"),
        "exeat eval-pii",
        "exeat demo-upstream",
    ]
    assert "EXEAT_DEMO_TARGET_TOKEN" in done.stdout
    assert "canary" not in done.stdout


def test_a_reader_that_has_enough_is_no_error(start: Callable[..., subprocess.Popen[str]]) -> None:
    """`exeat settings | head`: no traceback."""
    program = start("settings")
    assert program.stdout is not None
    assert program.stderr is not None
    program.stdout.close()
    assert program.stderr.read() == ""
    assert program.wait(20.0) == 141


@pytest.mark.parametrize(
    "arguments", [[], ["join"], ["token"], ["edge", "--nonsense"], ["demo-upstream", "--port", "x"]]
)
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
        (
            ["edge"],
            {},
            "EXEAT_REGION: give the region to serve with --region, or a policy file with --policy",
        ),
        (["edge", "--policy", "none.yaml"], {}, "EXEAT_POLICY: there is no file none.yaml"),
        (["edge", "--workers", "two"], {}, "EXEAT_WORKERS: must be a whole number"),
        (["settings"], {"port": "http"}, "EXEAT_PORT: must be a whole number"),
        (["control", "--port", "http"], {}, "EXEAT_PORT: must be a whole number"),
        (["actors", "--region", "us", "--ray-address", "x"], {}, "EXEAT_RAY_ADDRESS: must be host:port"),
        (["up", "--regions", "us,us"], {}, "EXEAT_REGIONS: names a region twice"),
        (
            ["up", "--regions", "US"],
            {},
            "EXEAT_REGIONS: US is not a region's name: lower-case letters, digits and hyphens",
        ),
        (["up"], {"port_base": "65534"}, "EXEAT_PORT_BASE: leaves no room for an edge on 65536"),
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


def test_commands_on_a_home_in_which_nothing_runs(
    run: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    """Nothing to stop is fine; there are no parts; and no token to reset. No home is made by asking."""
    home = tmp_path / "home"
    assert run("down").stdout == f"nothing runs in {home}\n"
    assert run("down").returncode == 0
    assert run("status").stdout == f"nothing was ever started in {home}\n"
    assert run("status", "--json").stdout == "[]\n"
    done = run("token", "reset")
    assert done.returncode == 78
    assert done.stderr == f"exeat: EXEAT_HOME: {home} has no control store; `exeat up` makes one\n"
    assert not home.exists()


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
        known = client.get("/customers/7")
        assert (known.json()["id"], known.json()["customer"]["name"]) == (7, "Margaret Hamilton")
        assert client.get("/customers/7", headers={"authorization": "Bearer other"}).status_code == 401
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


def test_up_does_not_pretend_to_serve_tls(run, tmp_path: Path) -> None:
    """A certificate meant for parts that run alone is refused by name, before anything starts."""
    done = run("up", "--home", str(tmp_path / "home"), tls_certificate="/nowhere.pem")

    assert (done.returncode, "EXEAT_TLS_CERTIFICATE" in done.stderr) == (78, True)
