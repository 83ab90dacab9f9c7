"""A verdict: the worst finding of a run, with reasons, and everything that a reader needs to trust it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, JsonValue

from slo.finding import Finding
from slo.model import Model
from slo.outcome import Outcome

Ending = Literal[
    "completed",
    "condition",
    "stopped",
    "interrupted",
    "terminated",
    "setup-failed",
    "not-steady",
    "part-died",
    "overran",
    "died",
]
"""How the run ended: as planned; by an `abort` condition; by a person; by SIGINT; by SIGTERM; before any
injection because set-up failed, or because the baseline was not steady; because a process that it depends on
died; past its time; without a word (the conductor itself died)."""


class PhaseSpan(Model):
    """When a phase really was, in Unix seconds, by the journal."""

    phase: str
    start: float
    end: float


class FaultReport(Model):
    """One fault as it happened: when, where, how strong, what showed that it acted, whether it is gone."""

    name: str
    place: str
    type: str
    stream: str
    toxicity: float
    attributes: dict[str, JsonValue] = Field(default_factory=dict)
    where: dict[str, JsonValue] = Field(
        default_factory=dict, description="At layer 7: which messages it might strike."
    )
    means: str = Field("", description="The signal, the host or the command, where the type does not say it.")
    injected_at: float | None = None
    healed_at: float | None = None
    healed: bool = False
    effect: Finding | None = None
    counts: dict[str, int] = Field(
        default_factory=dict, description="What the proxy counted, where it counts."
    )


class LoadReport(Model):
    """What the generator did: it vouches that the load was there."""

    arrivals: int = 0
    dropped: int = 0
    lost: int = 0
    late: int = 0
    operations: int = 0
    retries: int = 0
    unfinished: int = 0


class Verdict(Model):
    """What one run came to. `reasons` are sentences, the weightiest first."""

    run: str
    experiment: str
    hypothesis: str = ""
    target: str
    outcome: Outcome
    exit_code: int
    ending: Ending
    reasons: tuple[str, ...]
    seed: int
    repeat: str = Field(description="The command that performs this run again.")
    started_at: float
    ended_at: float
    proxy: str = Field("", description="Which proxy carried the faults, with its version.")
    phases: tuple[PhaseSpan, ...] = ()
    findings: tuple[Finding, ...] = ()
    faults: tuple[FaultReport, ...] = ()
    load: LoadReport = LoadReport()
    left_behind: tuple[str, ...] = Field(default=(), description="What could not be healed, in words.")
