"""Resource limits of a process and its children: its memory, its file descriptors (prlimit(2), Linux)."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

import psutil

from chaos.faults.processes.identity import lives
from chaos.faults.undo import Limit, ProcessId, RestoreLimit

Resource = Literal["memory", "files"]
UNLIMITED: Final = -1


class LimitRefused(OSError):
    """The system refuses the limit, or has none."""


def limits_of(processes: tuple[ProcessId, ...], resource: Resource) -> tuple[Limit, ...]:
    """The limits of `processes` as they are now. Raises LimitRefused."""
    return tuple(_limit(one, resource) for one in processes if lives(one))


def confine(was: RestoreLimit, headroom: int) -> None:
    """Lower each soft limit to what the process has now, and `headroom` more. Raises LimitRefused."""
    for limit in was.limits:
        if lives(limit.process):
            soft = _used(limit.process, was.resource) + headroom
            if limit.hard != UNLIMITED:
                soft = min(soft, limit.hard)
            _set(limit.process, was.resource, soft, limit.hard)


def confined(was: RestoreLimit) -> bool:
    """Whether a process that lives has another soft limit than it had."""
    return any(_limit(one.process, was.resource).soft != one.soft for one in was.limits if lives(one.process))


def restore(was: RestoreLimit) -> None:
    """Give each process that still lives its limits back, and read them back. Raises LimitRefused."""
    for limit in was.limits:
        if lives(limit.process):
            _set(limit.process, was.resource, limit.soft, limit.hard)
    if confined(was):
        raise LimitRefused(f"{was.where} is not what it was")


def _number(resource: Resource) -> int:
    try:
        return int(psutil.RLIMIT_AS if resource == "memory" else psutil.RLIMIT_NOFILE)
    except AttributeError as error:
        raise LimitRefused("limits of another process can only be set on Linux") from error


def _limit(process: ProcessId, resource: Resource) -> Limit:
    try:
        soft, hard = psutil.Process(process.pid).rlimit(_number(resource))
    except psutil.Error as error:
        raise LimitRefused(f"the {resource} limit of {process} cannot be read: {error}") from error
    return Limit(process=process, soft=soft, hard=hard)


def _set(process: ProcessId, resource: Resource, soft: int, hard: int) -> None:
    try:
        psutil.Process(process.pid).rlimit(_number(resource), (soft, hard))
    except psutil.NoSuchProcess:
        return
    except (psutil.Error, ValueError, OSError) as error:
        raise LimitRefused(f"the {resource} limit of {process} cannot be set: {error}") from error


def _used(process: ProcessId, resource: Resource) -> int:
    """Bytes of address space, or the largest descriptor and one: RLIMIT_NOFILE bounds the number itself."""
    try:
        if resource == "memory":
            return int(psutil.Process(process.pid).memory_info().vms)
        return max((int(fd.name) for fd in Path(f"/proc/{process.pid}/fd").iterdir()), default=-1) + 1
    except (psutil.Error, OSError) as error:
        raise LimitRefused(f"what {process} uses cannot be read: {error}") from error
