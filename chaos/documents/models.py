"""The documents that people write: Experiment, Target, LoadProfile, Suite, objectives, and the project file.

Pydantic models, frozen, that say what each key means; `brownout schema` prints them as JSON Schema. Durations
are seconds and shares are fractions once parsed.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field, Tag, field_validator

from chaos.documents.allowlist import is_host_pattern
from loadtests.profile import LoadProfileSpec
from slo.effect import Effect, by_key
from slo.metadata import Metadata, Name
from slo.model import Model
from slo.objective import Filter, Phase
from slo.quantities import ByteRate, Duration, Rate, Share, Size

API_VERSION = "brownout/v1"
MOST_ITEMS = 100
"""Faults, loads, objectives or stop conditions of one experiment, and members of one suite."""

# --- faults -------------------------------------------------------------------------------------------------


class _FaultBase(Model):
    """What all faults share: a name, a place, a time within the fault phase."""

    name: Name
    place: str = Field(
        min_length=1, description="A proxy of the target; each service has one of its own name."
    )
    at: Duration = Field(0.0, ge=0, description="When it is injected, after the fault phase has begun.")
    for_: Duration | None = Field(
        None, alias="for", gt=0, description="How long it stays; to the end of the fault phase if left out."
    )
    effect: Effect | None = Field(None, description="What must be seen of it; by default what its type does.")


class _ToxicBase(_FaultBase):
    """A fault that is a toxic of the proxy."""

    stream: Literal["downstream", "upstream", "down", "up"] = Field(
        "downstream", description="downstream: replies, towards the client. upstream: requests."
    )
    toxicity: Share = Field(1.0, description="The share of connections that it strikes.")


class LatencyFault(_ToxicBase):
    """Delays all data by `latency`, give or take a uniform `jitter`."""

    type: Literal["latency"]
    latency: Duration = Field(0.0, ge=0)
    jitter: Duration = Field(0.0, ge=0)


class BandwidthFault(_ToxicBase):
    """Limits each connection to `rate`; a rate of 0kB/s stalls it."""

    type: Literal["bandwidth"]
    rate: ByteRate = Field(ge=0)


class SlowCloseFault(_ToxicBase):
    """Delays the closing of connections by `delay`."""

    type: Literal["slow_close"]
    delay: Duration = Field(gt=0)


class TimeoutFault(_ToxicBase):
    """Swallows all data, and closes the connection after `timeout`; 0s never does (a black hole)."""

    type: Literal["timeout"]
    timeout: Duration = Field(0.0, ge=0)


class ResetPeerFault(_ToxicBase):
    """Resets the connection (TCP RST) `timeout` after data first flows."""

    type: Literal["reset_peer"]
    timeout: Duration = Field(0.0, ge=0)


class SlicerFault(_ToxicBase):
    """Cuts data into pieces of about `average_size` bytes, `delay` apart."""

    type: Literal["slicer"]
    average_size: Size = Field(gt=0)
    size_variation: Size = Field(0.0, ge=0)
    delay: Duration = Field(0.0, ge=0)


class LimitDataFault(_ToxicBase):
    """Closes the connection after `bytes` have passed."""

    type: Literal["limit_data"]
    bytes: Size = Field(ge=0)


class DownFault(_FaultBase):
    """The proxy refuses all connections and closes the open ones."""

    type: Literal["down"]


ToxicFault = (
    LatencyFault
    | BandwidthFault
    | SlowCloseFault
    | TimeoutFault
    | ResetPeerFault
    | SlicerFault
    | LimitDataFault
)
Fault = Annotated[ToxicFault | DownFault, Field(discriminator="type")]
FAULT_MODELS: tuple[type[_FaultBase], ...] = (*get_args(ToxicFault), DownFault)


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
    arrivals: Rate | None = Field(None, gt=0)
    process: Literal["constant", "poisson"] | None = None
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


# --- target -------------------------------------------------------------------------------------------------


class UrlService(Model):
    """A service that is running already."""

    url: str = Field(pattern=r"^http://[^/@\s]+$", description="http://host:port")
    health: str | None = Field(None, pattern=r"^/", description="A path that answers 200 when it is ready.")


class DemoService(Model):
    """One of the services that Brownout ships; the run starts it, and stops it."""

    demo: Literal["environment", "evals"]


Service = Annotated[
    Annotated[DemoService, Tag("demo")] | Annotated[UrlService, Tag("url")],
    by_key("demo", "url", otherwise="url"),
]


class ProxyUse(Model):
    """A proxy that the target has beside those in front of its services (between two services, say)."""

    upstream: str = Field(pattern=r"^[^/@\s]+:\d{1,5}$", description="host:port")
    listen: str = Field("127.0.0.1:0", pattern=r"^[^/@\s]*:\d{1,5}$")


class TargetSpec(Model):
    """A system under test. Each service gets a proxy of its own name in front of it; load goes through it."""

    services: dict[Name, Service] = Field(min_length=1)
    proxies: dict[Name, ProxyUse] = Field(default_factory=dict)
    toxiproxy: str | None = Field(
        None,
        pattern=r"^http://[^/@\s]+$",
        description="The API of a Toxiproxy that is running; without it the embedded proxy is started.",
    )


class Target(Model):
    """A target document."""

    apiVersion: Literal["brownout/v1"]
    kind: Literal["Target"]
    metadata: Metadata
    spec: TargetSpec


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
    check: Literal["reply-pairing", "reward-known"] = Field(
        description="reply-pairing: replies that belong to another request. "
        "reward-known: finished episodes whose reward is not the one that the policy earns."
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
