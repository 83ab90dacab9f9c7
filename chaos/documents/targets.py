"""The targets that people write: services, proxies beside them, and processes that faults may touch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, Tag, model_validator

from chaos.documents.faults import Argv
from slo.effect import by_key
from slo.metadata import Metadata, Name
from slo.model import Model
from slo.quantities import Duration


class _TlsUpstream(Model):
    """Whom an https address is trusted by."""

    upstream_ca: str | None = Field(
        None,
        min_length=1,
        description="A PEM file of authorities that are trusted beside the system's, for https.",
    )
    upstream_verify: bool = Field(
        True, description="false: whoever answers at an https address is believed to be it."
    )

    def _only_with_https(self, address: str) -> None:
        for key in ("upstream_ca", "upstream_verify"):
            if key in self.model_fields_set and not address.startswith("https://"):
                raise ValueError(f"{key} belongs to an https:// address")


class UrlService(_TlsUpstream):
    """A service that is running already. Clients speak plain HTTP to its proxy where it is https, too."""

    url: str = Field(pattern=r"^https?://[^/@\s]+$", description="http://host:port, or https://host[:port]")
    health: str | None = Field(None, pattern=r"^/", description="A path that answers 200 when it is ready.")

    @model_validator(mode="after")
    def _is_whole(self) -> UrlService:
        self._only_with_https(self.url)
        return self


class DemoService(Model):
    """One of the services that Brownout ships; the run starts it, and stops it."""

    demo: Literal["environment", "evals", "tools"]
    sessions: int | None = Field(
        None,
        ge=1,
        le=100_000,
        description="The environment's: how many may be open at once; 256 if left out.",
    )
    session_timeout: Duration | None = Field(
        None,
        ge=0.1,
        le=86_400,
        description="The environment's: one that was idle for longer is ended; if left out, none ever is.",
    )

    @model_validator(mode="after")
    def _has_sessions(self) -> DemoService:
        for key in ("sessions", "session_timeout"):
            if self.demo != "environment" and getattr(self, key) is not None:
                raise ValueError(f"{key} belongs to the demo environment: the {self.demo} have no sessions")
        return self


Service = Annotated[
    Annotated[DemoService, Tag("demo")] | Annotated[UrlService, Tag("url")],
    by_key("demo", "url", otherwise="url"),
]


class ProxyUse(_TlsUpstream):
    """A proxy that the target has beside those in front of its services (between two services, say)."""

    upstream: str = Field(
        pattern=r"^(https://[^/@\s]+|[^/@\s]+:\d{1,5})$", description="host:port, or https://host[:port]"
    )
    listen: str = Field("127.0.0.1:0", pattern=r"^[^/@\s]*:\d{1,5}$")
    tls: bool = Field(
        False, description="true: it listens by TLS, with a certificate of a throw-away CA; the log tells it."
    )

    @model_validator(mode="after")
    def _is_whole(self) -> ProxyUse:
        self._only_with_https(self.upstream)
        return self


class _ProcessBase(Model):
    """What faults of a process may use beside the process itself; it has to be the process's own."""

    disk: str | None = Field(
        None, min_length=1, description="A folder on a file system of its own, for disk_full."
    )
    hosts_file: str | None = Field(
        None,
        min_length=1,
        description="What the process reads as /etc/hosts, for no_such_host. A `command` is started with it.",
    )


class CommandProcess(_ProcessBase):
    """A process that the run starts, and ends with the run."""

    command: Argv = Field(description="Program and arguments; run as they are, without a shell.")
    cwd: str | None = Field(None, min_length=1, description="Its folder; by default the project's.")
    env: dict[str, str] = Field(default_factory=dict, description="Beside the environment of the run.")


class PidFileProcess(_ProcessBase):
    """A process that runs already; its pid is in a file, and stays there when it is started anew."""

    pid_file: str = Field(min_length=1)
    start: Argv | None = Field(
        None, description="Starts it again after a kill; by default its supervisor is waited for."
    )


class ComposeProcess(_ProcessBase):
    """A service of docker-compose; all its containers."""

    compose: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", description="The service's name.")
    project: str | None = Field(None, pattern=r"^[a-z0-9][a-z0-9_-]*$")


Process = Annotated[
    Annotated[CommandProcess, Tag("command")]
    | Annotated[PidFileProcess, Tag("pid_file")]
    | Annotated[ComposeProcess, Tag("compose")],
    by_key("command", "pid_file", "compose", otherwise="command"),
]


class TargetSpec(Model):
    """A system under test. Each service gets a proxy of its own name in front of it; load goes through it."""

    services: dict[Name, Service] = Field(min_length=1)
    proxies: dict[Name, ProxyUse] = Field(default_factory=dict)
    processes: dict[Name, Process] = Field(
        default_factory=dict,
        description="Those that faults may touch. One that runs a service bears its name; demo services have "
        "theirs already.",
    )
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
