"""The Makefile, .ci/run and what they call agree with each other and with the documents."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest


def test_ci_runs_the_readmes_test_command(root: Path) -> None:
    """CI runs the very command that the README tells a newcomer to run."""
    assert re.search(r"^\s*make test\b", (root / ".ci" / "run").read_text(), re.MULTILINE)
    assert "make test" in (root / "README.md").read_text()


def test_ci_runs_every_check(root: Path) -> None:
    """What `make check` runs, .ci/run runs too."""
    checks = re.search(r"^check: ([a-z ]+)", (root / "Makefile").read_text(), re.MULTILINE)
    assert checks is not None
    ci = (root / ".ci" / "run").read_text()
    assert [c for c in checks[1].split() if f"make {c}" not in ci] == []


@pytest.mark.parametrize("script", [".ci/run", ".ci/venv", ".ci/toxiproxy"])
def test_scripts_parse_and_may_be_run(root: Path, script: str) -> None:
    """Each script is executable and its shell can read it."""
    path = root / script
    assert path.stat().st_mode & 0o111
    shell = path.read_text().splitlines()[0].split("/")[-1].split()[-1]
    subprocess.run([shell, "-n", str(path)], check=True)


def test_help_lists_every_target(root: Path) -> None:
    """`make help` leaves no target out."""
    makefile = (root / "Makefile").read_text()
    phony = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    assert phony is not None
    done = subprocess.run(["make", "help"], cwd=root, capture_output=True, text=True, check=True)
    assert set(re.findall(r"^  make ([\w-]+)", done.stdout, re.MULTILINE)) == set(phony[1].split())


def test_a_wrong_python_is_refused_with_a_remedy(root: Path, tmp_path: Path) -> None:
    """Without a Python that suits, set-up ends before it touches anything, and says what to do."""
    (tmp_path / ".ci").mkdir()
    script = tmp_path / ".ci" / "venv"
    script.write_text((root / ".ci" / "venv").read_text())
    environ = {"PYTHON": "false", "PATH": "/usr/bin:/bin"}
    done = subprocess.run(["sh", str(script)], env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "needs Python 3.11, 3.12 or 3.13" in done.stderr
    assert "hint: " in done.stderr
    assert not (tmp_path / ".venv").exists()


def test_one_toxiproxy_version(root: Path) -> None:
    """`make tools` builds the version that docker-compose.yml runs."""
    built = re.search(r"^version=(\S+)", (root / ".ci" / "toxiproxy").read_text(), re.MULTILINE)
    image = re.search(r"shopify/toxiproxy:(\S+)", (root / "docker-compose.yml").read_text())
    assert built is not None and image is not None
    assert built[1] == image[1] == "2.12.0"
