"""Undoing a fault of a process, whoever does it: conductor, keeper, or `brownout heal`."""

from __future__ import annotations

from pathlib import Path
from typing import assert_never

from chaos.faults.processes import commands, containers, disk, hosts, limits, signals, starting
from chaos.faults.undo import (
    DeleteFile,
    EndsWithRun,
    ProcessUndo,
    RestoreHosts,
    RestoreLimit,
    ResumeProcess,
    RunCommand,
    RunContainers,
    StartProcess,
)


def heal(undo: ProcessUndo) -> None:
    """Undo it, and see that it is undone; what is not there any more needs no healing. Idempotent.

    Raises:
        OSError: it could not be undone; the message says why.
    """
    match undo:
        case ResumeProcess():
            signals.resume(undo.processes)
        case RestoreLimit():
            limits.restore(undo)
        case StartProcess():
            starting.see_that_it_lives(undo)
        case RunContainers():
            containers.see_that_they_run(undo)
        case DeleteFile():
            disk.empty(Path(undo.path))
        case RestoreHosts():
            hosts.put_back(undo)
        case RunCommand():
            _run(undo)
        case EndsWithRun():
            pass
        case _:
            assert_never(undo)


def _run(undo: RunCommand) -> None:
    commands.run(undo.heal, cwd=undo.cwd, timeout_s=undo.timeout_s)
    if undo.check is not None and commands.succeeds(undo.check, cwd=undo.cwd, timeout_s=undo.timeout_s):
        raise commands.CommandFailed(
            f"`{' '.join(undo.heal)}` ran, but `{' '.join(undo.check)}` still succeeds"
        )
