"""The journal: plan and events, on disk as they happen; readable after a kill at any moment.

Each event is one line of `events.jsonl`, flushed before its effect is begun. A fault is journalled as
pending before its request is sent, so that an unanswered injection is still healed.
"""

from __future__ import annotations

import errno
import json
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from chaos.faults.undo import Undo
from chaos.verdict import Ending
from slo.finding import Finding
from slo.model import Model
from slo.objective import Phase


class _Event(Model):
    """`t` is Unix seconds, taken when the event was recorded."""

    t: float = 0.0


class RunStarted(_Event):
    """The first line: who runs what."""

    event: Literal["run-started"] = "run-started"
    run: str
    version: str
    pid: int
    repeat: str


class ProxyServerReady(_Event):
    """The proxy server answers. `ours`: the run started it, so what it carries ends with its process."""

    event: Literal["proxy-server-ready"] = "proxy-server-ready"
    api: str
    server: str
    ours: bool


class ProxyReady(_Event):
    """The proxy of a place stands in front of `upstream`; `name` is what the proxy server calls it."""

    event: Literal["proxy-ready"] = "proxy-ready"
    place: str
    name: str
    listen: str
    upstream: str


class ProxyPending(_Event):
    """A proxy is about to be created on the server."""

    event: Literal["proxy-pending"] = "proxy-pending"
    name: str
    undo: Undo


class ServiceReady(_Event):
    """A service answered its health check."""

    event: Literal["service-ready"] = "service-ready"
    service: str
    address: str


class LoadReady(_Event):
    """The generator is up; its arrivals begin with the baseline."""

    event: Literal["load-ready"] = "load-ready"


class PhaseStarted(_Event):
    """A phase begins: operations whose intended start is at or after `t` belong to it."""

    event: Literal["phase-started"] = "phase-started"
    phase: Phase


class BaselineJudged(_Event):
    """Whether the baseline was steady enough to go on."""

    event: Literal["baseline-judged"] = "baseline-judged"
    steady: bool
    findings: tuple[Finding, ...]


class FaultPending(_Event):
    """A fault is about to be injected; `undo` takes it away, whether or not the injection is answered."""

    event: Literal["fault-pending"] = "fault-pending"
    fault: str
    undo: Undo


class FaultInjected(_Event):
    """The proxy confirmed the fault."""

    event: Literal["fault-injected"] = "fault-injected"
    fault: str


class FaultFailed(_Event):
    """The proxy refused the fault, or did not answer."""

    event: Literal["fault-failed"] = "fault-failed"
    fault: str
    reason: str


class FaultLost(_Event):
    """When it was to be healed the fault was not there any more: nobody knows since when."""

    event: Literal["fault-lost"] = "fault-lost"
    fault: str


class FaultHealed(_Event):
    """The fault is gone, and that was verified. `counts` is what the proxy counted of it, where it counts."""

    event: Literal["fault-healed"] = "fault-healed"
    fault: str
    by: Literal["conductor", "keeper", "heal"] = "conductor"
    counts: dict[str, int] = Field(default_factory=dict)


class ProxyRemoved(_Event):
    """A proxy that the run created is gone."""

    event: Literal["proxy-removed"] = "proxy-removed"
    name: str
    by: Literal["conductor", "keeper", "heal"] = "conductor"


class HealFailed(_Event):
    """Something could not be taken away: what, and why."""

    event: Literal["heal-failed"] = "heal-failed"
    subject: str
    reason: str
    by: Literal["conductor", "keeper", "heal"] = "conductor"


class ConditionMet(_Event):
    """An `abort` condition holds: the run stops. `objective` is set when it was an objective's breach."""

    event: Literal["condition-met"] = "condition-met"
    condition: str
    objective: str | None = None


class SetupFailed(_Event):
    """The run ended before any injection: something was not ready."""

    event: Literal["setup-failed"] = "setup-failed"
    reason: str


class PartDied(_Event):
    """A process that the run depends on ended by itself: the run cannot pass."""

    event: Literal["part-died"] = "part-died"
    part: str
    reason: str


class ArrivalsEnded(_Event):
    """No more arrivals after this; open operations are given their time to finish."""

    event: Literal["arrivals-ended"] = "arrivals-ended"


class LoadStopped(_Event):
    """The generator has ended."""

    event: Literal["load-stopped"] = "load-stopped"
    complete: bool = Field(description="The generator reported its last numbers before it ended.")


class WorkerJoined(_Event):
    """A worker on another machine was admitted. Its clock is `offset_s` behind ours, within `error_s`."""

    event: Literal["worker-joined"] = "worker-joined"
    worker: str
    machine: str
    offset_s: float
    error_s: float


class WorkerRefused(_Event):
    """Somebody at the master's port was not admitted, or sent what no admitted worker sends."""

    event: Literal["worker-refused"] = "worker-refused"
    who: str
    reason: str


