"""Resource limits of a process and its children: its memory, its file descriptors (prlimit(2), Linux).

Only soft limits are changed, and only downwards. A process that ends while it is looked at is no error.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal

import psutil

from chaos.faults.processes.identity import lives, tree
from chaos.faults.undo import Limit, ProcessId, RestoreLimit

Resource = Literal["memory", "files"]
UNLIMITED: Final = -1


class LimitRefused(OSError):
    """The system refuses the limit, or has none; or the process has less headroom than that as it is."""


def limits_of(processes: tuple[ProcessId, ...], resource: Resource) -> tuple[Limit, ...]:
    """The limits of `processes` as they are now. Raises LimitRefused."""
    found: list[Limit] = []
    for one in processes:
        with _unless_gone(one):
            found.append(_limit(one, resource))
    return tuple(found)


def confine(was: RestoreLimit, headroom: int) -> None:
    """Lower each soft limit to what the process has now, and `headroom` more.

    Raises:
        LimitRefused: the system refuses, or no process has more headroom than that as it is.
    """
    for limit in was.limits:
        with _unless_gone(limit.process):
            soft = _ceiling(limit.process, was.resource, headroom)
            if limit.soft == UNLIMITED or soft < limit.soft:
                _set(limit.process, was.resource, soft)
    if not confined(was):
        raise LimitRefused(f"{was.where} leaves no more than a headroom of {headroom} as it is")


def confined(was: RestoreLimit) -> bool:
    """Whether a process that lives has another soft limit than it had. Raises LimitRefused."""
    for limit in was.limits:
        with _unless_gone(limit.process):
            now = _limit(limit.process, was.resource)
            if now.soft != _within(limit.soft, now.hard):
                return True
    return False


def restore(was: RestoreLimit) -> None:
    """Give each process that still lives its limit back, and read it back; so for children started since.

    Raises:
        LimitRefused: one could not be given back; all others were.
    """
    problem: LimitRefused | None = None
    for one, soft in [(one, limit.soft) for limit in was.limits for one in _heirs(limit, was)]:
        try:
            with _unless_gone(one):
                _set(one, was.resource, soft)
        except LimitRefused as error:
            problem = error
    if problem is not None:
        raise problem
    if confined(was):
        raise LimitRefused(f"{was.where} is not what it was")


def _heirs(limit: Limit, was: RestoreLimit) -> list[ProcessId]:
    """The process, and those below it that were not there before and have inherited the limit it has now."""
    known = {one.process for one in was.limits}
    heirs = [limit.process]
    for below in tree(limit.process):
        if below not in known:
            with _unless_gone(below), _unless_gone(limit.process):
                if _limit(below, was.resource).soft == _limit(limit.process, was.resource).soft:
                    heirs.append(below)
    return heirs


@contextlib.contextmanager
def _unless_gone(process: ProcessId) -> Iterator[None]:
    """What is refused because the process has ended is no failure."""
    try:
        yield
    except LimitRefused:
        if lives(process):
            raise


def _number(resource: Resource) -> int:
    try:
        return int(psutil.RLIMIT_AS if resource == "memory" else psutil.RLIMIT_NOFILE)
    except AttributeError as error:
        raise LimitRefused("limits of another process can only be set on Linux") from error


def _limit(process: ProcessId, resource: Resource) -> Limit:
    if not lives(process):
        raise LimitRefused(f"{process} has ended")
    try:
        soft, hard = psutil.Process(process.pid).rlimit(_number(resource))
    except (psutil.Error, OSError) as error:
        raise LimitRefused(f"the {resource} limit of {process} cannot be read: {error}") from error
    return Limit(process=process, soft=soft, hard=hard)


def _set(process: ProcessId, resource: Resource, soft: int) -> None:
    """Set the soft limit, below the hard one as it is now: the process may have lowered that meanwhile."""
    hard = _limit(process, resource).hard
    try:
        psutil.Process(process.pid).rlimit(_number(resource), (_within(soft, hard), hard))
    except (psutil.Error, ValueError, OSError) as error:
        raise LimitRefused(f"the {resource} limit of {process} cannot be set: {error}") from error


def _within(soft: int, hard: int) -> int:
    if hard == UNLIMITED:
        return soft
    return hard if soft == UNLIMITED else min(soft, hard)


def _ceiling(process: ProcessId, resource: Resource, headroom: int) -> int:
    """Bytes of address space, or a number of descriptors."""
    try:
        if resource == "memory":
            return int(psutil.Process(process.pid).memory_info().vms) + headroom
        used = {int(fd.name) for fd in Path(f"/proc/{process.pid}/fd").iterdir()}
    except (psutil.Error, OSError) as error:
        raise LimitRefused(f"what {process} uses cannot be read: {error}") from error
    return ceiling_of(headroom, used)


def ceiling_of(headroom: int, used: set[int]) -> int:
    """The descriptor number below which just `headroom` are free.

    RLIMIT_NOFILE bounds numbers, and open(2) gives the lowest that is free: gaps are room, too.
    """
    ceiling = headroom
    for number in sorted(used):
        if number <= ceiling:
            ceiling += 1
    return ceiling
