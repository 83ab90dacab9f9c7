"""A small plan, and a performance of it on fakes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from chaos.conductor.perform import Performance
from chaos.journal import Event, Journal
from chaos.plan import Cue, Plan, PlannedFault, PlannedProxy, PlannedService, PlannedWorkload
from chaos.testing import FakeClock, FakeFaults, FakeLoad
from loadtests.options.episode import EpisodeProfile
from slo.finding import Finding, Window


def small_plan(*faults: str) -> Plan:
    """Baseline 3 s, fault 6 s, recovery 3 s; the faults one second apart, each healed with the phase."""
    names = faults or ("late",)
    return Plan(
        experiment="small",
        target="somewhere",
        seed=1,
        lease_s=10,
        deadline_s=60,
        phases={"baseline": 3, "fault": 6, "recovery": 3},
        services=(PlannedService(name="env", address="127.0.0.1:1"),),
        proxies=(PlannedProxy(name="env", service="env"),),
        workloads=(
            PlannedWorkload(
                name="episodes",
                place="env",
                profile=EpisodeProfile(user="episode", service="env", arrivals="8/s"),
            ),
        ),
        boundaries={},
        faults=tuple(
            PlannedFault(
                name=name, place="env", type="latency", inject_at_s=3.0 + i, heal_at_s=9.0, effects=()
            )
            for i, name in enumerate(names)
        ),
        requirements=(),
        cues=(
            Cue(at_s=0, action="phase", subject="baseline"),
            Cue(at_s=3, action="phase", subject="fault"),
            *(Cue(at_s=3.0 + i, action="inject", subject=name) for i, name in enumerate(names)),
            *(Cue(at_s=9, action="heal", subject=name) for name in names),
            Cue(at_s=9, action="phase", subject="recovery"),
            Cue(at_s=12, action="end", subject="run"),
        ),
    )


@dataclass
class Rehearsal:
    """A performance on fakes, and all of its parts."""

    performance: Performance
    clock: FakeClock
    faults: FakeFaults
    load: FakeLoad
    journal: Journal
    wake: threading.Event

    @property
    def events(self) -> list[Event]:
        """What was journalled."""
        return self.journal.events


Rehearse = Callable[..., Rehearsal]


@pytest.fixture
def rehearse(tmp_path: Path):
    """Makes a rehearsal of a plan; `look` is called as the conductor's, with the performance."""
    journals: list[Journal] = []

    def make(
        plan: Plan | None = None,
        *,
        faults: FakeFaults | None = None,
        look: Callable[[Performance], None] = lambda _: None,
        steady: bool = True,
    ) -> Rehearsal:
        clock, load, wake = FakeClock(), FakeLoad(), threading.Event()
        faults = faults or FakeFaults()
        journal = Journal(tmp_path / f"events-{len(journals)}.jsonl", clock.now)
        journals.append(journal)

        def judge(window: Window) -> tuple[bool, tuple[Finding, ...]]:
            return steady, ()

        performance = Performance(
            plan or small_plan(),
            clock=clock,
            faults=faults,
            load=load,
            journal=journal,
            look=look,
            judge_baseline=judge,
            wake=wake,
        )
        return Rehearsal(performance, clock, faults, load, journal, wake)

    yield make
    for journal in journals:
        journal.close()
