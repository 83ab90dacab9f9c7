"""Each dependency is declared, justified and locked: three lists that name the same packages."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import sys
import tomllib
from pathlib import Path

import pytest

ROW = re.compile(r"^\| `([A-Za-z0-9_.-]+)` \| (.+?) \| (.+?) \|$", re.MULTILINE)

HALVES = {"pydantic-core": "pydantic", "markupsafe": "jinja2", "protobuf": "opentelemetry-proto"}
"""Packages that are the other half of a dependency: it pins them, and its own values are theirs."""


ELSEWHERE = ("loadtests/workloads/inspect/", "loadtests/workloads/verifiers/")
"""What runs in virtual environments of its own, with requirements of its own beside it."""


def normal(name: str) -> str:
    """A package's name as PEP 503 compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.fixture(scope="module")
def declared(root: Path) -> set[str]:
    """The packages of pyproject.toml, those for development included."""
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    return {normal(re.split(r"[<>=!~\[; ]", line, maxsplit=1)[0]) for line in wanted}


def test_each_dependency_is_justified(root: Path, declared: set[str]) -> None:
    """CONTRIBUTING.md has one row for each dependency: what it is for, and what was considered instead."""
    rows = ROW.findall((root / "CONTRIBUTING.md").read_text())
    names = [normal(name) for name, _, _ in rows]
    assert set(names) == declared
    assert len(names) == len(set(names))


def test_each_import_is_declared(modules: dict[str, str], declared: set[str]) -> None:
    """What the source imports is a dependency of its own, not a gift of another one's."""
    ours = {*sys.stdlib_module_names, "chaos", "loadtests", "probes", "slo", "runbooks"}
    owners = importlib.metadata.packages_distributions()
    undeclared = {
        f"{path}: {name}"
        for path, text in modules.items()
        if not path.startswith(ELSEWHERE)
        for name in imported(ast.parse(text)) - ours
        if not {HALVES.get(o, o) for o in map(normal, owners.get(name, [name]))} & declared
    }
    assert undeclared == set()


def imported(tree: ast.Module) -> set[str]:
    """The top-level names of all imports, at whatever depth."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add((node.module or "").split(".")[0])
    return names


def test_each_dependency_is_locked_by_hash(root: Path, declared: set[str]) -> None:
    """requirements.lock pins every dependency, with hashes."""
    lock = (root / "requirements.lock").read_text()
    pinned = {
        normal(n) for n in re.findall(r"^([A-Za-z0-9_.-]+)==\S+.* \\\n +--hash=sha256:", lock, re.MULTILINE)
    }
    assert declared - pinned == set()
