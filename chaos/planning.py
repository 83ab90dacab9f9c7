"""From a resolved experiment to its plan: a pure function, so that a dry run shows what a run will do.

The cues are sorted, every fault that is injected is healed by the end of the fault phase, and nothing comes
after the end. At one moment heals come first, then the phase changes, then what is injected: a fault belongs
to the phase whose name it bears.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from chaos.documents.faults import CommandFault, Fault, KillFault, NoSuchHostFault, ToxicFault
from chaos.documents.fitness import span
from chaos.documents.hosts import parse_address
from chaos.documents.layer7 import Layer7Fault
from chaos.documents.models import Experiment
from chaos.documents.resolve import Resolved
from chaos.documents.targets import (
    CommandProcess,
    ComposeProcess,
    DemoService,
    PidFileProcess,
    Process,
    ProxyUse,
    Service,
    Target,
    UrlService,
)
from chaos.faults.attributes import default_effects, fault_attributes
from chaos.faults.layer7 import id_from, where
from chaos.faults.toxics import Stream, stream_of
from chaos.plan import (
    Commands,
    Cue,
    Plan,
    PlannedDemo,
    PlannedFault,
    PlannedProcess,
    PlannedProxy,
    PlannedService,
    PlannedWorkload,
)
from chaos.proxy.layer7.catalogue import LAYER7, UP
from loadtests.metrics import PRIMARY
from slo.effect import Effect
from slo.objective import PHASES, Objective, Phase, Recovery, Requirement
from slo.openslo import boundaries

SET_UP_MARGIN_S = 60.0
"""How long services, proxies and load may take to be ready, on a busy machine."""
DRAIN_MARGIN_S = 30.0
"""How long open operations may finish, and heals be retried, after the last arrival."""

_RANK = {"heal": 0, "phase": 1, "inject": 2, "end": 3}


def make_plan(resolved: Resolved, seed: int, lease_s: float) -> Plan:
    """All that a run of `resolved` will do, touch and be judged by."""
    experiment, target = resolved.experiment, resolved.target
    phases = phase_lengths(experiment)
    workloads = tuple(
        PlannedWorkload(
            name=load.name,
            place=load.profile.service,
            profile=load.profile,
            notes=tuple(load.profile.notes()),
        )
        for load in resolved.loads
    )
    root = resolved.root
    faults = tuple(_planned(fault, experiment, workloads, root) for fault in experiment.spec.faults)
    return Plan(
        experiment=experiment.metadata.name,
        hypothesis=" ".join(experiment.spec.hypothesis.split()),
        target=target.metadata.name,
        seed=seed,
        toxiproxy=target.spec.toxiproxy,
        lease_s=lease_s,
        deadline_s=sum(phases.values()) + SET_UP_MARGIN_S + DRAIN_MARGIN_S,
        phases=phases,
        services=_services(target),
        proxies=_proxies(target, {fault.place for fault in faults if fault.layer7}, root),
        processes=tuple(_process(name, it, root) for name, it in target.spec.processes.items()),
        workloads=workloads,
        boundaries=boundaries_of(resolved.requirements),
        faults=faults,
        requirements=resolved.requirements,
        aborts=experiment.spec.abort,
        cues=cues_of(phases, faults),
    )


def phase_lengths(experiment: Experiment) -> dict[Phase, float]:
    """How long each phase lasts, in seconds, in order."""
    phases = experiment.spec.phases
    return {"baseline": phases.baseline, "fault": phases.fault, "recovery": phases.recovery}


def cues_of(phases: dict[Phase, float], faults: Iterable[PlannedFault]) -> tuple[Cue, ...]:
    """The cues of a plan, sorted."""
    cues: list[Cue] = []
    at_s = 0.0
    for phase in PHASES:
        cues.append(Cue(at_s=_tidy(at_s), action="phase", subject=phase))
        at_s += phases[phase]
    for fault in faults:
        cues.append(Cue(at_s=fault.inject_at_s, action="inject", subject=fault.name))
        cues.append(Cue(at_s=fault.heal_at_s, action="heal", subject=fault.name))
    cues.append(Cue(at_s=_tidy(at_s), action="end", subject="run"))
    return tuple(sorted(cues, key=lambda cue: (cue.at_s, _RANK[cue.action])))


def boundaries_of(requirements: Iterable[Requirement]) -> dict[str, tuple[float, ...]]:
    """The bucket boundaries that thresholds need, by metric: they are counted, not interpolated."""
    found: dict[str, set[float]] = defaultdict(set)
    for requirement in requirements:
        judged = requirement.objective
        objective = judged.objective if isinstance(judged, Recovery) else judged
        if not isinstance(objective, Objective):
            continue
        for metric, values in boundaries(objective).items():
            found[metric] |= values
    return {metric: tuple(sorted(values)) for metric, values in sorted(found.items())}


def _tidy(seconds: float) -> float:
    """Without the noise of adding floats, to the microsecond."""
    return round(seconds, 6)


def _planned(
    fault: Fault, experiment: Experiment, workloads: tuple[PlannedWorkload, ...], root: Path
) -> PlannedFault:
    baseline, length = experiment.spec.phases.baseline, experiment.spec.phases.fault
    begin, end = span(fault, experiment)
    stream: Stream = "downstream"
    toxicity = 1.0
    if isinstance(fault, ToxicFault | Layer7Fault):
        stream = _stream(fault)
        toxicity = fault.toxicity
    return PlannedFault(
        name=fault.name,
        place=fault.place,
        type=fault.type,
        stream=stream,
        toxicity=toxicity,
        attributes=fault_attributes(fault),
        **(_aim(fault) if isinstance(fault, Layer7Fault) else {}),
        signal=fault.signal if isinstance(fault, KillFault) else None,
        host=fault.host if isinstance(fault, NoSuchHostFault) else None,
        commands=_commands(fault, root) if isinstance(fault, CommandFault) else None,
        inject_at_s=_tidy(baseline + begin),
        heal_at_s=min(_tidy(baseline + end), _tidy(baseline + length)),
        effects=_effects(fault, workloads),
    )


def _stream(fault: ToxicFault | Layer7Fault) -> Stream:
    """As written; where that cannot be, as the type is on one stream only, that one."""
    if isinstance(fault, Layer7Fault) and LAYER7[fault.type].streams == UP:
        return "upstream"
    return stream_of(getattr(fault, "stream", "downstream"))


def _aim(fault: Layer7Fault) -> dict[str, Any]:
    return {"where": where(fault), "id": id_from(fault), "persist": fault.persist}


def _commands(fault: CommandFault, root: Path) -> Commands:
    return Commands(
        inject=fault.inject, heal=fault.heal, check=fault.check, cwd=str(root), timeout_s=fault.timeout
    )


def _process(name: str, process: Process, root: Path) -> PlannedProcess:
    """With its paths taken from the project's folder."""
    planned = PlannedProcess(
        name=name,
        cwd=str(root),
        disk=None if process.disk is None else str(root / process.disk),
        hosts_file=None if process.hosts_file is None else str(root / process.hosts_file),
    )
    match process:
        case CommandProcess():
            cwd = str(root / (process.cwd or ""))
            return planned.model_copy(update={"command": process.command, "env": process.env, "cwd": cwd})
        case PidFileProcess():
            pid_file = str(root / process.pid_file)
            return planned.model_copy(update={"pid_file": pid_file, "start": process.start})
        case ComposeProcess():
            return planned.model_copy(update={"compose": process.compose, "project": process.project})


