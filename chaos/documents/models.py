"""The documents that people write: Experiment, LoadProfile, Suite, objectives, and the project file.

Targets are in `targets`, faults in `faults`. Pydantic models, frozen, that say what each key means;
`brownout schema` prints them as JSON Schema. Durations are seconds and shares are fractions once parsed.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, Tag, field_validator

from chaos.documents.allowlist import is_host_pattern
from chaos.documents.faults import Fault
from loadtests.arrivals import Arrivals
from loadtests.profile import LoadProfileSpec
from slo.effect import by_key
from slo.metadata import Metadata
from slo.model import Model
from slo.objective import Filter, Phase
from slo.quantities import Duration

API_VERSION = "brownout/v1"
MOST_ITEMS = 100
"""Faults, loads, objectives or stop conditions of one experiment, and members of one suite."""

# --- experiment ---------------------------------------------------------------------------------------------


class Phases(Model):
    """How long each phase lasts."""

    baseline: Duration = Field(
        ge=0.5, description="Undisturbed load: the comparison. Not steady: no injection."
    )
    fault: Duration = Field(ge=0.5)
    recovery: Duration = Field(ge=0.5)


class LoadUse(Model):
    """A load profile as this experiment uses it; what is given here overrides the profile's own."""

    profile: str = Field(min_length=1)
    arrivals: Arrivals | None = None
    process: Literal["constant", "poisson"] | None = None
    users: int | None = Field(None, ge=1, le=100_000)
    pause: Duration | None = Field(None, ge=0)
    with_: dict[str, Any] = Field(default_factory=dict, alias="with")


class ObjectiveUse(Model):
    """An objective as this experiment uses it."""

    ref: str = Field(min_length=1, description="The name (or path) of an SLO, an Invariant or a Recovery.")
    phases: tuple[Phase, ...] | None = Field(
        None,
        min_length=1,
        description="Where it must hold; by default in all three (recoveries: in recovery).",
    )
    min_samples: int = Field(1, ge=1, description="With fewer observations the finding is inconclusive.")
    runbook: str | None = Field(None, description="The runbook of a breach; else the objective's annotation.")


class AbortAfter(Model):
    """Stop the run after this much time."""

    after: Duration = Field(gt=0)


class AbortObjective(Model):
    """Stop the run when this objective is breached (its interval lies wholly on the wrong side)."""

    objective: str = Field(min_length=1)


class AbortThreshold(Model):
    """Stop the run when a sum's increase, a histogram's count or a gauge's value goes above `above`."""

    metric: str = Field(min_length=1)
    filters: dict[str, Filter] = Field(default_factory=dict)
    above: float


class AbortRequests(Model):
    """Stop the run after this many requests, retries included."""

    requests: int = Field(gt=0)


class AbortTokens(Model):
    """Stop the run after this many tokens, as the replies' usage counts them."""

    tokens: int = Field(gt=0)


Abort = Annotated[
    Annotated[AbortAfter, Tag("after")]
    | Annotated[AbortObjective, Tag("objective")]
    | Annotated[AbortThreshold, Tag("metric")]
    | Annotated[AbortRequests, Tag("requests")]
    | Annotated[AbortTokens, Tag("tokens")],
    by_key("after", "objective", "metric", "requests", "tokens", otherwise="after"),
]


def _as_list(value: Any) -> Any:
    if isinstance(value, dict | LoadUse):
        return (value,)
    return tuple(value) if isinstance(value, list) else value


class ExperimentSpec(Model):
    """What to do to a target, and what must hold."""

    hypothesis: str = Field("", description="What should stay true under the fault, in a sentence.")
    target: str = Field(min_length=1)
    load: Annotated[
        tuple[LoadUse, ...],
        BeforeValidator(_as_list, json_schema_input_type=LoadUse | tuple[LoadUse, ...]),
    ] = Field(
        min_length=1, max_length=MOST_ITEMS, description="A load profile, or several that run side by side."
    )
    phases: Phases
    faults: tuple[Fault, ...] = Field(min_length=1, max_length=MOST_ITEMS)
    objectives: tuple[ObjectiveUse, ...] = Field(min_length=1, max_length=MOST_ITEMS)
    abort: tuple[Abort, ...] = Field((), max_length=MOST_ITEMS)


