"""Whether an experiment's faults fit its phases, its target and what a proxy can do.

Toxiproxy does not validate: a slicer whose variation exceeds its size crashes the whole server, and a
latency of half a millisecond becomes none. Such attributes are refused here, where they were written.
"""

from __future__ import annotations

from chaos.documents.faults import (
    BandwidthFault,
    DownFault,
    Fault,
    LatencyFault,
    ProcessFault,
    ProxyFault,
    SlicerFault,
    ToxicFault,
)
from chaos.documents.layer7 import Layer7Fault
from chaos.documents.models import Experiment
from chaos.documents.problems import Problem, did_you_mean, listed, problem_at
from chaos.documents.targets import ComposeProcess, DemoService, Target
from chaos.documents.tree import Mapping, Steps, descend, spelled
from chaos.faults.attributes import fault_attributes
from chaos.faults.layer7 import ONLY_EMBEDDED, layer7_problem
from slo.quantities import format_duration

_LONGEST_S = 24 * 3600.0
_LARGEST_BYTES = 2**40
_DURATION_KEYS = ("latency", "jitter", "delay", "timeout", "stall", "first", "every")


_BY_SIGNAL = ("kill", "restart", "pause", "slow")
_OF_CONTAINERS = ("kill", "restart", "pause")
_NEEDS = {"disk_full": "disk", "no_such_host": "hosts_file"}
_NEEDS_EXAMPLE = {"disk": "a folder on a file system of its own", "hosts_file": "what it reads as /etc/hosts"}


def proxies_of(target: Target) -> list[str]:
    """The places of a target that are proxies."""
    return [*target.spec.services, *target.spec.proxies]


def processes_of(target: Target) -> list[str]:
    """The places of a target that are processes."""
    demos = [name for name, service in target.spec.services.items() if isinstance(service, DemoService)]
    return list(dict.fromkeys([*demos, *target.spec.processes]))


def fault_problems(tree: Mapping, experiment: Experiment, target: Target | None) -> list[Problem]:
    """Everything about the faults that cannot be performed; `target` is None when it is not known."""
    problems: list[Problem] = []
    seen: dict[str, int] = {}
    for index, fault in enumerate(experiment.spec.faults):

        def refuse(key: str, message: str, hint: str = "", at: int = index) -> None:
            steps: Steps = ("spec", "faults", at, *key.split("."))
            problems.append(problem_at(descend(tree, steps)[1], spelled(steps), message, hint))

        if fault.name in seen:
            refuse("name", f"{fault.name} is the name of faults[{seen[fault.name]}] too")
        seen.setdefault(fault.name, index)
        places = [] if target is None else _place(fault, target)
        found = (*places, *_time(fault, experiment), *_sanity(fault))
        for key, message, hint in found:
            refuse(key, message, hint)
        if not found:
            try:
                fault_attributes(fault)
            except ValueError as error:  # what the proxy itself could not have
                refuse("type", str(error))
    return problems + _overlaps(tree, experiment)


def at_layer7(tree: Mapping, experiment: Experiment) -> list[Problem]:
    """For each fault at layer 7 what is to be said of it where a stock Toxiproxy would have to do it."""
    found: list[Problem] = []
    for index, fault in enumerate(experiment.spec.faults):
        if isinstance(fault, Layer7Fault):
            steps: Steps = ("spec", "faults", index, "type")
            message = f"{fault.type} is of layer 7, which only the embedded proxy can do"
            found.append(problem_at(descend(tree, steps)[1], spelled(steps), message, ONLY_EMBEDDED))
    return found


def _place(fault: Fault, target: Target) -> list[tuple[str, str, str]]:
    """Whether the target has the fault's place, and the fault fits it."""
    name, proxies, processes = target.metadata.name, proxies_of(target), processes_of(target)
    if isinstance(fault, ProcessFault):
        if fault.place in processes:
            return _process(fault, target)
        if fault.place in proxies:
            hint = f"declare it under spec.processes of {name}: by command, pid_file or compose"
            return [("place", f"the target {name} does not say which process {fault.place} is", hint)]
        places = processes
    else:
        places = proxies if isinstance(fault, ProxyFault) else list(dict.fromkeys([*proxies, *processes]))
    if fault.place in places:
        return []
    known = f"its places are {listed(places, 'and')}" if places else "it declares no processes"
    return [
        (
            "place",
            f"the target {name} has no place {fault.place}",
            did_you_mean(fault.place, places, otherwise=known),
        )
    ]


