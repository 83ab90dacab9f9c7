"""A load profile: who comes (a kind of user), when (arrivals), doing what (options). Pure data."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from slo.model import Model
from slo.quantities import Duration, Rate

ClientManner = Literal["naive", "careful"]
"""naive: after a time-out it retries on the same socket, as stock clients do. careful: on a new one."""


class EpisodeOptions(Model):
    """An episode on an OpenEnv WebSocket: reset, `steps` steps with think time, close."""

    client: ClientManner = "careful"
    timeout: Duration = Field(10.0, gt=0, description="How long a client waits for one reply.")
    connect_timeout: Duration = Field(10.0, gt=0)
    retries: int = Field(2, ge=0, le=20, description="How often one step is tried again after a failure.")
    steps: int = Field(10, ge=1, le=100_000, description="Most steps in one episode.")
    think: Duration = Field(0.0, ge=0, description="Mean pause between a reply and the next step.")
    policy: Literal["oracle", "null", "random"] = "oracle"
    path: str = Field("/ws", pattern=r"^/")
    tasks: int = Field(50, ge=1, description="Episodes draw their task from this many seeds.")


class ChatOptions(Model):
    """Chat completions in a provider's wire format, plain or streamed."""

    client: ClientManner = "careful"
    api: Literal["openai", "anthropic"] = "openai"
    stream: bool = True
    model: str = "demo-model"
    timeout: Duration = Field(30.0, gt=0, description="How long a client waits for the next byte.")
    connect_timeout: Duration = Field(10.0, gt=0)
    retries: int = Field(2, ge=0, le=20, description="Most retries of one request, as the SDKs default to.")
    backoff: Duration = Field(
        0.5, ge=0, description="First pause before a retry; doubles up to 8 s, jittered."
    )
    max_tokens: int = Field(256, ge=1)
    items: int = Field(100, ge=1, description="Questions are drawn from this many items of the dataset.")
    connection: Literal["pooled", "fresh"] = "pooled"


class HttpRequest(Model):
    """One request of a plain HTTP user, and what its reply must be."""

    name: str = Field(min_length=1, max_length=100, description="The operation's name in telemetry.")
    method: Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"] = "GET"
    path: str = Field(pattern=r"^/")
    headers: dict[str, str] = Field(default_factory=dict)
    body: str | None = None
    expect_status: int = Field(200, ge=100, le=599)


class HttpOptions(Model):
    """Plain HTTP: the requests of one arrival, in order."""

    client: ClientManner = "careful"
    timeout: Duration = Field(10.0, gt=0)
    connect_timeout: Duration = Field(10.0, gt=0)
    retries: int = Field(0, ge=0, le=20)
    backoff: Duration = Field(0.5, ge=0)
    connection: Literal["pooled", "fresh"] = "pooled"
    requests: tuple[HttpRequest, ...] = Field(min_length=1)


class _ProfileBase(Model):
    """What all profiles share."""

    service: str = Field(min_length=1, description="The target's service (or proxy) that the users talk to.")
    arrivals: Rate = Field(gt=0, description="Open model: new users per second, whatever the service does.")
    process: Literal["constant", "poisson"] = Field("constant", description="How arrivals are spaced.")
    max_in_flight: int = Field(
        2000, ge=1, description="Arrivals beyond this many open ones are dropped, counted, and spoil the run."
    )


class EpisodeProfile(_ProfileBase):
    """Users that play episodes."""

    user: Literal["episode"]
    with_: EpisodeOptions = Field(default_factory=EpisodeOptions, alias="with")


class ChatProfile(_ProfileBase):
    """Users that ask for chat completions."""

    user: Literal["chat"]
    with_: ChatOptions = Field(default_factory=ChatOptions, alias="with")


class HttpProfile(_ProfileBase):
    """Users that send plain HTTP requests."""

    user: Literal["http"]
    with_: HttpOptions = Field(alias="with")


LoadProfileSpec = Annotated[EpisodeProfile | ChatProfile | HttpProfile, Field(discriminator="user")]
"""The `spec` of a LoadProfile document."""


class Workload(Model):
    """One profile, resolved against a target: what a Locust process is to do."""

    name: str
    url: str = Field(description="scheme://host:port of the proxy in front of the service.")
    profile: LoadProfileSpec


class LoadPlan(Model):
    """All that a Locust process needs to know; handed over as a JSON file.

    `boundaries` are, by metric, the bucket boundaries (in the metric's unit) that must exist beside the
    default ones, so that objectives' thresholds are counted and not interpolated.
    """

    run: str
    arm: Literal["fault", "control"] = "fault"
    seed: int
    workloads: tuple[Workload, ...] = Field(min_length=1)
    boundaries: dict[str, tuple[float, ...]] = Field(default_factory=dict)
    otlp_endpoint: str
    export_interval_s: float = Field(0.5, gt=0)
    history: str = Field(description="The folder that history files go to.")
    drain_s: float = Field(
        5.0, ge=0, description="How long open operations may finish after the last arrival."
    )

    @model_validator(mode="after")
    def _unique_names(self) -> LoadPlan:
        names = [w.name for w in self.workloads]
        if len(set(names)) != len(names):
            raise ValueError("workload names must be unique")
        return self