def _effects(fault: Fault, workloads: tuple[PlannedWorkload, ...]) -> tuple[Effect, ...]:
    """What must be seen: as declared, else by type, on the load at that place (on all, if none is there)."""
    if fault.effect is not None:
        return (fault.effect,)
    there = [w for w in workloads if w.place == fault.place] or list(workloads)
    return default_effects(fault, tuple(dict.fromkeys(PRIMARY[w.profile.user] for w in there)))


def _services(target: Target) -> tuple[PlannedService, ...]:
    planned: list[PlannedService] = []
    for name, service in target.spec.services.items():
        if isinstance(service, DemoService):
            demo = PlannedDemo(
                service=service.demo, sessions=service.sessions, session_timeout_s=service.session_timeout
            )
            planned.append(PlannedService(name=name, demo=demo))
        elif isinstance(service, UrlService):
            scheme: Literal["http", "https"] = "https" if service.url.startswith("https://") else "http"
            address = str(parse_address(service.url, 80))
            planned.append(PlannedService(name=name, address=address, scheme=scheme, health=service.health))
    return tuple(planned)


def _trust(use: Service | ProxyUse, root: Path) -> dict[str, Any]:
    """Whom an https upstream is trusted by."""
    if isinstance(use, DemoService):
        return {}
    ca = None if use.upstream_ca is None else str((root / use.upstream_ca).absolute())
    return {"upstream_ca": ca, "upstream_verify": use.upstream_verify}


def _proxies(target: Target, read: set[str], root: Path) -> tuple[PlannedProxy, ...]:
    """The proxies of a target; those of the places in `read` read what passes as HTTP."""
    own = [
        PlannedProxy(name=name, service=name, **_trust(service, root))
        for name, service in target.spec.services.items()
    ]
    beside = [
        PlannedProxy(
            name=name, listen=proxy.listen, upstream=proxy.upstream, tls=proxy.tls, **_trust(proxy, root)
        )
        for name, proxy in target.spec.proxies.items()
    ]
    return tuple(
        proxy.model_copy(update={"protocol": "http"}) if proxy.name in read else proxy
        for proxy in (*own, *beside)
    )
