"""Each dependency is declared, justified and locked: three lists that name the same packages."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROW = re.compile(r"^\| `([A-Za-z0-9_.-]+)` \| (.+?) \| (.+?) \|$", re.MULTILINE)


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


def test_each_dependency_is_locked_by_hash(root: Path, declared: set[str]) -> None:
    """requirements.lock pins every dependency, with hashes."""
    lock = (root / "requirements.lock").read_text()
    pinned = {normal(n) for n in re.findall(r"^([A-Za-z0-9_.-]+)==\S+.* \\\n +--hash=sha256:", lock, re.MULTILINE)}
    assert declared - pinned == set()