class Experiment(Model):
    """An experiment document."""

    apiVersion: Literal["brownout/v1"]
    kind: Literal["Experiment"]
    metadata: Metadata
    spec: ExperimentSpec


# --- load profile -------------------------------------------------------------------------------------------


class LoadProfile(Model):
    """A load profile document."""

    apiVersion: Literal["brownout/v1"]
    kind: Literal["LoadProfile"]
    metadata: Metadata
    spec: LoadProfileSpec


# --- suite --------------------------------------------------------------------------------------------------


class Member(Model):
    """One experiment of a suite, and what is expected of it."""

    experiment: str = Field(min_length=1)
    expect: Literal["pass", "fail", "inconclusive"] = "pass"
    because: tuple[str, ...] = Field(
        (), description="The objectives (or effect/FAULT) that must end so: no failing for the wrong reason."
    )


class SuiteSpec(Model):
    """Experiments that are judged together."""

    members: tuple[Member, ...] = Field(min_length=1, max_length=MOST_ITEMS)


class Suite(Model):
    """A suite document."""

    apiVersion: Literal["brownout/v1"]
    kind: Literal["Suite"]
    metadata: Metadata
    spec: SuiteSpec


# --- what OpenSLO cannot say -------------------------------------------------------------------------------


class InvariantSpec(Model):
    """A count over the history that must be zero."""

    description: str = ""
    check: Literal["reply-pairing", "reward-known", "exactly-once", "score-invariance"] = Field(
        description="reply-pairing: replies that belong to another request. "
        "reward-known: finished episodes, and answered questions, whose reward is not what was earned. "
        "exactly-once: tool calls that were executed more than once, or taken for done and never executed. "
        "score-invariance: items whose score in a later phase is not the one that they had in the baseline."
    )


class InvariantDocument(Model):
    """An invariant document."""

    apiVersion: Literal["brownout/v1"]
    kind: Literal["Invariant"]
    metadata: Metadata
    spec: InvariantSpec


class RecoverySpec(Model):
    """Back within an objective in at most `within` after the last heal."""

    description: str = ""
    objective: str = Field(min_length=1, description="The SLO that must hold again.")
    within: Duration = Field(gt=0)
    window: Duration = Field(1.0, gt=0)
    windows: int = Field(3, ge=1, description="This many windows in a row must be good.")


class RecoveryDocument(Model):
    """A recovery document."""

    apiVersion: Literal["brownout/v1"]
    kind: Literal["Recovery"]
    metadata: Metadata
    spec: RecoverySpec


# --- project ------------------------------------------------------------------------------------------------


class Project(Model):
    """`brownout.yaml`: the user's own configuration, at the root of their folder."""

    apiVersion: Literal["brownout/v1"]
    kind: Literal["Project"]
    allow_hosts: tuple[str, ...] = Field(
        ("127.0.0.0/8", "::1", "localhost"),
        description="Hosts, networks (CIDR) or *.suffixes that runs may touch.",
    )
    allow_commands: tuple[str, ...] = Field(
        (),
        description="Programs that targets and experiments may run, as written there; * for anything.",
    )
    runs: str = Field("runs", description="Where run folders go.")
    lease: Duration = Field(10.0, ge=1, description="How long a fault outlives a conductor that died.")
    otlp_port: int = Field(
        0, ge=0, le=65535, description="Where services of your own send OTLP/HTTP metrics; 0: any free port."
    )

    @field_validator("allow_hosts")
    @classmethod
    def _hosts(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for entry in value:
            if not is_host_pattern(entry):
                raise ValueError(
                    f"expected an address, a network such as 10.0.0.0/8, a name or *.suffix, got {entry[:60]}"
                )
        return value

    @field_validator("runs")
    @classmethod
    def _relative(cls, value: str) -> str:
        if not value.strip():
            raise ValueError("expected a folder")
        return value
