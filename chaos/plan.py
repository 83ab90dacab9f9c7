"""A plan: an experiment as timed cues, sorted; a dry run, a golden test and documentation in one. Pure data.

`make_plan` is a function of the resolved experiment, the seed and nothing else. Only the conductor performs
a plan.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, JsonValue

from chaos.documents.models import Abort
from chaos.faults.undo import Argv
from chaos.proxy.layer7.catalogue import LAYER7
from loadtests.profile import LoadProfileSpec
from slo.effect import Effect
from slo.model import Model
from slo.objective import Phase, Requirement

Action = Literal["phase", "inject", "heal", "end"]


class Cue(Model):
    """One thing to do, `at_s` seconds after the baseline has begun. `subject` names a phase or a fault."""

    at_s: float
    action: Action
    subject: str


class PlannedDemo(Model):
    """A shipped service to start, and how. Services that are planned alike are served by one process."""

    service: Literal["environment", "evals", "tools"]
    sessions: int | None = None
    session_timeout_s: float | None = None

    @property
    def arguments(self) -> tuple[str, ...]:
        """What `python -m chaos.demo` is told."""
        options = {"--max-sessions": self.sessions, "--session-timeout": self.session_timeout_s}
        given = (
            (name, f"{value:g}s" if isinstance(value, float) else str(value))
            for name, value in options.items()
            if value is not None
        )
        return (self.service, *(argument for option in given for argument in option))

    @property
    def process(self) -> str:
        """The name of its process: one planned otherwise has another."""
        return "-".join(argument.removeprefix("--") for argument in self.arguments)


class PlannedService(Model):
    """A service of the target: `demo` is a shipped service to start, `address` host:port of a running one.

    One that is https is reached by TLS, as its proxy says; what clients speak to the proxy is plain.
    """

    name: str
    demo: PlannedDemo | None = None
    address: str | None = None
    scheme: Literal["http", "https"] = "http"
    health: str | None = None


class PlannedProxy(Model):
    """A proxy to put in place. `service` names what it stands before; else `upstream` is its address.

    `tls`: it listens by TLS. `upstream_ca` is an absolute path, on the proxy's machine.
    """

    name: str
    listen: str = "127.0.0.1:0"
    service: str | None = None
    upstream: str | None = None
    protocol: Literal["tcp", "http"] = Field(
        "tcp",
        description="http, where a fault at layer 7 comes: connections are read as HTTP from their first "
        "byte, so that the baseline costs what the fault phase does.",
    )
    tls: bool = False
    upstream_ca: str | None = None
    upstream_verify: bool = True


class PlannedProcess(Model):
    """A process that faults may touch: `command` is started by the run, the others run already.

    Paths are absolute. (The processes of demo services are the services'.)
    """

    name: str
    command: Argv | None = None
    env: dict[str, str] = Field(default_factory=dict)
    cwd: str
    pid_file: str | None = None
    start: Argv | None = None
    compose: str | None = None
    project: str | None = None
    disk: str | None = None
    hosts_file: str | None = None


class Commands(Model):
    """What a command fault runs, in `cwd`; see `chaos.documents.faults.CommandFault`."""

    inject: Argv
    heal: Argv
    check: Argv | None = None
    cwd: str
    timeout_s: float


class PlannedFault(Model):
    """A fault with everything that its injection needs, in whole numbers.

    `type` is a toxic type, `down`, one of a process, or `command`. `attributes` of a toxic are Toxiproxy's:
    milliseconds (`slicer.delay` in microseconds, `bandwidth.rate` in kB/s); those of a process are in the
    units of `chaos.faults.processes.units`. At layer 7 they are the embedded proxy's, as are `where`, `id`
    and `persist`, and `toxicity` is a share of messages. Times are seconds after the baseline has begun.
    """

    name: str
    place: str
    type: str
    stream: Literal["downstream", "upstream"] = "downstream"
    toxicity: float = 1.0
    attributes: dict[str, JsonValue] = Field(default_factory=dict)
    where: dict[str, JsonValue] = Field(default_factory=dict)
    id: dict[str, str] = Field(default_factory=dict)
    persist: Literal["none", "request"] = "none"
    signal: Literal["KILL", "TERM"] | None = None
    host: str | None = None
    commands: Commands | None = None
    inject_at_s: float
    heal_at_s: float
    effects: tuple[Effect, ...] = Field(
        description="Any one of them seen is evidence that the fault acted. None: the proxy's count is."
    )

    @property
    def numbers(self) -> dict[str, int]:
        """Those of its attributes that are whole numbers: below layer 7, all."""
        return {key: value for key, value in self.attributes.items() if isinstance(value, int)}

    @property
    def layer7(self) -> bool:
        """Whether it strikes single messages: only the embedded proxy can."""
        return self.type in LAYER7


class PlannedWorkload(Model):
    """A load profile aimed at a place (a proxy's name)."""

    name: str
    place: str
    profile: LoadProfileSpec
    notes: tuple[str, ...] = Field((), description="What the profile's files hold, and what is left out.")


class PlannedMaster(Model):
    """Where workers on other machines come to, and how many processes of them."""

    host: str
    port: int
    workers: int = Field(ge=1)


class Plan(Model):
    """All that a run will do, touch and be judged by."""

    experiment: str
    hypothesis: str = ""
    target: str
    seed: int
    toxiproxy: str | None = None
    lease_s: float
    deadline_s: float = Field(description="A run that takes longer than this has outlived its time.")
    phases: dict[Phase, float]
    services: tuple[PlannedService, ...]
    proxies: tuple[PlannedProxy, ...]
    processes: tuple[PlannedProcess, ...] = ()
    workloads: tuple[PlannedWorkload, ...]
    workers: int = Field(1, ge=1, description="How many processes share the arrivals.")
    master: PlannedMaster | None = Field(None, description="Where they come from other machines.")
    boundaries: dict[str, tuple[float, ...]]
    faults: tuple[PlannedFault, ...]
    requirements: tuple[Requirement, ...]
    aborts: tuple[Abort, ...] = ()
    cues: tuple[Cue, ...]
