"""Stopping, resuming and killing whole trees of real processes."""

from __future__ import annotations

import os
import signal
import sys
import time

import pytest

from chaos.faults.processes import signals
from chaos.faults.processes.identity import lives, stopped, tree
from chaos.faults.processes.throttle import BEGIN
from chaos.faults.undo import ProcessId

from .conftest import BUSY, DEAF, FAMILY, FORKS, POLITE, SLEEPS, Program, Start, wait_for


def family(start: Start) -> tuple[ProcessId, ...]:
    """A process with a child and a grandchild."""
    program = start(FAMILY, "2", FAMILY)
    for _ in range(3):
        program.line()
    return tree(program.id)


def other(program: Program) -> ProcessId:
    """A process that had the pid of `program` before."""
    return ProcessId(pid=program.pid, started=str(int(program.id.started) - 1))


def test_pause_stops_the_whole_tree_and_resume_lets_it_go_on(start: Start) -> None:
    """Parent, child and grandchild are stopped when pause returns, and run when resume returns."""
    whole = family(start)
    signals.pause(whole)
    assert [stopped(one) for one in whole] == [True] * 3
    signals.resume(whole)
    assert [stopped(one) for one in whole] == [False] * 3
    assert all(map(lives, whole))


def test_children_that_were_started_meanwhile_are_stopped_and_resumed(start: Start) -> None:
    """A process that forks all the time stands still as a whole, however old the look at it is."""
    program = start(FORKS)
    program.line()
    known = tree(program.id)
    wait_for(lambda: len(tree(program.id)) > len(known) + 5)
    signals.pause(known)
    whole = tree(program.id)
    assert len(whole) > len(known)
    assert all(map(stopped, whole))
    signals.resume((program.id,))
    assert not any(map(stopped, whole))
    wait_for(lambda: len(tree(program.id)) > len(whole))


def test_resume_finds_the_children_of_a_dead_parent(start: Start) -> None:
    """What was stopped with a parent goes on, though the parent has been killed since."""
    whole = family(start)
    signals.pause(whole)
    os.kill(whole[0].pid, signal.SIGKILL)
    wait_for(lambda: not lives(whole[0]))
    signals.resume(whole)
    assert [lives(one) and not stopped(one) for one in whole] == [False, True, True]


def test_resume_is_idempotent(start: Start) -> None:
    """What runs, what is resumed twice, and what is gone needs no healing and is no error."""
    program = start(SLEEPS)
    whole = tree(program.id)
    signals.resume(whole)
    signals.pause(whole)
    signals.resume(whole)
    signals.resume(whole)
    assert not stopped(program.id)
    program.end()
    signals.resume(whole)


@pytest.mark.parametrize("which", ["throttle", "other"])
def test_resume_ends_what_slows_the_process(start: Start, which: str) -> None:
    """A throttle of this process ends; one of another process is none of its business."""
    program, another = start(BUSY), start(BUSY)
    throttled = program if which == "throttle" else another
    argv = [sys.executable, "-m", "chaos.faults.processes.throttle"]
    throttle = Program([*argv, f"{throttled.pid}/{throttled.id.started}", "50", "100"])
    try:
        throttle.line()
        throttle.tell(BEGIN.strip())
        wait_for(lambda: stopped(throttled.id))
        signals.resume((program.id,))
        assert (throttle.process.poll() is None) == (which == "other")
        assert not stopped(program.id)
    finally:
        throttle.end()


def test_nothing_is_done_to_another_process_with_the_pid(start: Start) -> None:
    """A pid that was given again is neither stopped nor killed, and the fault says that it did nothing."""
    program = start(SLEEPS)
    program.line()
    wrong = (other(program),)
    with pytest.raises(signals.NotDone, match="has ended, and cannot be stopped"):
        signals.pause(wrong)
    for number in (signal.SIGKILL, signal.SIGTERM):
        with pytest.raises(signals.NotDone, match="had ended before it was killed"):
            signals.kill(wrong, number)
    assert lives(program.id)
    assert not stopped(program.id)
    os.kill(program.pid, signal.SIGSTOP)
    wait_for(lambda: stopped(program.id))
    signals.resume(wrong)
    assert stopped(program.id)


def test_kill_ends_the_whole_tree(start: Start) -> None:
    """SIGKILL leaves neither child nor grandchild."""
    whole = family(start)
    signals.kill(whole, signal.SIGKILL)
    wait_for(lambda: not any(map(lives, whole)))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_kill_ends_children_that_were_started_meanwhile(start: Start, number: signal.Signals) -> None:
    """Children that nobody knew of when the process was looked at do not outlive it."""
    program = start(FORKS)
    program.line()
    known = tree(program.id)
    wait_for(lambda: len(tree(program.id)) > len(known) + 5)
    session = os.getsid(program.pid)
    signals.kill(known, number, grace_s=30)

    def left() -> list[int]:
        found = []
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                try:
                    with open(f"/proc/{entry}/stat") as file:
                        fields = file.read().rpartition(")")[2].split()
                except OSError:
                    continue
                if int(fields[3]) == session and fields[0] not in "ZX":
                    found.append(int(entry))
        return found

    wait_for(lambda: left() == [])


def test_a_process_may_end_in_order(start: Start) -> None:
    """SIGTERM alone, where that is enough: the process ends with the exit code that it chose."""
    program = start(POLITE)
    program.line()
    signals.kill((program.id,), signal.SIGTERM, grace_s=30)
    assert program.process.wait(30) == 3


def test_who_ignores_sigterm_is_killed_after_the_grace(start: Start) -> None:
    """SIGTERM, the grace, then SIGKILL."""
    program = start(DEAF)
    program.line()
    before = time.monotonic()
    signals.kill((program.id,), signal.SIGTERM, grace_s=0.3)
    assert time.monotonic() - before >= 0.3
    assert program.process.wait(30) == -signal.SIGKILL


def test_a_child_that_ignores_sigterm_goes_with_its_parent(start: Start) -> None:
    """A parent that ends in order does not save its stubborn child."""
    code = f"import os\nif os.fork() == 0:\n exec({DEAF!r})\nexec({POLITE!r})"
    program = start(code)
    assert [program.line(), program.line()] == ["up", "up"]
    whole = tree(program.id)
    assert len(whole) == 2
    signals.kill(whole, signal.SIGTERM, grace_s=0.3)
    assert program.process.wait(30) == 3
    wait_for(lambda: not lives(whole[1]))


def test_a_stopped_process_can_be_killed(start: Start) -> None:
    """Being stopped saves nobody."""
    program = start(POLITE)
    program.line()
    signals.pause((program.id,))
    whole = (program.id,)
    signals.kill(whole, signal.SIGTERM, grace_s=0.1)
    assert not lives(whole[0])
