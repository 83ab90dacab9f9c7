"""What holds for every test: no user's state is touched, nothing outlives the session, and CI skips nothing.

What a test starts carries the session's mark in its environment, as do its children's children, so a process
that is left over is found however it was orphaned; pytest's own `PYTEST_CURRENT_TEST`, inherited the same
way, tells which test started it. A process that is given an environment of its own choosing escapes this.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import secrets
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parent.parent
IN_CI = os.environ.get("CI", "").lower() == "true"
MARK = "BROWNOUT_TEST_SESSION"
GRACE_S = 5.0
"""How long processes that are ending already may take, once the last test is over."""

# In CI the same commit has the same outcome: a red build is the commit's doing, not the day's draw. At a desk
# every run draws anew, and failures are kept in .hypothesis. No deadlines: busy cores make any example slow.
settings.register_profile(
    "ci", derandomize=True, database=None, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("desk", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("ci" if IN_CI else "desk")


# --- the user's state ---------------------------------------------------------------------------------------

_numbers = itertools.count()


@pytest.fixture(scope="session", autouse=True)
def _session_state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Fixtures that outlive one test have a state folder of the session's."""
    base = tmp_path_factory.mktemp("state")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("STATE", "CONFIG", "CACHE", "DATA"):
            patch.setenv(f"XDG_{name}_HOME", str(base / name.lower()))
        patch.setenv("BROWNOUT_STATE_DIR", str(base / "session"))
        yield base


@pytest.fixture(autouse=True)
def _own_state(_session_state: Path) -> Iterator[None]:
    """Each test has a state folder of its own, so that what one leaves behind is not healed by the next."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BROWNOUT_STATE_DIR", str(_session_state / f"test-{next(_numbers)}"))
        yield


# --- a real Toxiproxy ---------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def toxiproxy_binary() -> Path:
    """A real toxiproxy-server: from PATH, or where `make tools` puts it."""
    local = ROOT / ".tools" / "bin" / "toxiproxy-server"
    if found := shutil.which("toxiproxy-server"):
        return Path(found)
    if not os.access(local, os.X_OK):
        pytest.skip("no toxiproxy-server on PATH or in .tools/bin: run `make tools`")
    return local


@pytest.fixture(scope="module")
def toxiproxy_api(toxiproxy_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The API of a real Toxiproxy that runs for as long as the module's tests, and knows no leases."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with (tmp_path_factory.mktemp("toxiproxy") / "log").open("wb") as log:
        process = subprocess.Popen([toxiproxy_binary, "-port", str(port)], stdout=log, stderr=log)
    until = time.monotonic() + GRACE_S * 4
    while not _answers(port):
        assert time.monotonic() < until, "toxiproxy-server did not start"
        time.sleep(0.02)
    yield f"http://127.0.0.1:{port}"
    process.terminate()
    process.wait(GRACE_S * 2)


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


# --- a disk of its own ----------------------------------------------------------------------------------------


@pytest.fixture
def own_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MiB that nobody else uses."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a file system")
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)]
    mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    if "permission denied" in mounted.stderr.lower():
        pytest.xfail(f"this system forbids root to mount: {mounted.stderr.strip()}")
    assert mounted.returncode == 0, mounted.stderr
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


# --- a skip is a failure in CI ------------------------------------------------------------------------------


def _forbid_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    if not (IN_CI and report.skipped) or hasattr(report, "wasxfail"):
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    report.outcome = "failed"
    report.longrepr = f"skipped, which is a failure where CI=true: {reason.removeprefix('Skipped: ')}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Where CI=true a test that is skipped has failed."""
    report = yield
    _forbid_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector):
    """Where CI=true a module that is skipped has failed."""
    report = yield
    _forbid_skip(report)
    return report


# --- nothing outlives the session ---------------------------------------------------------------------------


def pytest_sessionstart(session: pytest.Session) -> None:
    """Mark what this session starts."""
    os.environ[MARK] = secrets.token_hex(8)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Report what the tests left running, end it, and let the session fail."""
    left = _processes_left() + _left_in_this_process()
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if not left or reporter is None:
        return
    text = "The tests left behind:\n" + "\n".join(f"  {line}" for line in left)
    report = pytest.TestReport(
        "tests", ("tests/conftest.py", None, "the session"), {}, "failed", text, when="teardown"
    )
    reporter.stats.setdefault("error", []).append(report)
    session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _processes_left() -> list[str]:
    bound = time.monotonic() + GRACE_S
    while (left := _marked_processes()) and time.monotonic() < bound:
        time.sleep(0.05)
    for process, _ in left:
        with contextlib.suppress(psutil.Error):
            process.kill()
    return [line for _, line in left]


def _marked_processes() -> list[tuple[psutil.Process, str]]:
    """Living processes with our mark, each with a line about it; not ourselves, nor Python's own tracker."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            environ = {} if process.pid == os.getpid() else process.environ()
            if environ.get(MARK) != os.environ[MARK] or process.status() == psutil.STATUS_ZOMBIE:
                continue
            command = " ".join(process.cmdline())
            if "multiprocessing.resource_tracker" not in command:
                test = environ.get("PYTEST_CURRENT_TEST", "an unknown test")
                found.append((process, f"process {process.pid}, started by {test}: {command[:200]}"))
    return found


def _left_in_this_process() -> list[str]:
    """Listening sockets, and threads that Python would wait for at exit."""
    sockets = [
        f"a listening socket of ours: {c.laddr.ip}:{c.laddr.port}"
        for c in psutil.Process().net_connections("inet")
        if c.status == psutil.CONN_LISTEN
    ]
    threads = [t for t in threading.enumerate() if not t.daemon and t is not threading.main_thread()]
    return sockets + [f"a thread of ours: {t.name}" for t in threads]
