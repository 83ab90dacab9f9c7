"""How an injected fault is taken away again: pure data, so that it can be journalled, held and replayed.

`server` is the API of the proxy server that carries the fault, None where it is none of a proxy's; `where`
says to a person what may still be disturbed.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from slo.model import Model

Argv = tuple[str, ...]


class _Undo(Model):
    @property
    def server(self) -> str | None:
        """The API of the proxy server that carries the fault; None where no proxy does."""
        return None


class _OnServer(_Undo):
    api: str
    proxy: str

    @property
    def server(self) -> str | None:
        """The API of the proxy server."""
        return self.api

    @property
    def where(self) -> str:
        """The API of the proxy server."""
        return self.api


class RemoveToxic(_OnServer):
    """Delete one toxic."""

    kind: Literal["remove-toxic"] = "remove-toxic"
    toxic: str


class EnableProxy(_OnServer):
    """Enable a proxy that was disabled."""

    kind: Literal["enable-proxy"] = "enable-proxy"


class DeleteProxy(_OnServer):
    """Delete a proxy that the run created."""

    kind: Literal["delete-proxy"] = "delete-proxy"


class ProcessId(Model):
    """A process that is not confused with another that is given its pid later."""

    pid: int = Field(gt=0)
    started: str = Field(description="As the system counts it; see `chaos.faults.processes.identity`.")

    def __str__(self) -> str:
        return f"process {self.pid}"


class _OnProcesses(_Undo):
    processes: tuple[ProcessId, ...]

    @property
    def where(self) -> str:
        """The pid of the process; its children go without saying."""
        return str(self.processes[0]) if self.processes else "no process"


class ResumeProcess(_OnProcesses):
    """Let stopped processes, and their children, go on (SIGCONT)."""

    kind: Literal["resume-process"] = "resume-process"


class Limit(Model):
    """A resource limit of a process, as it was; -1 is no limit."""

    process: ProcessId
    soft: int
    hard: int


class RestoreLimit(_Undo):
    """Give processes the limits back that they had."""

    kind: Literal["restore-limit"] = "restore-limit"
    resource: Literal["memory", "files"]
    limits: tuple[Limit, ...]

    @property
    def where(self) -> str:
        """The pid of the process."""
        return f"the {self.resource} limit of {self.limits[0].process}" if self.limits else "no process"


class StartProcess(_OnProcesses):
    """See that a killed process lives again: by `start`, or by its supervisor, which writes `pid_file`."""

    kind: Literal["start-process"] = "start-process"
    pid_file: str
    start: Argv | None = None
    cwd: str
    within_s: float = 30.0

    @property
    def where(self) -> str:
        """The pid file."""
        return f"the process of {self.pid_file}"


class EndsWithRun(_Undo):
    """A process of the run itself was killed: the conductor starts it again; without it there is no need."""

    kind: Literal["ends-with-run"] = "ends-with-run"
    name: str

    @property
    def where(self) -> str:
        """The process's name."""
        return f"process {self.name} of the run"


class RunContainers(_Undo):
    """See that containers run: those that are paused go on, those that have ended are started."""

    kind: Literal["run-containers"] = "run-containers"
    service: str
    containers: tuple[str, ...]
    timeout_s: float = 60.0

    @property
    def where(self) -> str:
        """The service."""
        return f"the containers of {self.service}"


class DeleteFile(_Undo):
    """Delete the file that fills a disk."""

    kind: Literal["delete-file"] = "delete-file"
    path: str

    @property
    def where(self) -> str:
        """The file."""
        return self.path


class RestoreHosts(_Undo):
    """Put the lines back that `host` was taken out of, in a hosts file."""

    kind: Literal["restore-hosts"] = "restore-hosts"
    path: str
    host: str
    lines: tuple[str, ...] = Field(description="As they were, without the ends of the lines.")

    @property
    def where(self) -> str:
        """The file."""
        return self.path


class RunCommand(_Undo):
    """Run a command that undoes what another did."""

    kind: Literal["run-command"] = "run-command"
    heal: Argv
    check: Argv | None = None
    cwd: str
    timeout_s: float

    @property
    def where(self) -> str:
        """The command."""
        return " ".join(self.heal)


ServerUndo = RemoveToxic | EnableProxy | DeleteProxy
ProcessUndo = (
    ResumeProcess
    | RestoreLimit
    | StartProcess
    | EndsWithRun
    | RunContainers
    | DeleteFile
    | RestoreHosts
    | RunCommand
)
Undo = Annotated[ServerUndo | ProcessUndo, Field(discriminator="kind")]
