"""A process that is slowed down gets less time, and gets it all back however the throttle ends."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator

import psutil
import pytest

from chaos.faults.processes.heal import heal
from chaos.faults.processes.identity import lives, stopped, tree
from chaos.faults.processes.throttle import BEGIN, LOOK_AGAIN_S
from chaos.faults.undo import ProcessId, ResumeProcess

from .conftest import BUSY, FORKS, SLEEPS, Program, Start, wait_for

Slow = Callable[[ProcessId, float, float], Program]


@pytest.fixture
def slow() -> Iterator[Slow]:
    """Starts a throttle, ready to begin: what it slows down, milliseconds stopped, of a period."""
    running: list[Program] = []

    def make(process: ProcessId, stopped_ms: float, period_ms: float) -> Program:
        argv = [sys.executable, "-m", "chaos.faults.processes.throttle"]
        running.append(Program([*argv, f"{process.pid}/{process.started}", str(stopped_ms), str(period_ms)]))
        assert json.loads(running[-1].line()) == {"ready": True}
        return running[-1]

    yield make
    for program in running:
        program.end()


def begin(throttle: Program) -> None:
    """Let it begin."""
    throttle.tell(BEGIN.strip())


def used_s(program: Program) -> float:
    """The processor time that a process has had."""
    times = psutil.Process(program.pid).cpu_times()
    return float(times.user + times.system)


def test_a_busy_process_gets_its_share_at_most(start: Start, slow: Slow) -> None:
    """Stopped for three quarters of the time, the work of 0.3 seconds takes at least 0.6, but is done."""
    program = start(BUSY)
    program.line()
    begin(slow(program.id, 150, 200))
    wait_for(lambda: stopped(program.id))
    began, had = time.monotonic(), used_s(program)
    wait_for(lambda: used_s(program) - had >= 0.3, "its work", within_s=60)
    assert time.monotonic() - began >= 0.6


def test_children_are_slowed_too(start: Start, slow: Slow) -> None:
    """A child that is started later is stopped with the others once it has been found."""
    program = start(FORKS)
    program.line()
    throttle = slow(program.id, 150, 200)
    begin(throttle)
    wait_for(lambda: len(tree(program.id)) > 10)
    late = tree(program.id)[-1]
    wait_for(lambda: stopped(late), within_s=LOOK_AGAIN_S + 60)
    throttle.process.terminate()
    assert throttle.process.wait(30) == 0
    assert not any(map(stopped, tree(program.id)))


@pytest.mark.parametrize("stopped_ms", [0.1, 99.0])
def test_short_and_long_stops_are_kept(start: Start, slow: Slow, stopped_ms: float) -> None:
    """Neither a tenth of a millisecond nor nearly the whole period is rounded away: it works on, slowly."""
    program = start(BUSY)
    program.line()
    begin(slow(program.id, stopped_ms, 100))
    had = used_s(program)
    wait_for(lambda: used_s(program) > had + 0.02, within_s=60)


def test_nothing_happens_before_it_is_told_to_begin(start: Start, slow: Slow) -> None:
    """A throttle that is ready, and ends without a word, has touched nothing."""
    program = start(SLEEPS)
    program.line()
    throttle = slow(program.id, 9000, 10_000)
    throttle.process.stdin.close()
    assert throttle.process.wait(30) == 0
    changes = os.WSTOPPED | os.WCONTINUED | os.WNOHANG  # what a parent is told of, however short it was
    assert os.waitid(os.P_PID, program.pid, changes) is None


@pytest.mark.parametrize("how", ["stdin", "SIGTERM", "SIGINT"])
def test_however_it_is_ended_the_process_goes_on(start: Start, slow: Slow, how: str) -> None:
    """In the midst of a long stop: it ends at once, with 0, and what it stopped runs."""
    program = start(SLEEPS)
    program.line()
    throttle = slow(program.id, 9000, 10_000)
    begin(throttle)
    wait_for(lambda: stopped(program.id))
    if how == "stdin":
        throttle.process.stdin.close()
    else:
        throttle.process.send_signal(signal.Signals[how])
    assert throttle.process.wait(30) == 0
    assert lives(program.id)
    assert not stopped(program.id)


def test_a_throttle_ends_with_its_process(start: Start, slow: Slow) -> None:
    """When there is nothing left to slow down it ends by itself."""
    program = start(SLEEPS)
    program.line()
    throttle = slow(program.id, 10, 20)
    begin(throttle)
    wait_for(lambda: stopped(program.id))
    program.end()
    assert throttle.process.wait(30) == 0


def test_a_killed_throttle_is_healed(start: Start, slow: Slow) -> None:
    """SIGKILL leaves the process stopped; healing lets it, and its children, go on."""
    program = start(FORKS)
    program.line()
    throttle = slow(program.id, 9000, 10_000)
    begin(throttle)
    wait_for(lambda: stopped(program.id))
    throttle.process.kill()
    throttle.process.wait()
    assert stopped(program.id)
    heal(ResumeProcess(processes=(program.id,)))
    assert lives(program.id)
    assert not any(map(stopped, tree(program.id)))


def test_healing_ends_a_throttle_that_still_works(start: Start, slow: Slow) -> None:
    """Whoever heals does not run after a throttle that stops the process again and again."""
    program = start(SLEEPS)
    program.line()
    throttle = slow(program.id, 30, 40)
    begin(throttle)
    wait_for(lambda: stopped(program.id))
    heal(ResumeProcess(processes=(program.id,)))
    assert throttle.process.wait(30) == -signal.SIGKILL
    assert not stopped(program.id)
