"""The containers of a docker-compose service, by the labels that compose puts on them; any version of it.

Only the program `docker` is used, so that neither the compose file nor its plugin has to be there.
"""

from __future__ import annotations

import math

from chaos.faults.processes.commands import CommandFailed, run
from chaos.faults.undo import RunContainers

TIMEOUT_S = 60.0
_LABEL = "com.docker.compose"


class NoSuchContainers(OSError):
    """The service has no container."""


def containers_of(service: str, project: str | None) -> RunContainers:
    """The containers of a service that run now. Raises NoSuchContainers, CommandFailed."""
    filters = [f"label={_LABEL}.service={service}"]
    if project is not None:
        filters.append(f"label={_LABEL}.project={project}")
    argv = ["docker", "ps", "--no-trunc", "--quiet", *(part for one in filters for part in ("--filter", one))]
    found = tuple(_docker(argv).split())
    if not found:
        raise NoSuchContainers(f"the compose service {service} has no container that runs")
    return RunContainers(service=service, containers=found)


def kill(undo: RunContainers, signal: str) -> None:
    """Send a signal to the first process of each. Raises CommandFailed."""
    _docker(["docker", "kill", "--signal", signal, *undo.containers])


def restart(undo: RunContainers, grace_s: float) -> None:
    """End and start each. Raises CommandFailed."""
    seconds = str(max(0, math.ceil(grace_s)))
    _docker(["docker", "restart", "-t", seconds, *undo.containers], grace_s * len(undo.containers))


def pause(undo: RunContainers) -> None:
    """Freeze each. Raises CommandFailed."""
    _docker(["docker", "pause", *undo.containers])


def states(undo: RunContainers) -> dict[str, str]:
    """The state of each container: `running`, `paused`, `exited`, ...; one that is gone is left out."""
    found: dict[str, str] = {}
    argv = ["docker", "ps", "--all", "--no-trunc", "--format", "{{.ID}} {{.State}}"]
    for line in _docker(argv).splitlines():
        name, _, state = line.partition(" ")
        if name in undo.containers:
            found[name] = state
    return found


def see_that_they_run(undo: RunContainers) -> None:
    """Let those go on that are paused, start those that have ended; read back that all run.

    One that was removed meanwhile has been replaced by somebody else, and is not missed.

    Raises:
        CommandFailed: docker cannot be asked.
        NoSuchContainers: one does not run; all others were seen to.
    """
    problem: CommandFailed | None = None
    for container, state in states(undo).items():
        try:
            if state == "paused":
                _docker(["docker", "unpause", container])
            elif state != "running":
                _docker(["docker", "start", container])
        except CommandFailed as error:
            problem = error
    idle = {name: state for name, state in states(undo).items() if state not in ("running", "restarting")}
    if idle:
        name, state = next(iter(idle.items()))
        why = "" if problem is None else f": {problem}"
        raise NoSuchContainers(f"container {name[:12]} of {undo.service} is {state}{why}") from problem


def _docker(argv: list[str], more_s: float = 0.0) -> str:
    return run(argv, cwd=None, timeout_s=TIMEOUT_S + more_s)
