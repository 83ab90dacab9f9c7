"""Programs as load, run by the real worker: how they end, what is written down, and that nothing is left."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import psutil
import pytest

from loadtests import metrics
from loadtests.commands.program import MARK
from tests.loadtests.locusts import wait_until
from tests.loadtests.programs import Programs, command, programs, python

SLEEPS = "import time; print('up', flush=True); time.sleep(600)"


def up(worker: Programs, name: str) -> None:
    """Wait until a program has printed something."""
    path = worker.history.parent / "logs" / f"{name}.out"
    wait_until(lambda: path.exists() and path.stat().st_size > 0, f"{name} prints")


def done(worker: Programs, count: int) -> None:
    """Wait until so many runs of programs are reported."""
    wait_until(
        lambda: worker.receiver.count(metrics.HTTP_OPERATION, operation="program") >= count, f"{count} ended"
    )


def test_a_program_is_run_once_in_each_phase(tmp_path: Path) -> None:
    """Each phase has one run of the program, told its URL, phase and seed; it is a row, ok, in its phase."""
    code = "import sys, os; print(*sys.argv[1:], os.environ['SHOWN'], os.getcwd())"
    argv = python(code, "${url}", "${phase}", "${seed}", "$$", "${run}")
    plan = command(argv, url="http://127.0.0.1:81", env={"SHOWN": "${phase}!"})
    with programs(tmp_path, workloads=[plan]) as worker:
        worker.begin("baseline")
        done(worker, 1)
        worker.begin("fault")
        done(worker, 2)
        assert worker.finish() == 0
    rows = worker.rows(operation="program")
    assert [(row["phase"], row["outcome"], row["final"], row["user"]) for row in rows] == [
        ("baseline", "ok", True, 0),
        ("fault", "ok", True, 1),
    ]
    printed = (tmp_path / "logs" / "evals-1-fault.out").read_text()
    assert printed == "http://127.0.0.1:81 fault 7 $ run-1 fault! /\n"
    assert worker.receiver.count(metrics.ARRIVALS, state="served") == 2


def test_what_a_program_gets_of_the_environment_is_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A variable reaches the program only by its name in env_from; its value stands in no file of the run."""
    monkeypatch.setenv("MY_SECRET", "s3cr3t-4711")
    monkeypatch.setenv("OTHER_SECRET", "s3cr3t-4712")
    code = "import os; assert os.environ['MY_SECRET'] == 's3cr3t-' + '4711'; assert 'OTHER_SECRET' not in os.environ"
    plan = command(python(code), env_from=["MY_SECRET"])
    with programs(tmp_path, workloads=[plan]) as worker:
        worker.begin("baseline")
        done(worker, 1)
        assert worker.finish() == 0
    assert [row["outcome"] for row in worker.rows()] == ["ok"]
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or b"s3cr3t-471" not in path.read_bytes(), path


def test_a_missing_variable_is_told_before_anything_runs(tmp_path: Path) -> None:
    """A worker whose program needs a variable that is not set ends, and says which."""
    plan = command(python("pass"), env_from=["BRIGHT_NO_SUCH_VARIABLE"])
    worker = Programs(tmp_path, {"workloads": [plan]})
    try:
        assert worker.ended() == 64
        assert "BRIGHT_NO_SUCH_VARIABLE" in worker.log
    finally:
        worker.close()


@pytest.mark.parametrize(
    ("code", "error_type", "status"),
    [
        ("raise SystemExit(3)", "exit_3", 3),
        ("import os; os.kill(os.getpid(), 9)", "signal_9", None),
        ("raise SystemExit(5)", None, 5),
    ],
)
def test_how_a_program_ended_is_its_row(
    tmp_path: Path, code: str, error_type: str | None, status: int | None
) -> None:
    """An exit code that is not expected, and a signal, are errors by name; an expected exit code is none."""
    with programs(tmp_path, workloads=[command(python(code), expect_exit=[0, 5])]) as worker:
        worker.begin("baseline")
        done(worker, 1)
        worker.finish()
    (row,) = worker.rows()
    assert (row["error_type"], row["status"]) == (error_type, status)
    assert row["outcome"] == ("ok" if error_type is None else "error")


def test_a_program_that_cannot_be_started_is_an_error(tmp_path: Path) -> None:
    """It is a row of its own, not an absence, and the worker goes on."""
    plans = [command(["/dev/null"], name="broken"), command(python("pass"), name="whole")]
    with programs(tmp_path, workloads=plans) as worker:
        worker.begin("baseline")
        done(worker, 2)
        assert worker.finish() == 0
    assert {row["workload"]: row["error_type"] for row in worker.rows()} == {
        "broken": "not_started",
        "whole": None,
    }


def test_a_program_that_outlives_its_phase_is_unfinished(tmp_path: Path) -> None:
    """It is ended as the next phase begins, counts as unfinished in its own phase, and the next one runs."""
    code = f"import sys\nif sys.argv[1] == 'baseline':\n    {SLEEPS.replace('; ', chr(10) + '    ')}"
    with programs(tmp_path, workloads=[command(python(code, "${phase}"))]) as worker:
        worker.begin("baseline")
        up(worker, "evals-0-baseline")
        worker.begin("fault")
        done(worker, 2)
        assert worker.finish() == 0
    assert [(row["phase"], row["outcome"], row["error_type"]) for row in worker.rows()] == [
        ("baseline", "unfinished", "unfinished"),
        ("fault", "ok", None),
    ]


def test_a_program_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    """Past its timeout it is ended, and the error says so."""
    with programs(tmp_path, workloads=[command(python(SLEEPS), timeout="200ms")]) as worker:
        worker.begin("baseline")
        done(worker, 1)
        worker.finish()
    assert [(row["outcome"], row["error_type"]) for row in worker.rows()] == [("error", "timeout")]


