"""Healing what unfinished runs left behind: faults first, then processes, each verified to be gone.

Touches only what journals say our runs injected, never `/reset`, never a run whose conductor is alive. One
thing that cannot be healed never prevents the others.
"""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from pydantic import ValidationError

from chaos import registry
from chaos.faults.heal import heal as perform
from chaos.journal import HealFailed, Journal, Outstanding, ProxyServerReady, outstanding, read_events

KEEPER_PATIENCE_S = 20.0
END_PATIENCE_S = 3.0
LOOKS = 3


@dataclass
class HealReport:
    """What was done, in sentences; `left` is what may still be in place, and `alive` what was left alone."""

    done: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    alive: list[str] = field(default_factory=list)


def heal_leftovers() -> HealReport:
    """Heal every registered stage whose conductor is dead."""
    report = HealReport()
    for stage in list(registry.stages()):
        try:
            _heal_stage(stage, report)
        except FileNotFoundError:
            continue  # it ended, and was forgotten, while we looked
        except ValueError:
            report.left.append(
                f"stage {stage.stage}: its entry {stage.entry_path} is damaged, so its runs are not known: "
                "heal each with `brownout heal RUN`, then delete it"
            )
    return report


def heal_run(folder: Path) -> HealReport:
    """Heal one run by its folder, whether or not the registry knows it; a live run is left alone.

    Raises:
        OSError: there is no journal to read in `folder`.
        ValueError: the journal is damaged.
    """
    report = HealReport()
    for stage in list(registry.stages()):
        with contextlib.suppress(FileNotFoundError, ValidationError):
            if str(folder.resolve()) in stage.read().runs:
                _heal_stage(stage, report)
                return report
    _heal_journal(folder, report, ended=set())
    return report


def _heal_stage(stage: registry.Stage, report: HealReport) -> None:
    entry = stage.read()
    if stage.conductor_alive():
        runs = ", ".join(Path(run).name for run in entry.runs) or stage.stage
        report.alive.append(f"{runs} is running (pid {entry.conductor}): left alone")
        return
    _hurry_keeper(stage)
    left_before = len(report.left)
    ours = {
        event.api
        for run in entry.runs
        for event in _events(Path(run))
        if isinstance(event, ProxyServerReady) and event.ours
    }
    for run in entry.runs:
        # Through our own proxy while it still answers; its process is ended next in any case.
        _heal_journal(Path(run), report, ended=ours)
    _end_processes(stage, report)
    if len(report.left) == left_before:
        stage.forget()


def _hurry_keeper(stage: registry.Stage) -> None:
    """A keeper that outlived its conductor heals on SIGTERM at once; wait until it is done."""
    until = time.monotonic() + KEEPER_PATIENCE_S
    while stage.alive() and time.monotonic() < until:
        for process in registry.processes_of(stage.stage):
            with contextlib.suppress(psutil.Error):
                if "chaos.keeper" in process.cmdline():
                    process.send_signal(signal.SIGTERM)
        time.sleep(0.05)


def _events(folder: Path) -> list[object]:
    try:
        return list(read_events(folder / "events.jsonl"))
    except (OSError, ValueError):
        return []


def _heal_journal(folder: Path, report: HealReport, *, ended: set[str]) -> None:
    """Undo what the journal leaves open. `ended` are APIs whose process ends with the stage."""
    path = folder / "events.jsonl"
    if not path.exists():
        return  # the run was registered and died before its first event: nothing was done
    try:
        todo = outstanding(read_events(path))
    except (OSError, ValueError) as error:
        report.left.append(
            f"{folder.name}: its journal cannot be read ({error}); what it injected is unknown"
        )
        return
    if not todo:
        return
    journal = Journal(path)
    try:
        for item in todo:
            _undo(item, journal, folder.name, report, ended)
    finally:
        journal.close()


def _undo(item: Outstanding, journal: Journal, run: str, report: HealReport, ended: set[str]) -> None:
    try:
        perform(item.undo)
    except (OSError, ValueError) as error:
        if item.undo.server not in ended:
            journal.record(HealFailed(subject=item.key, reason=str(error), by="heal"))
            report.left.append(f"{run}: {item.key} at {item.undo.where} may still be in place: {error}")
            return
        # Its proxy was a process of the run: what it carried is gone with it.
    journal.record(item.done.model_copy(update={"by": "heal"}))
    report.done.append(f"{run}: {item.key} healed")


def end_processes(processes: Iterable[psutil.Process]) -> list[psutil.Process]:
    """SIGTERM, then SIGKILL after `END_PATIENCE_S`; what still lives after that."""
    living = list(processes)
    for process in living:
        with contextlib.suppress(psutil.Error):
            process.terminate()
    _, living = psutil.wait_procs(living, timeout=END_PATIENCE_S)
    for process in living:
        with contextlib.suppress(psutil.Error):
            process.kill()
    _, living = psutil.wait_procs(living, timeout=END_PATIENCE_S)
    return [process for process in living if _lives(process)]


def _lives(process: psutil.Process) -> bool:
    """A zombie has ended; that nobody has reaped it yet (a container without an init) is not our business."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def _end_processes(stage: registry.Stage, report: HealReport) -> None:
    ended = 0
    for _ in range(LOOKS):  # again: one that was in the midst of its exec showed no mark the first time
        found = registry.processes_of(stage.stage)
        if not found:
            break
        stubborn = end_processes(found)
        report.left += [f"process {p.pid} of stage {stage.stage} does not end" for p in stubborn]
        ended += len(found) - len(stubborn)
        if stubborn:
            break
    if ended:
        report.done.append(f"{ended} process{'es' if ended > 1 else ''} of a dead run ended")