def _process(fault: ProcessFault, target: Target) -> list[tuple[str, str, str]]:
    """Whether what the target says of the process is enough for the fault."""
    process = target.spec.processes.get(fault.place)
    found: list[tuple[str, str, str]] = []
    needed = _NEEDS.get(fault.type)
    if needed is not None and getattr(process, needed, None) is None:
        left_out = f"which the target {target.metadata.name} leaves out"
        message = f"{fault.type} needs the {needed} of {fault.place}, {left_out}"
        demo = process is None
        hint = f"write it under spec.processes.{fault.place}: {needed}: {_NEEDS_EXAMPLE[needed]}"
        found.append(("type", message, "a demo service has none" if demo else hint))
    if isinstance(process, ComposeProcess) and fault.type not in (*_OF_CONTAINERS, *_NEEDS):
        hint = f"to a compose service these can be done: {listed(_OF_CONTAINERS, 'and')}"
        found.append(("type", f"{fault.type} cannot be done to a container", hint))
    return found


def span(fault: Fault, experiment: Experiment) -> tuple[float, float]:
    """When a fault is injected and healed, in seconds after the fault phase has begun."""
    end = experiment.spec.phases.fault if fault.for_ is None else fault.at + fault.for_
    return fault.at, end


def _time(fault: Fault, experiment: Experiment) -> list[tuple[str, str, str]]:
    length = experiment.spec.phases.fault
    begin, end = span(fault, experiment)
    if begin >= length:
        message = f"expected a time before the fault phase ends ({format_duration(length)})"
        return [("at", f"{message}, got {format_duration(begin)}", "")]
    if end > length + 1e-9:
        message = f"expected at most {format_duration(length - begin)}, when the fault phase ends"
        hint = f"it would be healed at {format_duration(end)} of {format_duration(length)}"
        return [("for", f"{message}, got {format_duration(end - begin)}", hint)]
    return []


def _sanity(fault: Fault) -> list[tuple[str, str, str]]:
    found: list[tuple[str, str, str]] = []
    if not isinstance(fault, ToxicFault | Layer7Fault):
        return found
    if fault.toxicity == 0:
        found.append(
            ("toxicity", "expected more than 0: it would never strike", "leave it out to strike always")
        )
    least = 1e-6 if isinstance(fault, SlicerFault) else 1e-3
    for key in _DURATION_KEYS:
        seconds = getattr(fault, key, 0.0)
        if seconds > _LONGEST_S:
            found.append((key, f"expected at most 24h, got {format_duration(seconds)}", ""))
        if 0 < seconds < least:
            found.append(
                (key, f"expected at least {format_duration(least)}, got {format_duration(seconds)}", "")
            )
    if isinstance(fault, LatencyFault) and fault.latency == 0 and fault.jitter == 0:
        found.append(("latency", "expected a latency or a jitter: this fault does nothing", ""))
    if isinstance(fault, BandwidthFault) and 0 < fault.rate < 1000:
        found.append(
            ("rate", f"expected 0B/s or at least 1kB/s, got {fault.rate:g}B/s", "proxies count whole kB/s")
        )
    if isinstance(fault, SlicerFault) and fault.size_variation >= fault.average_size:
        message = f"expected less than average_size ({fault.average_size:g}B), got {fault.size_variation:g}B"
        found.append(("size_variation", message, ""))
    if isinstance(fault, SlicerFault) and fault.average_size < 1:
        found.append(("average_size", f"expected at least 1B, got {fault.average_size:g}B", ""))
    for key in ("rate", "average_size", "size_variation", "bytes"):
        if getattr(fault, key, 0.0) > _LARGEST_BYTES:
            found.append((key, "expected at most 1024GiB", ""))
    if not found and isinstance(fault, Layer7Fault) and (refused := layer7_problem(fault)) is not None:
        found.append((*refused, ""))
    return found


def _overlaps(tree: Mapping, experiment: Experiment) -> list[Problem]:
    """What there is only one of at a place: of two such faults at once, the first heal would undo both."""
    problems: list[Problem] = []
    faults = [(i, f) for i, f in enumerate(experiment.spec.faults) if _only_one(f)]
    for position, (index, fault) in enumerate(faults):
        for _, other in faults[:position]:
            begin, end = span(fault, experiment)
            first, last = span(other, experiment)
            if _only_one(fault) == _only_one(other) and begin < last and first < end:
                steps: Steps = ("spec", "faults", index)
                is_so = (
                    f"is {other.type} already"
                    if isinstance(fault, DownFault)
                    else f"has {other.type} already"
                )
                message = f"{fault.place} {is_so}: {other.name} overlaps with {fault.name}"
                problems.append(
                    problem_at(
                        descend(tree, steps)[1], spelled(steps), message, "let one end before the other"
                    )
                )
    return problems


def _only_one(fault: Fault) -> tuple[str, ...]:
    """What the fault takes for itself; empty where many may be at once."""
    if isinstance(fault, DownFault):
        return ("proxy", fault.place)
    if not isinstance(fault, ProcessFault):
        return ()
    return ("process", fault.place, "signals" if fault.type in _BY_SIGNAL else fault.type)
