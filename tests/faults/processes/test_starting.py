"""A killed process that is not the run's own comes back: by its command, or by its supervisor."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import psutil
import pytest

from chaos.faults.processes import starting
from chaos.faults.processes.commands import CommandFailed
from chaos.faults.processes.heal import heal
from chaos.faults.processes.identity import lives, pid_in, tree
from chaos.faults.processes.signals import kill
from chaos.faults.undo import ProcessId, StartProcess

from .conftest import SLEEPS, Program, Start, wait_for

# Starts a child, writes its pid down, and does so again whenever it ends; `hold` makes it wait for a line first.
SUPERVISOR = """
import os, subprocess, sys
file, hold = sys.argv[1:]
while True:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    with open(file + ".new", "w") as out:
        out.write(f"{child.pid}\\n")
    os.replace(file + ".new", file)
    os.write(1, b"up\\n")
    child.wait()
    if hold:
        sys.stdin.readline()
"""
# What a `start` is: leaves a service running, and its pid in a file.
STARTS = """
import os, sys
pid = os.fork()
if pid == 0:
    os.setsid()
    import time
    time.sleep(600)
with open(sys.argv[1], "w") as out:
    out.write(str(pid))
os._exit(0)
"""


def supervised(start: Start, file: Path, hold: str = "") -> Program:
    """A supervisor whose child is up."""
    program = start(SUPERVISOR, str(file), hold)
    assert program.line() == "up"
    return program


def undo(
    file: Path, killed: ProcessId, *, within_s: float = 30.0, argv: tuple[str, ...] | None = None
) -> StartProcess:
    """What brings the process of a pid file back."""
    return StartProcess(
        processes=(killed,), pid_file=str(file), start=argv, cwd=str(file.parent), within_s=within_s
    )


def test_a_supervisor_is_waited_for(start: Start, tmp_path: Path) -> None:
    """Healing returns when the supervisor has started another process, and returns at once when asked again."""
    file = tmp_path / "pid"
    program = supervised(start, file, "hold")
    killed = pid_in(file)
    healing = undo(file, killed)
    kill((killed,), signal.SIGKILL)
    assert starting.present(healing) is None
    program.tell("go on")
    heal(healing)
    found = starting.present(healing)
    assert found is not None
    assert found != killed
    heal(healing)
    assert starting.present(healing) == found
    assert [one.pid for one in tree(program.id)[1:]] == [found.pid]


def test_one_that_lives_is_not_started_again(start: Start, tmp_path: Path) -> None:
    """A kill that never happened needs no start: there would be two."""
    file = tmp_path / "pid"
    program = start(SLEEPS)
    file.write_text(str(program.pid))
    heal(undo(file, program.id, argv=("false",)))
    assert lives(program.id)


def test_a_command_starts_it_again(start: Start, tmp_path: Path) -> None:
    """`start` is run where it is not there, once; what it started is nobody's child."""
    file = tmp_path / "pid"
    program = start(SLEEPS)
    file.write_text(str(program.pid))
    healing = undo(file, program.id, argv=(sys.executable, "-c", STARTS, str(file)))
    kill((program.id,), signal.SIGTERM)
    heal(healing)
    found = pid_in(file)
    try:
        assert found.pid != program.pid
        heal(healing)
        assert pid_in(file) == found
    finally:
        os.kill(found.pid, signal.SIGKILL)
        wait_for(lambda: not lives(found))


def test_a_supervisor_that_does_not_bring_it_back_is_told(start: Start, tmp_path: Path) -> None:
    """Who was waited for, for what, and how long."""
    file = tmp_path / "pid"
    supervised(start, file, "hold")
    killed = pid_in(file)
    kill((killed,), signal.SIGKILL)
    with pytest.raises(starting.NotBack) as caught:
        heal(undo(file, killed, within_s=0.2))
    assert str(caught.value) == f"its supervisor has not brought the process of {file} back within 0.2 s"


def test_a_command_that_does_not_bring_it_back_is_told(start: Start, tmp_path: Path) -> None:
    """A `start` that succeeds and starts nothing is named; one that fails says why."""
    file = tmp_path / "pid"
    program = start(SLEEPS)
    file.write_text(str(program.pid))
    killed = program.id
    kill((killed,), signal.SIGKILL)
    with pytest.raises(
        starting.NotBack, match=f"`true` has not brought the process of {file} back within 3 s"
    ):
        heal(undo(file, killed, within_s=3, argv=("true",)))
    with pytest.raises(CommandFailed, match=r"`ls .*/gone` ended with exit code 2: "):
        heal(undo(file, killed, within_s=30, argv=("ls", str(tmp_path / "gone"))))


def test_a_pid_file_that_is_gone_is_waited_for(start: Start, tmp_path: Path) -> None:
    """A service that deletes its pid file as it ends is back when there is one again."""
    file = tmp_path / "pid"
    program = start(SLEEPS)
    file.write_text(str(program.pid))
    killed = pid_in(file)
    kill((killed,), signal.SIGKILL)
    file.unlink()
    with pytest.raises(starting.NotBack):
        heal(undo(file, killed, within_s=0.1))
    supervised(start, file)
    heal(undo(file, killed))
    assert psutil.pid_exists(pid_in(file).pid)
