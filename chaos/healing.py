"""Healing what unfinished runs left behind: faults first, then processes, each verified to be gone.

Touches only what journals say our runs injected, never `/reset`, never a run whose conductor is alive. One
thing that cannot be healed never prevents the others.
"""

from __future__ import annotations

import contextlib
import json
import signal
import time
import urllib.parse
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from pydantic import ValidationError

from chaos import registry
from chaos.faults.heal import heal as perform
from chaos.faults.late import may_come_late
from chaos.journal import HealFailed, Journal, Outstanding, ProxyServerReady, outstanding, read_events
from chaos.plan import Plan

KEEPER_PATIENCE_S = 20.0
END_PATIENCE_S = 3.0
LOOKS = 3
LEASE_S = 10.0
"""Of a run whose plan cannot be read: the default."""


@dataclass(frozen=True)
class Left:
    """What may still be in place, in a sentence; and whom it concerns: its target, its proxy server's API."""

    text: str
    targets: tuple[str, ...] = ()
    server: str | None = None

    def __str__(self) -> str:
        return self.text

    def concerns(self, plan: Plan) -> bool:
        """Whether it may disturb a run of `plan`: the same target, or the same proxy server."""
        if plan.target in self.targets:
            return True
        ours, theirs = _server(self.server), _server(plan.toxiproxy)
        return ours is not None and ours == theirs


@dataclass
class HealReport:
    """What was done, in sentences; `left` is what may still be in place, and `alive` what was left alone."""

    done: list[str] = field(default_factory=list)
    left: list[Left] = field(default_factory=list)
    alive: list[str] = field(default_factory=list)


def _server(url: str | None) -> str | None:
    """host:port of an API, as one name for one server on this machine."""
    if url is None:
        return None
    parts = urllib.parse.urlsplit(url)
    host = (parts.hostname or "").lower()
    return f"{'127.0.0.1' if host in ('localhost', '::1') else host}:{parts.port or 80}"


def heal_leftovers() -> HealReport:
    """Heal every registered stage whose conductor is dead."""
    report = HealReport()
    for stage in list(registry.stages()):
        try:
            _heal_stage(stage, report)
        except FileNotFoundError:
            continue  # it ended, and was forgotten, while we looked
        except ValueError:
            text = (
                f"stage {stage.stage}: its entry {stage.entry_path} is damaged, so its runs are not known: "
                "heal each with `brownout heal RUN`, then delete it"
            )
            report.left.append(Left(text))
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
    _end_processes(stage, entry.runs, report)
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
    targets, lease_s = _facts(folder)
    try:
        todo = outstanding(read_events(path))
    except (OSError, ValueError) as error:
        text = f"{folder.name}: its journal cannot be read ({error}); what it injected is unknown"
        report.left.append(Left(text, targets))
        return
    if not todo:
        return
    journal = Journal(path)
    try:
        for item in _settled(todo, lease_s, ended):
            _undo(item, journal, folder, report, ended)
    finally:
        journal.close()


def left_by(folder: Path) -> list[Left]:
    """What the run of a folder may have left in place, by its journal; nothing is touched."""
    targets, _ = _facts(folder)
    try:
        todo = outstanding(read_events(folder / "events.jsonl"))
    except (OSError, ValueError) as error:
        return [Left(f"{folder.name}: its journal cannot be read ({error})", targets)]
    return [
        Left(f"{folder.name}: {item.key} at {item.undo.where}", targets, item.undo.server) for item in todo
    ]


def _facts(folder: Path) -> tuple[tuple[str, ...], float]:
    """Target and lease (seconds) of a run folder, as far as its plan can be read, another version's too."""
    try:
        plan = json.loads((folder / "plan.json").read_bytes())
        return (str(plan["target"]),), float(plan["lease_s"])
    except (OSError, ValueError, KeyError, TypeError):
        return (), LEASE_S


def _settled(todo: list[Outstanding], lease_s: float, ended: set[str]) -> Iterator[Outstanding]:
    """Each of `todo` at a time when undoing it is for good: what may still be coming is undone at once, and
    comes last, a lease after it was begun."""
    now = time.time()
    late = [
        item
        for item in todo
        if not item.answered
        and may_come_late(item.undo)
        and item.undo.server not in ended
        and 0 <= now - item.since < lease_s
    ]
    for item in late:
        with contextlib.suppress(OSError, ValueError):
            perform(item.undo)
    yield from (item for item in todo if item not in late)
    if late:
        until = time.monotonic() + max(item.since for item in late) + lease_s - now
        time.sleep(max(0.0, until - time.monotonic()))
    yield from late


def _undo(item: Outstanding, journal: Journal, folder: Path, report: HealReport, ended: set[str]) -> None:
    run = folder.name
    try:
        perform(item.undo)
    except (OSError, ValueError) as error:
        if item.undo.server not in ended:
            journal.record(HealFailed(subject=item.key, reason=str(error), by="heal"))
            text = f"{run}: {item.key} at {item.undo.where} may still be in place: {error}"
            report.left.append(Left(text, _facts(folder)[0], item.undo.server))
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


def _end_processes(stage: registry.Stage, runs: Iterable[str], report: HealReport) -> None:
    ended = 0
    for _ in range(LOOKS):  # again: one that was in the midst of its exec showed no mark the first time
        found = registry.processes_of(stage.stage)
        if not found:
            break
        stubborn = end_processes(found)
        targets = tuple(sorted({target for run in runs for target in _facts(Path(run))[0]}))
        for process in stubborn:
            report.left.append(Left(f"process {process.pid} of stage {stage.stage} does not end", targets))
        ended += len(found) - len(stubborn)
        if stubborn:
            break
    if ended:
        report.done.append(f"{ended} process{'es' if ended > 1 else ''} of a dead run ended")
