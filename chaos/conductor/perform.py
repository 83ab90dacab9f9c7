"""Performing a plan: the cues in their time, and whatever happens, the heal.

What can be done before a cue's time is done ahead of it (a phase is announced, an undo is journalled and held
by the keeper, a connection is opened), so that the cue itself comes on time on a busy machine.
A fault is journalled as pending before its request is sent, so an unanswered injection is still healed. A
baseline that is not steady stops the run before any injection. One heal that fails never prevents the others.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from itertools import groupby

from chaos.conductor.ports import Clock, Faults, Load
from chaos.faults.undo import Undo
from chaos.journal import (
    ArrivalsEnded,
    BaselineJudged,
    Event,
    FaultFailed,
    FaultHealed,
    FaultInjected,
    FaultLost,
    FaultPending,
    HealFailed,
    Journal,
    LoadStopped,
    PhaseStarted,
)
from chaos.plan import Cue, Plan, PlannedFault
from chaos.verdict import Ending
from slo.finding import Finding, Window
from slo.objective import Phase

TICK_S = 0.1
QUIET_BEFORE_CUE_S = 0.05
HEAL_TRIES = 3
HEAL_PATIENCE_S = 10.0
HEAL_AGAIN_S = 0.5
AHEAD_S = 0.25


class Stopped(Exception):
    """The run ends before its plan does; `event` is journalled, where there is something to say."""

    def __init__(self, ending: Ending, event: Event | None = None) -> None:
        super().__init__(ending)
        self.ending: Ending = ending
        self.event = event


class Performance:
    """One performance of a plan. `look` is called about every 100 ms and raises `Stopped` to end the run.

    `judge_baseline(window)` says whether to go on: its findings, and whether they are steady enough.
    """

    def __init__(
        self,
        plan: Plan,
        *,
        clock: Clock,
        faults: Faults,
        load: Load,
        journal: Journal,
        look: Callable[[Performance], None],
        judge_baseline: Callable[[Window], tuple[bool, tuple[Finding, ...]]],
        wake: threading.Event,
    ) -> None:
        self.plan = plan
        self.clock = clock
        self.faults = faults
        self.load = load
        self.journal = journal
        self.phase: Phase | None = None
        self.phase_started: dict[Phase, float] = {}
        self.started = 0.0
        self.active: dict[str, tuple[PlannedFault, Undo]] = {}
        self._confirmed: set[str] = set()
        self._unhealed: dict[str, Undo] = {}
        self._look = look
        self._judge_baseline = judge_baseline
        self._wake = wake
        self._planned = {fault.name: fault for fault in plan.faults}
        self._refused: set[str] = set()

    def perform(self) -> Ending:
        """Perform every cue; returns how it ended. Faults are healed before this returns or raises."""
        self.started = self.clock.now() + AHEAD_S
        ending: Ending = "completed"
        try:
            for at_s, group in groupby(self.plan.cues, key=lambda cue: cue.at_s):
                due, cues = self.started + at_s, tuple(group)
                self._wait(due - AHEAD_S)
                self._prepare(cues, due)
                self._wait(due)
                for cue in cues:
                    self._do(cue)
        except Stopped as stopped:
            ending = stopped.ending
            if stopped.event is not None:
                self.journal.record(stopped.event)
        finally:
            try:
                self.heal_all()
                self.journal.record(ArrivalsEnded())
            finally:
                complete = self.load.stop()
            self.journal.record(LoadStopped(complete=complete))
        return ending

    def heal_all(self) -> None:
        """Heal what is in place, last injected first. Raises OSError after all, if one was not journalled."""
        problem: OSError | None = None
        for name in reversed(list(self.active)):
            try:
                self._heal(name)
            except OSError as error:
                problem = error
        self._heal_the_rest()
        if problem is not None:
            raise problem

    def _heal_the_rest(self) -> None:
        """What could not be healed is tried again for a while: its proxy server may be starting anew."""
        until = self.clock.now() + HEAL_PATIENCE_S
        while self._unhealed and self.clock.now() < until:
            self.clock.wait(self.clock.now() + HEAL_AGAIN_S, threading.Event())
            for name, undo in list(self._unhealed.items()):
                if self._take_away(name, undo) is None:
                    del self._unhealed[name]
                    self.journal.record(FaultHealed(fault=name))

    def _wait(self, until: float) -> None:
        """Until the cue's time; looks around on the way, but not so shortly before it as to be late."""
        self._look(self)
        while (left := until - self.clock.now()) > 0:
            if left <= QUIET_BEFORE_CUE_S + TICK_S:
                self.clock.wait(until, self._wake)
            else:
                self.clock.wait(self.clock.now() + TICK_S, self._wake)
            if self._wake.is_set() or left > QUIET_BEFORE_CUE_S + TICK_S:
                self._look(self)

    def _prepare(self, cues: tuple[Cue, ...], due: float) -> None:
        """All of the cues of one time that needs not wait for it."""
        heals = any(cue.action == "heal" for cue in cues)
        for cue in cues:
            if cue.action == "phase":
                phase = self._phase_of(cue)
                if phase == "fault":
                    self._check_baseline()
                if not heals:  # else it begins when all is healed
                    self._announce(phase, due)
            elif cue.action == "inject":
                self._arm(self._planned[cue.subject], due)

    def _do(self, cue: Cue) -> None:
        match cue.action:
            case "phase":
                self._begin_phase(self._phase_of(cue))
            case "inject":
                self._inject(self._planned[cue.subject])
            case "heal":
                self._heal(cue.subject)
            case "end":
                pass

    def _phase_of(self, cue: Cue) -> Phase:
        return next(phase for phase in self.plan.phases if phase == cue.subject)

    def _check_baseline(self) -> None:
        window = Window(start=self.phase_started["baseline"], end=self.clock.now(), phase="baseline")
        steady, findings = self._judge_baseline(window)
        self.journal.record(BaselineJudged(steady=steady, findings=findings))
        if not steady:
            raise Stopped("not-steady")

    def _announce(self, phase: Phase, at: float) -> None:
        self.phase_started[phase] = at
        self.load.begin(phase, at)

    def _begin_phase(self, phase: Phase) -> None:
        if phase not in self.phase_started:
            self._announce(phase, self.clock.now())
        self.journal.record(PhaseStarted(phase=phase, t=self.phase_started[phase]))
        self.phase = phase

    def _arm(self, fault: PlannedFault, due: float) -> None:
        """Journal the intent, and have the undo held; what fails here is not injected."""
        try:
            undo = self.faults.undo(fault)
        except (OSError, ValueError) as error:
            self._refuse(fault, error)
            return
        self.journal.record(FaultPending(fault=fault.name, undo=undo))
        self.active[fault.name] = (fault, undo)
        try:
            self.faults.arm(fault, undo, max(0.0, due - self.clock.now()))
        except (OSError, ValueError) as error:
            self._refuse(fault, error)

    def _refuse(self, fault: PlannedFault, error: Exception) -> None:
        self._refused.add(fault.name)
        self.journal.record(FaultFailed(fault=fault.name, reason=str(error)))

    def _inject(self, fault: PlannedFault) -> None:
        if fault.name in self._refused:
            return
        try:
            late_s = self.faults.inject(fault, self.active[fault.name][1])
        except (OSError, ValueError) as error:
            # It stays active: an injection that went unanswered may have happened, and is healed like any.
            self._refuse(fault, error)
            return
        self._confirmed.add(fault.name)
        at = 0.0 if late_s is None else self.started + fault.inject_at_s + late_s
        self.journal.record(FaultInjected(fault=fault.name, t=at))

    def _heal(self, name: str) -> None:
        if name not in self.active:
            return
        fault, undo = self.active.pop(name)
        lost = name in self._confirmed and self._lost(fault)
        self._confirmed.discard(name)
        error = self._take_away(name, undo)
        # The journal comes last: one that cannot be written (a full disk) does not prevent the heal.
        if lost:
            self.journal.record(FaultLost(fault=name))
        if error is None:
            self.journal.record(FaultHealed(fault=name, counts=self._counts(fault)))
        else:
            if undo.server is not None:
                self._unhealed[name] = undo
            self.journal.record(HealFailed(subject=name, reason=str(error)))

    def _take_away(self, name: str, undo: Undo) -> Exception | None:
        """Heal, with some patience; what went wrong in the end, or None."""
        error: Exception | None = None
        for _ in range(HEAL_TRIES):
            try:
                self.faults.heal(name, undo)
            except (OSError, ValueError) as failed:
                error = failed
            else:
                return None
        return error

    def on_server(self) -> tuple[Undo, ...]:
        """The undos of what a proxy server carries at present, and has confirmed."""
        undos = (self.active[name][1] for name in self._confirmed)
        return tuple(undo for undo in undos if undo.server is not None)

    def _lost(self, fault: PlannedFault) -> bool:
        try:
            return not self.faults.in_place(fault)
        except (OSError, ValueError):
            return False  # the heal that follows says what is wrong

    def _counts(self, fault: PlannedFault) -> dict[str, int]:
        try:
            return self.faults.counts(fault)
        except (OSError, ValueError):
            return {}  # counting is a courtesy; the heal before it was not
