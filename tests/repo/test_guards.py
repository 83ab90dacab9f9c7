"""The guards of tests/conftest.py themselves: each is shown a small suite that they have to catch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

LEAKS_AN_ORPHAN = """
import subprocess, sys
def test_leaves_a_grandchild():
    child = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])"
    subprocess.run([sys.executable, "-c", child], check=True)
"""
LEAKS_A_LISTENER = """
import socket
kept = []
def test_leaves_a_socket():
    kept.append(socket.create_server(("127.0.0.1", 0)))
"""
SKIPS = """
import pytest
def test_passes(): pass
def test_needs_it(toxiproxy_binary): pass
"""
SKIPS_A_MODULE = """
import pytest
pytest.skip("not here", allow_module_level=True)
"""
STATE_FOLDERS = """
import os
seen = []
def test_one(): seen.append(os.environ["BROWNOUT_STATE_DIR"])
def test_two(): assert os.environ["BROWNOUT_STATE_DIR"] not in seen
def test_xdg(): assert "pytest" in os.environ["XDG_STATE_HOME"]
"""


@pytest.fixture
def suite(tmp_path: Path):
    """Runs pytest on one test module under a copy of the guards, and gives its exit code and output."""

    def run(text: str, *, ci: bool = False) -> tuple[int, str]:
        tests = tmp_path / "tests"
        tests.mkdir()
        (tests / "conftest.py").write_text((ROOT / "tests" / "conftest.py").read_text().replace("5.0", "0.5"))
        (tests / "test_it.py").write_text(text)
        environ = {
            **os.environ,
            "CI": "true" if ci else "",
            "PATH": "/nowhere",
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        }
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-p",
            "no:cacheprovider",
            "-ra",
            "--rootdir",
            str(tmp_path),
        ]
        done = subprocess.run(
            [*command, "--import-mode=importlib", str(tests)],
            cwd=tmp_path,
            env=environ,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    return run


def test_an_orphan_is_found(suite) -> None:
    """A process that a test left fails the session, though its parent is gone, and the test is named."""
    code, output = suite(LEAKS_AN_ORPHAN)
    assert code == 1, output
    assert "started by tests/test_it.py::test_leaves_a_grandchild" in output
    assert "1 passed, 1 error" in output


def test_a_listening_socket_is_found(suite) -> None:
    """A socket that still listens when the session ends fails it."""
    code, output = suite(LEAKS_A_LISTENER)
    assert code == 1, output
    assert "a listening socket of ours: 127.0.0.1:" in output


def test_a_missing_toxiproxy_skips_at_a_desk(suite) -> None:
    """Without a toxiproxy-server its tests are skipped, and the line says how to get one."""
    code, output = suite(SKIPS)
    assert code == 0, output
    assert "no toxiproxy-server on PATH or in .tools/bin: run `make tools`" in output


def test_a_skip_fails_in_ci(suite) -> None:
    """Where CI=true a skipped test is a failure that tells the reason."""
    code, output = suite(SKIPS, ci=True)
    assert code == 1, output
    assert "skipped, which is a failure where CI=true: no toxiproxy-server" in output


def test_a_skipped_module_fails_in_ci(suite) -> None:
    """Where CI=true a module that skips itself is a failure too."""
    code, output = suite(SKIPS_A_MODULE, ci=True)
    assert code != 0, output
    assert "skipped, which is a failure where CI=true: not here" in output


def test_state_folders_are_apart(suite) -> None:
    """No test sees the user's state, nor another test's."""
    code, output = suite(STATE_FOLDERS)
    assert code == 0, output
