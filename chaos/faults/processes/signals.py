"""Stopping, resuming and killing a process with all its children."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable

import psutil

from chaos.faults.processes.identity import lives, process_id, stopped, trees
from chaos.faults.undo import ProcessId

_TURNS = 10
_POLL_S = 0.005
SETTLES_WITHIN_S = 5.0


class NotDone(OSError):
    """A process did not become what it was told to."""


def pause(known: tuple[ProcessId, ...]) -> None:
    """Stop a tree (SIGSTOP), its root first, and the children that it has started since. Raises NotDone."""
    running = _stop(known)
    if not lives(known[0]):
        raise NotDone(f"{known[0]} has ended, and cannot be stopped")
    if running:
        raise NotDone(f"{running[0]} was sent SIGSTOP, and is not stopped")


def resume(processes: tuple[ProcessId, ...]) -> None:
    """Let them and their children go on (SIGCONT); what kept stopping them is ended. Raises NotDone."""
    end_throttles(processes)
    there = trees(processes)
    for one in reversed(there):  # children first: a parent that waits for one finds it running
        with contextlib.suppress(OSError):  # the others go on all the same; what stays stopped is told below
            _send(one, signal.SIGCONT)
    if not _until(lambda: not any(stopped(one) for one in there)):
        raise NotDone(f"{next(one for one in there if stopped(one))} was sent SIGCONT, and is still stopped")


def kill(known: tuple[ProcessId, ...], number: signal.Signals, *, grace_s: float = 0.0) -> None:
    """Send `number` to a tree, its root first; what lives after `grace_s` is killed.

    `known` is what the tree was; children that were started since are struck, too.

    Raises:
        NotDone: the root had ended already, or does not end.
    """
    process = known[0]
    if not lives(process):
        raise NotDone(f"{process} had ended before it was killed")
    _stop(known)  # what is stopped starts no more children, which would be orphans that nobody finds
    whole = tuple(dict.fromkeys((*known, *trees(known))))
    for one in whole:
        _send(one, number)
    for one in whole if number is not signal.SIGKILL else ():
        _send(one, signal.SIGCONT)
    if number is not signal.SIGKILL and not _until(lambda: not any(map(lives, whole)), grace_s):
        for one in dict.fromkeys((*whole, *trees(whole))):
            _send(one, signal.SIGKILL)
    if not _until(lambda: not lives(process)):
        raise NotDone(f"{process} was killed, and is still there")


def end_throttles(processes: tuple[ProcessId, ...]) -> None:
    """End whatever stops one of `processes` again and again (see `throttle`)."""
    wanted = {f"{one.pid}/{one.started}" for one in processes}
    throttles: list[ProcessId] = []
    for found in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            line = found.cmdline()
            if "chaos.faults.processes.throttle" in line and wanted & set(line):
                throttles.append(process_id(found.pid))
                found.kill()
    _until(lambda: not any(map(lives, throttles)))  # not by waiting for it, which is its parent's right


def _stop(known: tuple[ProcessId, ...]) -> list[ProcessId]:
    """Stop a tree and the children that it has started since; what still runs after some patience."""
    for one in known:
        _send(one, signal.SIGSTOP)
    for _ in range(_TURNS):
        running = [one for one in trees(known) if not stopped(one)]
        if not running:
            return []
        for one in running:
            _send(one, signal.SIGSTOP)
        _until(lambda: all(stopped(one) or not lives(one) for one in running))  # noqa: B023 - called at once
    return [one for one in trees(known) if not stopped(one)]


def _send(process: ProcessId, number: signal.Signals) -> None:
    if lives(process):
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, number)


def _until(true: Callable[[], bool], within_s: float = SETTLES_WITHIN_S) -> bool:
    until = time.monotonic() + within_s
    while not true():
        if time.monotonic() > until:
            return False
        time.sleep(_POLL_S)
    return True
