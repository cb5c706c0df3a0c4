"""The shape of the tree: tests mirror sources, modules stay small, everything says what it is for.

Each exception is listed here with its reason; a list that names what is no longer there fails as well.
"""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("models", "store", "actors", "control_api", "proxy_edge", "sdk", "scripts")
LONGEST_MODULE = 400

LONG_FOR_A_REASON: dict[str, str] = {
    "models/errors.py": "every failure in one tree, so that a reader looks in one place",
    "tests/store/test_interface.py": "the contract of the store's interface, which every adapter passes as a whole",
}
"""Modules over 400 lines, and why they are one module."""

TESTED_ELSEWHERE = {
    "actors/calling.py": "tests/cluster/test_actors.py makes every call through it",
    "actors/cluster.py": "tests/cluster/test_guardian.py, and the driver of every test of the cluster",
    "actors/factory.py": "tests/cluster/test_actors.py makes, replaces and ends real actors with it",
    "actors/guardian.py": "tests/cluster/test_guardian.py runs it as a program",
    "actors/remote.py": "tests/cluster/test_actors.py makes an actor of each of its classes",
    "actors/shells.py": "tests/cluster/test_actors.py runs them as actors",
    "proxy_edge/fork.py": "tests/proxy_edge/test_supervisor.py runs it with real forks",
    "proxy_edge/sequence.py": "tests/proxy_edge/test_exchange.py and every test of the running edge",
    "proxy_edge/tasks.py": "its one function is used by every test of the running edge",
    "scripts/first_run/upstream.py": "tests/scripts/test_cli.py runs it as a program",
}
"""Modules without a test module of their own, and where they are tested."""

SUBJECTS = ("tests/cluster", "tests/conformance", "tests/e2e", "tests/invariants")
"""Folders of tests named for a subject instead of a source module."""


def modules() -> list[str]:
    """Every source module that is not only a package or its entry, as a path from the root."""
    return sorted(
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        if path.name not in {"__init__.py", "__main__.py"}
    )


def all_files() -> list[str]:
    """Every Python file of ours."""
    return sorted(
        str(path.relative_to(ROOT))
        for folder in (*PACKAGES, "tests")
        for path in (ROOT / folder).rglob("*.py")
    )


def checks() -> list[str]:
    """Every test module."""
    return [file for file in all_files() if Path(file).name.startswith("test_")]


@cache
def tree(path: Path) -> ast.Module:
    """A file, parsed."""
    return ast.parse(path.read_text(), str(path))


def uses(check: Path, package: str, stem: str) -> bool:
    """Whether a test module imports `package.stem`."""
    pattern = (
        rf"from {package}\.{stem} import|import {package}\.{stem}\b"
        rf"|from {package} import (\([^)]*|[^(\n]*)\b{stem}\b"
    )
    return re.search(pattern, check.read_text()) is not None


def has_checks(source: str) -> bool:
    """Whether the mirror image of a module's folder tests it: by a test module of its name, or one that imports it."""
    path = Path(source)
    folder = ROOT / "tests" / path.parent
    if (folder / f"test_{path.stem}.py").is_file():
        return True
    return any(uses(check, ".".join(path.parent.parts), path.stem) for check in folder.rglob("test_*.py"))


def test_every_module_has_tests() -> None:
    """A source module is tested in the mirror image of its folder, or states where else."""
    bare = [source for source in modules() if not has_checks(source) and source not in TESTED_ELSEWHERE]
    assert not bare, "\n".join(bare)


def test_every_test_module_mirrors_a_source() -> None:
    """It stands in the mirror image of a folder, and is named for a module there or imports from there."""
    stray = []
    for file in checks():
        path = Path(file)
        if path.parent == Path("tests") or file.startswith(SUBJECTS):
            continue
        folder = Path(*path.parent.parts[1:])
        named = (ROOT / folder / f"{path.stem.removeprefix('test_')}.py").is_file()
        package = re.escape(".".join(folder.parts))
        if not named and not re.search(
            rf"^(from|import) {package}\b", (ROOT / file).read_text(), re.MULTILINE
        ):
            stray.append(file)
    assert not stray, "\n".join(stray)


def test_lists_of_exceptions_name_what_exists() -> None:
    """An exception for a module that has gone, or that no longer needs it, is taken off its list."""
    assert [
        source for source in TESTED_ELSEWHERE if not (ROOT / source).is_file() or has_checks(source)
    ] == []
    assert [source for source in LONG_FOR_A_REASON if length(source) <= LONGEST_MODULE] == []


def length(source: str) -> int:
    """Lines of a file, 0 when there is none."""
    path = ROOT / source
    return len(path.read_text().splitlines()) if path.is_file() else 0


def test_modules_stay_small() -> None:
    """No module, and no module of tests, has over 400 lines without a stated reason."""
    long = {file: length(file) for file in all_files() if length(file) > LONGEST_MODULE}
    assert {file: lines for file, lines in long.items() if file not in LONG_FOR_A_REASON} == {}


def test_modules_say_what_they_are_for() -> None:
    """Every module opens with a docstring."""
    silent = [file for file in all_files() if not ast.get_docstring(tree(ROOT / file))]
    assert not silent, "\n".join(silent)


def test_tests_say_what_they_hold() -> None:
    """Every test function opens with a sentence."""
    silent = [
        f"{file}:{node.lineno}: {node.name}"
        for file in checks()
        for node in ast.walk(tree(ROOT / file))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
        and not ast.get_docstring(node)
    ]
    assert not silent, "\n".join(silent)


def test_tests_do_not_sleep() -> None:
    """A test waits for a condition: it may nap inside a `while` that asks for one, and nowhere else."""
    naps = []
    for file in checks():
        nodes = list(ast.walk(tree(ROOT / file)))
        asked = {id(inner) for node in nodes if isinstance(node, ast.While) for inner in ast.walk(node)}
        naps += [
            f"{file}:{node.lineno}: {ast.unparse(node)}"
            for node in nodes
            if isinstance(node, ast.Call)
            and ast.unparse(node.func) in {"time.sleep", "asyncio.sleep", "sleep"}
            and id(node) not in asked
            and ast.unparse(node.args[0]) != "0"  # lets others run, takes no time
        ]
    assert not naps, "\n".join(naps)
