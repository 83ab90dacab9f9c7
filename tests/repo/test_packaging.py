"""The wheel holds everything that an installed Brownout reads."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

PACKAGES = ("chaos", "loadtests", "probes", "slo", "runbooks")


@pytest.fixture(scope="module")
def wheel(root: Path, tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The names in a wheel that is built from this tree."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = folder.glob("*.whl")
    return set(zipfile.ZipFile(built).namelist())


def test_the_wheel_is_complete(root: Path, wheel: set[str]) -> None:
    """Every module, YAML document, template and runbook of the packages is in the wheel."""
    wanted = {
        str(path.relative_to(root))
        for package in PACKAGES
        for path in (root / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc"
    }
    assert wanted - wheel == set()


def test_the_wheel_has_nothing_else(wheel: set[str]) -> None:
    """Tests, caches and runs are not shipped."""
    strangers = {n for n in wheel if n.split("/")[0] not in PACKAGES and ".dist-info/" not in n}
    assert strangers == set()
    assert not any("__pycache__" in name for name in wheel)
