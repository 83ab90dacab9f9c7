"""Which process is meant: never another one, never a dead one, never ourselves."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

from chaos.faults.processes.identity import (
    NoSuchProcess,
    ProcessForbidden,
    lives,
    pid_in,
    process_id,
    stopped,
    tree,
    trees,
)
from chaos.faults.undo import ProcessId

from .conftest import FAMILY, SLEEPS, Start, wait_for

# In a pid namespace of its own, where the next pid can be chosen (pid_namespaces(7)).
SAME_PID = """
import os, time
from pathlib import Path
from chaos.faults.processes.identity import lives, process_id, tree

def child():
    pid = os.fork()
    if pid == 0:
        time.sleep(600)
    return pid

def ticks():
    return int(time.clock_gettime(time.CLOCK_BOOTTIME) * os.sysconf("SC_CLK_TCK"))

first = child()
was = process_id(first)
os.kill(first, 9)
os.waitpid(first, 0)
died = ticks()
while ticks() < died + 2:
    pass
Path("/proc/sys/kernel/ns_last_pid").write_text(str(first - 1))
second = child()
now = process_id(second)
print(first == second, lives(was), tree(was), lives(now))
os.kill(second, 9)
os.waitpid(second, 0)
"""


def zombie(start: Start) -> ProcessId:
    """A process that has ended, and that nobody has asked for its exit code."""
    program = start(SLEEPS)
    program.line()
    found = program.id
    program.process.kill()
    wait_for(lambda: psutil.Process(program.pid).status() == psutil.STATUS_ZOMBIE)
    return found


def test_a_pid_that_was_given_again_is_another_process() -> None:
    """The kernel gives the pid of a dead process to a new one: that one is not taken for the first."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("only root can choose a pid, by unshare of util-linux")
    done = subprocess.run(
        ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", sys.executable, "-c", SAME_PID],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.stdout == "True False () True\n", done.stderr


def test_another_start_time_is_another_process(start: Start) -> None:
    """The pid alone names nobody: no life, no tree, no state."""
    program = start(SLEEPS)
    program.line()
    other = ProcessId(pid=program.pid, started=str(int(program.id.started) - 1))
    assert lives(program.id)
    assert not lives(other)
    assert not stopped(other)
    assert tree(other) == ()


def test_a_zombie_does_not_live(start: Start) -> None:
    """A process of which only the exit code is left is dead, has no tree, and cannot be found any more."""
    dead = zombie(start)
    assert not lives(dead)
    assert not stopped(dead)
    assert tree(dead) == ()
    with pytest.raises(NoSuchProcess, match=f"there is no process {dead.pid}"):
        process_id(dead.pid)


def test_a_zombie_is_nobodys_child(start: Start) -> None:
    """Dead children are left out of a tree."""
    code = (
        "import os, time\npid = os.fork()\nif not pid: os._exit(0)\nprint(pid, flush=True)\ntime.sleep(600)"
    )
    program = start(code)
    child = int(program.line())
    wait_for(lambda: psutil.Process(child).status() == psutil.STATUS_ZOMBIE)
    assert tree(program.id) == (program.id,)


def test_the_first_process_ourselves_and_our_ancestors_are_refused() -> None:
    """Nothing that runs the run can be struck: pid 1, this process, its parent and all above."""
    for pid in (-1, 0, 1, os.getpid(), *(parent.pid for parent in psutil.Process().parents())):
        with pytest.raises(ProcessForbidden, match=f"process {pid} "):
            process_id(pid)


def test_a_thread_is_no_process() -> None:
    """The id of one of our own threads does not lead back to us."""
    halt = threading.Event()
    thread = threading.Thread(target=halt.wait)
    thread.start()
    try:
        assert Path(f"/proc/{thread.native_id}/stat").exists()
        with pytest.raises(NoSuchProcess):
            process_id(int(thread.native_id or 0))
    finally:
        halt.set()
        thread.join()


def test_a_tree_has_children_and_grandchildren(start: Start) -> None:
    """All that descends from the process, parents first; others are not in it."""
    start(SLEEPS).line()
    program = start(FAMILY, "2", FAMILY)
    pids = {int(program.line()) for _ in range(3)}
    found = tree(program.id)
    assert {one.pid for one in found} == pids
    assert found[0] == program.id
    parents = {one.pid: psutil.Process(one.pid).ppid() for one in found[1:]}
    order = [one.pid for one in found]
    assert all(order.index(parent) < order.index(child) for child, parent in parents.items())
    assert trees(found) == found


def test_a_name_with_brackets_confuses_nobody(start: Start) -> None:
    """The name in /proc/PID/stat may hold anything; the start time is still read."""
    code = (
        "import ctypes, time\nctypes.CDLL(None).prctl(15, b') R 1 (x) Z')\nprint('up', flush=True)\n"
        "time.sleep(600)"
    )
    program = start(code)
    before = program.id
    program.line()
    assert "(x)" in Path(f"/proc/{program.pid}/comm").read_text()
    assert program.id == before
    assert lives(before)


def test_a_pid_file_names_its_process(start: Start, tmp_path: Path) -> None:
    """With or without white space about it."""
    program = start(SLEEPS)
    file = tmp_path / "pid"
    for text in (f"{program.pid}", f"{program.pid}\n", f"  {program.pid}\n\n"):
        file.write_text(text)
        assert pid_in(file) == program.id


@pytest.mark.parametrize("text", ["", "x", "-5", "12 13", "١٢", "9" * 40, "0x10", "1e3"])
def test_what_is_no_pid_is_told(tmp_path: Path, text: str) -> None:
    """A pid file that holds something else is named, with what it holds."""
    file = tmp_path / "pid"
    file.write_text(text)
    with pytest.raises(NoSuchProcess, match="expected the pid of a process") as caught:
        pid_in(file)
    assert str(file) in str(caught.value)


def test_a_pid_file_of_a_dead_process_or_none_is_told(start: Start, tmp_path: Path) -> None:
    """A file that is not there, one of a dead process, and one of ours are three different errors."""
    file = tmp_path / "pid"
    with pytest.raises(FileNotFoundError):
        pid_in(file)
    file.write_text(str(zombie(start).pid))
    with pytest.raises(NoSuchProcess, match=f"{file}: there is no process"):
        pid_in(file)
    file.write_text(str(os.getpid()))
    with pytest.raises(ProcessForbidden):
        pid_in(file)
