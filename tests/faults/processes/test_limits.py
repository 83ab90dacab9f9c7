"""Less memory, fewer descriptors: felt by the process while it lasts, and given back in full."""

from __future__ import annotations

import os
import resource

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaos.faults.processes import limits
from chaos.faults.processes.heal import heal
from chaos.faults.processes.identity import tree
from chaos.faults.undo import Limit, ProcessId, RestoreLimit

from .conftest import Program, Start, wait_for

MIB = 1 << 20
# Answers each line: what it could have.
ASKS = """
import errno, os, resource, subprocess, sys
null = os.open("/dev/null", os.O_RDONLY)
for line in sys.stdin:
    word, *rest = line.split()
    if word == "alloc":
        try:
            bytearray(int(rest[0]))
            said = "ok"
        except MemoryError:
            said = "MemoryError"
    elif word == "open":
        taken = []
        try:
            while len(taken) < int(rest[0]):
                taken.append(os.dup(null))
            said = f"{len(taken)}"
        except OSError as error:
            said = f"{len(taken)} {errno.errorcode[error.errno]}"
        for fd in taken:
            os.close(fd)
    elif word == "occupy":
        os.dup2(null, int(rest[0]))
        said = "ok"
    elif word == "hard":
        resource.setrlimit(resource.RLIMIT_NOFILE, (int(rest[0]), int(rest[0])))
        said = "ok"
    elif word == "fork":
        pid = os.fork()
        if pid == 0:
            if rest:
                resource.setrlimit(resource.RLIMIT_NOFILE, (int(rest[0]), 4096))
            os.write(1, b"%d\\n" % os.getpid())
            os.close(0)
            import time
            time.sleep(600)
        continue
    os.write(1, said.encode() + b"\\n")
"""
NUMBERS = {"memory": psutil.RLIMIT_AS, "files": psutil.RLIMIT_NOFILE}


def asked(start: Start, files: int = 1024) -> Program:
    """A process with limits that are known: `files` descriptors, at most 4096."""

    def known() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, 4096))

    program = start(ASKS, preexec_fn=known)
    assert program.ask("open 1") == "1"  # it is up
    return program


def as_it_is(program: Program, kind: limits.Resource) -> RestoreLimit:
    """What gives the limits of a process and its children back."""
    return RestoreLimit(resource=kind, limits=limits.limits_of(tree(program.id), kind))


def limit(pid: int, kind: limits.Resource) -> tuple[int, int]:
    """Soft and hard."""
    return psutil.Process(pid).rlimit(NUMBERS[kind])


def test_a_process_without_memory_fails_to_allocate(start: Start) -> None:
    """A large allocation fails, a small one does not; healed, the large one succeeds again."""
    program = asked(start)
    assert program.ask(f"alloc {256 * MIB}") == "ok"
    was, before = as_it_is(program, "memory"), limit(program.pid, "memory")
    limits.confine(was, 64 * MIB)
    assert limits.confined(was)
    assert program.ask(f"alloc {256 * MIB}") == "MemoryError"
    assert program.ask(f"alloc {MIB}") == "ok"
    assert limit(program.pid, "memory")[1] == before[1]
    heal(was)
    assert not limits.confined(was)
    assert program.ask(f"alloc {256 * MIB}") == "ok"
    assert limit(program.pid, "memory") == before


@pytest.mark.parametrize("headroom", [0, 1, 7])
@pytest.mark.parametrize("occupied", [(), (20, 21, 300)])
def test_a_process_has_just_its_headroom_of_descriptors(
    start: Start, headroom: int, occupied: tuple[int, ...]
) -> None:
    """It opens `headroom` more, then EMFILE, also where its descriptors have gaps; healed, as many as ever."""
    program = asked(start)
    for number in occupied:
        program.ask(f"occupy {number}")
    was = as_it_is(program, "files")
    limits.confine(was, headroom)
    assert program.ask("open 50") == f"{headroom} EMFILE"
    assert limit(program.pid, "files")[1] == 4096
    heal(was)
    assert program.ask("open 50") == "50"
    assert limit(program.pid, "files") == (1024, 4096)


def test_healing_is_idempotent(start: Start) -> None:
    """Before, twice, and after the process has gone."""
    program = asked(start)
    was = as_it_is(program, "files")
    heal(was)
    limits.confine(was, 0)
    heal(was)
    heal(was)
    assert limit(program.pid, "files") == (1024, 4096)
    program.end()
    heal(was)


def test_a_limit_is_never_raised(start: Start) -> None:
    """A headroom that the process has not got anyway is refused, and nothing is changed."""
    program = asked(start, files=12)
    was = as_it_is(program, "files")
    with pytest.raises(limits.LimitRefused, match="leaves no more than a headroom of 100 as it is"):
        limits.confine(was, 100)
    assert limit(program.pid, "files") == (12, 4096)


def test_processes_that_have_ended_are_no_error(start: Start) -> None:
    """Of a tree whose child ends meanwhile, the others are confined and restored."""
    program = asked(start)
    child = int(program.ask("fork"))
    was = as_it_is(program, "files")
    assert [one.process.pid for one in was.limits] == [program.pid, child]
    os.kill(child, 9)
    wait_for(lambda: psutil.Process(child).status() == psutil.STATUS_ZOMBIE)
    limits.confine(was, 3)
    assert limits.confined(was)
    assert program.ask("open 50") == "3 EMFILE"
    heal(was)
    assert limit(program.pid, "files") == (1024, 4096)


def test_a_dead_process_cannot_be_confined(start: Start) -> None:
    """A fault that would strike nobody says so."""
    program = asked(start)
    was = as_it_is(program, "files")
    program.end()
    with pytest.raises(limits.LimitRefused):
        limits.confine(was, 0)
    assert not limits.confined(was)


def test_another_process_with_the_pid_is_left_alone(start: Start) -> None:
    """Limits go by pid and start time."""
    program = asked(start)
    other = ProcessId(pid=program.pid, started=str(int(program.id.started) - 1))
    heal(RestoreLimit(resource="files", limits=(Limit(process=other, soft=16, hard=4096),)))
    assert limit(program.pid, "files") == (1024, 4096)
    assert limits.limits_of((other,), "files") == ()


def test_a_child_that_inherited_the_limit_gets_it_back(start: Start) -> None:
    """Children that were started while the fault was in place are healed too, but for those that chose theirs."""
    program = asked(start)
    was = as_it_is(program, "files")
    limits.confine(was, 5)
    inherits, chose = int(program.ask("fork")), int(program.ask("fork 7"))
    assert limit(inherits, "files")[0] < 64
    heal(was)
    assert limit(inherits, "files") == (1024, 4096)
    assert limit(chose, "files") == (7, 4096)


def test_a_hard_limit_that_was_lowered_meanwhile_stays(start: Start) -> None:
    """The process lowers its own hard limit: healing gives back what may be had, and does not raise that."""
    program = asked(start)
    was = as_it_is(program, "files")
    limits.confine(was, 5)
    program.ask("hard 512")
    heal(was)
    assert limit(program.pid, "files") == (512, 512)


@given(st.integers(0, 64), st.sets(st.integers(0, 64)))
def test_the_ceiling_leaves_just_the_headroom(headroom: int, used: set[int]) -> None:
    """Below it, exactly `headroom` numbers are free; one higher, and there would be more."""
    ceiling = limits.ceiling_of(headroom, used)
    free = [number for number in range(ceiling + 1) if number not in used]
    assert len([number for number in free if number < ceiling]) == headroom
    assert ceiling not in used