STUBBORN = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
subprocess.Popen([sys.executable, "-c", deaf])
subprocess.Popen([sys.executable, "-c", deaf], start_new_session=True)
time.sleep(600)
"""


def _marked() -> list[int]:
    """The living processes of this test session that belong to a program."""
    found = []
    for process in psutil.process_iter():
        try:
            if MARK in process.environ() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
        except (psutil.Error, OSError):
            continue
    return found


@pytest.mark.parametrize("by", ["phase", "stop", "hang up", "SIGTERM", "SIGINT"])
def test_no_process_of_a_program_is_left(tmp_path: Path, by: str) -> None:
    """A program that ignores SIGTERM, its child, and one that left its group, end with the phase or the run."""
    before = set(_marked())
    plan = {"workloads": [command(python(STUBBORN), grace="100ms")], "drain_s": 0.1}
    with programs(tmp_path, **plan) as worker:
        worker.begin("baseline")
        path = tmp_path / "logs" / "evals-0-baseline.out"
        wait_until(lambda: path.exists() and path.read_text().count("up") == 2, "both children are up")
        assert len(set(_marked()) - before) == 3
        if by == "phase":
            worker.begin("fault")
            done(worker, 1)
            worker.hang_up()
        elif by == "stop":
            worker.finish()
        elif by == "hang up":
            worker.hang_up()
        else:
            worker.process.send_signal(getattr(signal, by))
        assert worker.ended() == 0
        assert not set(_marked()) - before
    row = worker.rows(phase="baseline")[0]
    assert (row["outcome"], row["error_type"]) == ("unfinished", "unfinished")


def test_what_a_program_leaves_running_ends_with_it(tmp_path: Path) -> None:
    """A child that a program leaves behind as it ends is ended, though nobody waits for it."""
    before = set(_marked())
    code = (
        "import subprocess, sys\n"
        f"subprocess.Popen([sys.executable, '-c', {SLEEPS!r}], start_new_session=True)"
    )
    with programs(tmp_path, workloads=[command(python(code))]) as worker:
        worker.begin("baseline")
        done(worker, 1)
        assert not set(_marked()) - before
        worker.finish()
    assert [row["outcome"] for row in worker.rows()] == ["ok"]


def test_output_is_kept_up_to_a_bound(tmp_path: Path) -> None:
    """Of each output so much is kept, the rest is counted in the file; the program is never held up."""
    code = "import sys; sys.stdout.write('x' * 5_000_000); sys.stderr.write('y' * 1000)"
    with programs(tmp_path, workloads=[command(python(code), capture="100kB")]) as worker:
        worker.begin("baseline")
        done(worker, 1)
        worker.finish()
    out = (tmp_path / "logs" / "evals-0-baseline.out").read_text()
    assert out == "x" * 100_000 + "\n[brownout: 4900000 more bytes were left out]\n"
    assert (tmp_path / "logs" / "evals-0-baseline.err").read_text() == "y" * 1000


def test_a_promised_log_that_is_missing_is_an_error(tmp_path: Path) -> None:
    """A program that ends well without the log that it was to write has not measured anything."""
    with programs(tmp_path, workloads=[command(python("pass"), log={"format": "junit"})]) as worker:
        worker.begin("baseline")
        done(worker, 1)
        worker.finish()
    assert [(row["operation"], row["error_type"]) for row in worker.rows()] == [("program", "log_missing")]


def test_pytest_s_own_report_becomes_rows(tmp_path: Path) -> None:
    """A real pytest's JUnit file: each test is a row with its score; skipped ones have none."""
    (tmp_path / "test_it.py").write_text(
        "import pytest\n"
        "def test_right(): pass\n"
        "def test_wrong(): assert 0\n"
        "def test_broken(nothing): pass\n"
        "@pytest.mark.skip\ndef test_skipped(): pass\n"
    )
    argv = [*python("import pytest, sys; sys.exit(pytest.main(sys.argv[1:]))"), str(tmp_path / "test_it.py")]
    argv += ["--junit-xml=${out}/report.xml", "-p", "no:cacheprovider", f"--rootdir={tmp_path}"]
    plan = command(argv, log={"format": "junit"}, expect_exit=[0, 1], cwd=str(tmp_path))
    with programs(tmp_path, workloads=[plan]) as worker:
        worker.begin("baseline")
        done(worker, 1)
        worker.finish()
    found = {row["item"]: (row["reward"], row["error_type"]) for row in worker.rows(operation="test")}
    assert {name.rpartition("::")[2]: values for name, values in found.items()} == {
        "test_right": (1.0, None),
        "test_wrong": (0.0, "test_failure"),
        "test_broken": (None, "test_error"),
        "test_skipped": (None, None),
    }
    assert worker.receiver.count(metrics.HTTP_OPERATION, operation="test") == 4


def test_a_killed_worker_leaves_its_history_readable(tmp_path: Path) -> None:
    """What was written down before SIGKILL stays; the program's mark tells whose it was."""
    before = set(_marked())
    code = "import sys\nif sys.argv[1] == 'fault':\n    import time; print('up', flush=True); time.sleep(600)"
    with programs(tmp_path, workloads=[command(python(code, "${phase}"))]) as worker:
        worker.begin("baseline")
        done(worker, 1)
        wait_until(lambda: len(worker.rows()) == 1, "the row is on disk")
        worker.begin("fault")
        up(worker, "evals-1-fault")
        worker.process.kill()
        worker.ended()
        left = set(_marked()) - before
        assert len(left) == 1  # nobody is left to end it but whoever looks for the mark, as a stage does
        for pid in left:
            os.kill(pid, signal.SIGKILL)
    assert [row["phase"] for row in worker.rows()] == ["baseline"]