class WorkerLost(_Event):
    """A worker is gone. The survivors serve what was its from `resumed` on (Unix seconds).

    What was due for it from `since`, its last report, until then is lost, and so are the `open` users that
    it had then: their numbers are in no report.
    """

    event: Literal["worker-lost"] = "worker-lost"
    worker: str
    reason: str
    since: float
    resumed: float
    open: int
    survivors: tuple[str, ...]


class HistoryLost(_Event):
    """What a worker wrote down did not come in; its reports had counted `attempts`."""

    event: Literal["history-lost"] = "history-lost"
    worker: str
    reason: str
    attempts: int


class HitsMissed(_Event):
    """The record of what was struck at a place lacks `missed` messages or more, for this `reason`."""

    event: Literal["hits-missed"] = "hits-missed"
    place: str
    missed: int
    reason: str = ""


class RunEnded(_Event):
    """The last line of a run that ended in order."""

    event: Literal["run-ended"] = "run-ended"
    ending: Ending


Event = Annotated[
    RunStarted
    | ProxyServerReady
    | ProxyPending
    | ProxyReady
    | ServiceReady
    | LoadReady
    | PhaseStarted
    | BaselineJudged
    | FaultPending
    | FaultInjected
    | FaultFailed
    | FaultLost
    | FaultHealed
    | ProxyRemoved
    | HealFailed
    | ConditionMet
    | SetupFailed
    | PartDied
    | ArrivalsEnded
    | LoadStopped
    | WorkerJoined
    | WorkerRefused
    | WorkerLost
    | HistoryLost
    | HitsMissed
    | RunEnded,
    Field(discriminator="event"),
]
_EVENT: TypeAdapter[Event] = TypeAdapter(Event)


class Journal:
    """Appends events to a file. One `write` a line, so that lines of several processes do not mix.

    `tell` is given each line, for people who want to watch.
    """

    def __init__(
        self,
        path: Path,
        now: Callable[[], float] = time.time,
        tell: Callable[[str], None] | None = None,
    ) -> None:
        self.path = path
        self._now = now
        self._tell = tell
        self.events: list[Event] = []
        self._lock = threading.Lock()
        self._file = path.open("ab", buffering=0)
        self._torn = torn(path)

    def record(self, event: Event) -> Event:
        """Stamp `event` with the time, append it, and return it as recorded. Raises OSError (a full disk)."""
        with self._lock:
            stamped = event.model_copy(update={"t": self._now()}) if not event.t else event
            line = stamped.model_dump_json()
            self._append(line.encode() + b"\n")
            self.events.append(stamped)
        if self._tell is not None:
            self._tell(line)
        return stamped

    def _append(self, line: bytes) -> None:
        """Write a whole line, or raise OSError: a disk that fills up takes part of one and says nothing."""
        if self._torn:
            line = b"\n" + line
        written = self._file.write(line)
        self._torn = written != len(line)
        if self._torn:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))

    def close(self) -> None:
        """Close the file; recording after this is an error."""
        self._file.close()


def torn(path: Path) -> bool:
    """Whether the last line of a file was cut short, so that an append must begin a line of its own."""
    with path.open("rb") as file:
        if file.seek(0, 2) == 0:
            return False
        file.seek(-1, 2)
        return file.read(1) != b"\n"


def read_events(path: Path) -> Iterator[Event]:
    """The events of a journal, in order. A last line that was cut short by a kill is left out.

    Raises:
        OSError: the file cannot be read.
        ValueError: a line other than the last is no event.
    """
    lines = path.read_bytes().split(b"\n")
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            yield _EVENT.validate_json(line)
        except ValueError as error:
            if number == len(lines):
                return
            try:
                json.loads(line)
            except ValueError:
                continue
            raise ValueError(f"{path}:{number}: no event that this version knows: {error}") from error


class Outstanding(Model):
    """Something that a journal says was begun and does not say was undone.

    `since` is when it was begun (Unix seconds); `answered` is whether its injection is known to be over: one
    whose sender was killed may still be under way.
    """

    key: str
    undo: Undo
    done: FaultHealed | ProxyRemoved
    since: float = 0.0
    answered: bool = False


def outstanding(events: Iterable[Event]) -> list[Outstanding]:
    """What is still to be undone, last injected first; proxies after the toxics that they carry."""
    faults: dict[str, Outstanding] = {}
    proxies: dict[str, Outstanding] = {}
    for event in events:
        match event:
            case FaultPending():
                done = FaultHealed(fault=event.fault)
                faults[event.fault] = Outstanding(key=event.fault, undo=event.undo, done=done, since=event.t)
            case FaultInjected() if event.fault in faults:
                faults[event.fault] = faults[event.fault].model_copy(update={"answered": True})
            case FaultHealed():
                faults.pop(event.fault, None)
            case ProxyPending():
                removed = ProxyRemoved(name=event.name)
                proxies[event.name] = Outstanding(
                    key=event.name, undo=event.undo, done=removed, since=event.t
                )
            case ProxyReady() if event.name in proxies:
                proxies[event.name] = proxies[event.name].model_copy(update={"answered": True})
            case ProxyRemoved():
                proxies.pop(event.name, None)
            case _:
                pass
    return [*reversed(faults.values()), *reversed(proxies.values())]
