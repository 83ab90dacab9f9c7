"""Which process is meant: its pid, and when it was started, so that a pid that was given again is not it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import psutil

from chaos.faults.undo import ProcessId


class NoSuchProcess(OSError):
    """The process is not there (any more)."""


class ProcessForbidden(OSError):
    """A process that no fault may touch: the system's first, ourselves, or one that started us."""


def process_id(pid: int) -> ProcessId:
    """The process that has `pid` now.

    Raises:
        NoSuchProcess: there is none, or it has ended and only its exit code is left (a zombie).
        ProcessForbidden: it must not be touched.
    """
    if pid <= 1 or pid in _our_line():
        raise ProcessForbidden(
            f"process {pid} is the system's first, or the run itself: faults may not touch it"
        )
    started = _started(pid) if psutil.pid_exists(pid) else None  # the id of a thread is none of a process
    if started is None:
        raise NoSuchProcess(f"there is no process {pid}")
    return ProcessId(pid=pid, started=started)


def pid_in(path: Path) -> ProcessId:
    """The process whose pid is in a file. Raises NoSuchProcess, ProcessForbidden, OSError."""
    text = path.read_text(errors="replace").strip()
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise NoSuchProcess(f"{path}: expected the pid of a process, got {text[:40]!r}")
    try:
        return process_id(int(text))
    except NoSuchProcess as error:
        raise NoSuchProcess(f"{path}: {error}") from error


def lives(process: ProcessId) -> bool:
    """Whether it is still there; a zombie is not."""
    return _started(process.pid) == process.started


def stopped(process: ProcessId) -> bool:
    """Whether it is there, and stopped by a signal."""
    try:
        return lives(process) and psutil.Process(process.pid).status() == psutil.STATUS_STOPPED
    except psutil.Error:
        return False


def tree(process: ProcessId) -> tuple[ProcessId, ...]:
    """The process, if it is there, and all its descendants; parents first."""
    if not lives(process):
        return ()
    try:
        below = psutil.Process(process.pid).children(recursive=True)
    except psutil.Error:
        return ()
    found = ((child.pid, _started(child.pid)) for child in below)
    return (process, *(ProcessId(pid=pid, started=at) for pid, at in found if at is not None))


def trees(processes: tuple[ProcessId, ...]) -> tuple[ProcessId, ...]:
    """The trees of all `processes`, each process once."""
    return tuple(dict.fromkeys(found for process in processes for found in tree(process)))


def _started(pid: int) -> str | None:
    """When a living process was started: in clock ticks since boot, which no change of the clock moves."""
    stat = Path(f"/proc/{pid}/stat")
    try:
        if stat.parent.parent.joinpath("self").exists():
            # Fields after the name, which is in brackets and may hold anything: proc_pid_stat(5), 3 and 22.
            fields = stat.read_text(errors="replace").rpartition(")")[2].split()
            return None if fields[0] in "ZX" else fields[19]
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else f"{process.create_time():.2f}"
    except (OSError, psutil.Error):
        return None


def _our_line() -> Iterator[int]:
    """Ourselves, and those that started us."""
    yield os.getpid()
    try:
        yield from (parent.pid for parent in psutil.Process().parents())
    except psutil.Error:
        return
