"""Starting a killed process again that is not the run's own: by its command, or by its supervisor."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

from chaos.faults.processes.commands import run
from chaos.faults.processes.identity import NoSuchProcess, pid_in
from chaos.faults.undo import ProcessId, StartProcess

_POLL_S = 0.02


class NotBack(OSError):
    """The process has not come back."""


def present(undo: StartProcess) -> ProcessId | None:
    """The process that the pid file names, if it lives."""
    with contextlib.suppress(OSError):
        return pid_in(Path(undo.pid_file))
    return None


def see_that_it_lives(undo: StartProcess) -> ProcessId:
    """Start it, unless it is there; returns it. Raises NotBack, CommandFailed."""
    until = time.monotonic() + undo.within_s
    if undo.start is not None and present(undo) is None:
        run(undo.start, cwd=undo.cwd, timeout_s=undo.within_s)
    while (found := present(undo)) is None:
        if time.monotonic() > until:
            who = "its supervisor" if undo.start is None else f"`{' '.join(undo.start)}`"
            raise NotBack(
                f"{who} has not brought the process of {undo.pid_file} back within {undo.within_s:g} s"
            ) from NoSuchProcess(undo.pid_file)
        time.sleep(_POLL_S)
    return found
