"""Commands are run as they are written, to their end or not at all, and cost no more than they may."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import psutil
import pytest

from chaos.faults.processes import commands
from chaos.faults.processes.heal import heal
from chaos.faults.undo import RunCommand
from chaos.registry import MARKER

from .conftest import wait_for

LONG_S = 60.0


def python(code: str, *args: str) -> tuple[str, ...]:
    """The argument list of some Python code."""
    return (sys.executable, "-c", code, *args)


def test_what_it_says_is_returned(tmp_path: Path) -> None:
    """Its stdout, run in its folder."""
    code = "import os; print(os.getcwd())"
    assert commands.run(python(code), cwd=str(tmp_path), timeout_s=LONG_S) == f"{tmp_path}\n"


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("raise SystemExit(3)", "ended with exit code 3"),
        ("import sys; sys.exit('no such queue')", "ended with exit code 1: no such queue"),
        ("import os; os.kill(os.getpid(), 9)", "was killed by signal 9"),
    ],
)
def test_a_command_that_fails_says_how(code: str, said: str) -> None:
    """The exit code or the signal, and the end of what it wrote to stderr."""
    with pytest.raises(commands.CommandFailed) as caught:
        commands.run(python(code), cwd=None, timeout_s=LONG_S)
    assert str(caught.value).endswith(said)


@pytest.mark.parametrize("code", [0, 1, 127])
def test_a_check_is_its_exit_code(code: int) -> None:
    """0 is yes, all else is no."""
    assert commands.succeeds(python(f"raise SystemExit({code})"), cwd=None, timeout_s=LONG_S) == (code == 0)


def test_what_cannot_be_started_is_told(tmp_path: Path) -> None:
    """A program, or a folder, that is not there is an error that names it."""
    for call in (commands.run, commands.succeeds):
        with pytest.raises(commands.CommandFailed, match="`no-such-program x` could not be started"):
            call(("no-such-program", "x"), cwd=None, timeout_s=LONG_S)
        with pytest.raises(commands.CommandFailed, match=r"could not be started.*gone"):
            call(("true",), cwd=str(tmp_path / "gone"), timeout_s=LONG_S)


def test_there_is_no_shell(tmp_path: Path) -> None:
    """What a shell would act on is an argument like any other."""
    words = ["; touch x", "$(touch x)", "`touch x`", "| touch x", "> x", "*", "&& touch x", "\n touch x"]
    code = "import sys; print(repr(sys.argv[1:]))"
    assert commands.run(python(code, *words), cwd=str(tmp_path), timeout_s=LONG_S) == f"{words!r}\n"
    assert list(tmp_path.iterdir()) == []


def test_stdin_is_empty() -> None:
    """A command that asks for a password does not wait for one."""
    code = "import sys; print(repr(sys.stdin.read()))"
    assert commands.run(python(code), cwd=None, timeout_s=LONG_S) == "''\n"


def test_what_takes_too_long_is_killed_with_all_that_it_started(tmp_path: Path) -> None:
    """The whole group ends, those too that ignore SIGTERM."""
    script = "trap '' TERM; sleep 600 & echo $$ $! > pids; sleep 600"
    with pytest.raises(commands.CommandFailed, match="did not end within 3 s: killed"):
        commands.run(("sh", "-c", script), cwd=str(tmp_path), timeout_s=3)
    pids = [int(word) for word in (tmp_path / "pids").read_text().split()]
    assert len(pids) == 2

    def ended(pid: int) -> bool:
        try:
            return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return True

    wait_for(lambda: all(map(ended, pids)))


def test_what_writes_without_end_is_killed() -> None:
    """Neither our memory nor the disk is filled by a command that has gone mad."""
    code = "import os\nwhile True: os.write(2, b'x' * 65536)"
    with pytest.raises(commands.CommandFailed, match="wrote more than 16 MiB: killed"):
        commands.run(python(code), cwd=None, timeout_s=LONG_S)


def test_a_long_complaint_is_cut_to_its_end() -> None:
    """The last of what it said is what matters."""
    code = "import sys\nsys.stderr.write('x' * 100_000 + ' the reason')\nsys.exit(1)"
    with pytest.raises(commands.CommandFailed, match=r"the reason$") as caught:
        commands.run(python(code), cwd=None, timeout_s=LONG_S)
    assert len(str(caught.value)) < 3000


def test_what_it_leaves_running_is_left_alone(tmp_path: Path) -> None:
    """A service that a command starts outlives it, does not hold it up, and bears no mark of the run."""
    os.environ[MARKER] = "a-run"
    try:
        code = (
            "import os, time\npid = os.fork()\nif pid: print(pid, flush=True); os._exit(0)\ntime.sleep(600)"
        )
        pid = int(commands.run(python(code), cwd=None, timeout_s=LONG_S))
    finally:
        del os.environ[MARKER]
    service = psutil.Process(pid)
    try:
        assert service.status() != psutil.STATUS_ZOMBIE
        assert MARKER not in service.environ()
    finally:
        service.kill()
        wait_for(lambda: not psutil.pid_exists(pid) or service.status() == psutil.STATUS_ZOMBIE)


def undo(tmp_path: Path, *, heals: str, check: bool = True) -> RunCommand:
    """What undoes the creation of a file `broken`."""
    there = python("import os, sys; sys.exit(not os.path.exists('broken'))")
    return RunCommand(heal=python(heals), check=there if check else None, cwd=str(tmp_path), timeout_s=LONG_S)


def test_healing_is_seen_by_the_check(tmp_path: Path) -> None:
    """Healed is when the check no longer succeeds; healing again is no error."""
    (tmp_path / "broken").touch()
    healing = undo(tmp_path, heals="import pathlib; pathlib.Path('broken').unlink(missing_ok=True)")
    heal(healing)
    heal(healing)
    assert not (tmp_path / "broken").exists()


def test_a_heal_without_effect_is_none(tmp_path: Path) -> None:
    """A heal that succeeds and changes nothing is told, where there is a check; without one it is believed."""
    (tmp_path / "broken").touch()
    with pytest.raises(commands.CommandFailed, match=r"ran, but .* still succeeds"):
        heal(undo(tmp_path, heals="pass"))
    heal(undo(tmp_path, heals="pass", check=False))


def test_a_heal_that_fails_is_told(tmp_path: Path) -> None:
    """Its exit code counts, whatever the check would say."""
    with pytest.raises(commands.CommandFailed, match="ended with exit code 4"):
        heal(undo(tmp_path, heals="raise SystemExit(4)"))
