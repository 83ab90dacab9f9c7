"""What is asked: from a reference and options to the plan of all points, or to what is wrong."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

from chaos.capacity.plans import Ground, clashes
from chaos.capacity.standing import askable
from chaos.documents.amend import parse_sets
from chaos.documents.document import Document, validated
from chaos.documents.fitness import proxies_of
from chaos.documents.library import Library, Reference, Unknown
from chaos.documents.problems import BadInput, did_you_mean, listed
from chaos.documents.project import ProjectFolder
from chaos.documents.resolve import Resolved, resolve_document
from chaos.documents.source import parse_text
from chaos.documents.targets import Target
from chaos.documents.tree import Mapping, Place
from chaos.healing import Left
from chaos.plan import Plan, PlannedFault
from chaos.planning import make_plan
from chaos.proxy_servers import layer7_refused

PLACEHOLDER = "placeholder"


@dataclass(frozen=True)
class Options:
    """What was asked for on the command line. Rates are arrivals per second, times seconds.

    `start` and `highest` None: the load's own rate, and 64 times that.
    """

    reference: str
    profile: str | None = None
    objectives: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()
    control_only: bool = False
    load: str | None = None
    start: float | None = None
    highest: float | None = None
    precision: float = 0.05
    point_min_s: float = 4.0
    point_max_s: float = 60.0
    seed: int | None = None
    sets: tuple[str, ...] = ()
    target: str | None = None
    toxiproxy: str | None = None
    workers: int | None = None
    out: Path | None = None
    as_json: bool = False
    no_color: bool = False
    leftovers: tuple[Left, ...] = ()


@dataclass(frozen=True)
class Asked:
    """What is to be searched, all of it checked."""

    ground: Ground
    resolved: Resolved
    start: float
    highest: float


def asked(options: Options, project: ProjectFolder, seed: int) -> Asked:
    """Raises BadInput: with everything that is wrong."""
    library = Library(project)
    try:
        document = library.find(("Experiment", "Target"), Reference(options.reference, Place("")))
    except Unknown as unknown:
        raise BadInput(unknown.problems) from None
    sets = parse_sets(options.sets)
    if document.kind == "Target":
        document = _experiment_on(document, options)
    resolved = _resolved(document, library, options, sets)
    problems = layer7_refused([resolved], url=options.toxiproxy)[0]
    if problems:
        raise BadInput(problems)
    plan = make_plan(resolved, seed, project.config.lease)
    if options.toxiproxy is not None:
        plan = plan.model_copy(update={"toxiproxy": options.toxiproxy})
    if not any(askable(r) for r in plan.requirements):
        message = (
            "there is no objective that a held rate can keep or miss: a recovery is about what comes after"
        )
        raise BadInput.of(resolved.path, message, "name one: --objective NAME")
    load = _load(plan, options.load)
    start, highest = _rates(plan, load, options)
    return Asked(Ground(plan, load, _faults(plan, options)), resolved, start, highest)


def _experiment_on(target: Document, options: Options) -> Document:
    """An experiment on a target that is named alone: load and objectives come from the command line."""
    if options.profile is None or not options.objectives:
        message = f"{target.name} is a target: it does not say who comes, nor what must hold"
        hint = "add --profile NAME and --objective NAME, or name an experiment"
        raise BadInput.of(options.reference, message, hint)
    if options.faults:
        message = f"{target.name} is a target, and has no faults"
        hint = f"name an experiment that has, with --target {target.name}"
        raise BadInput.of("--fault", message, hint)
    model = validated("Target", target.tree)
    places = proxies_of(model) if isinstance(model, Target) else []
    document = {
        "apiVersion": "brownout/v1",
        "kind": "Experiment",
        "metadata": {"name": f"capacity-of-{target.name}"[:63].rstrip("-.")},
        "spec": {
            "target": options.reference,
            "load": {"profile": options.profile},
            "phases": {"baseline": "1s", "fault": "1s", "recovery": "1s"},
            # An experiment has a fault; this one is never injected.
            "faults": [
                {"name": PLACEHOLDER, "place": (places or ["none"])[0], "type": "latency", "latency": "1ms"}
            ],
            "objectives": [{"ref": name} for name in options.objectives],
        },
    }
    source = parse_text(json.dumps(document), f"brownout capacity {options.reference}")
    tree = source.documents[0]
    assert isinstance(tree, Mapping)  # noqa: S101 - written above
    return Document("Experiment", document["metadata"]["name"], "here", tree)  # type: ignore[index]


def _resolved(document: Document, library: Library, options: Options, sets: dict[str, str]) -> Resolved:
    """The experiment, with another profile and other objectives where those are asked for."""
    ours = dict(sets)
    if options.profile is not None:
        ours["spec.load"] = json.dumps({"profile": options.profile})
    resolved = resolve_document(document, library, sets=ours, target=options.target)
    if not options.objectives:
        return resolved
    own = {r.objective.name: r for r in resolved.requirements}
    others = [name for name in options.objectives if name not in own]
    if others:
        ours["spec.objectives"] = json.dumps([{"ref": name} for name in others])
        if resolved.experiment.spec.abort:
            ours["spec.abort"] = "[]"  # one may name an objective that is gone
        more = resolve_document(document, library, sets=ours, target=options.target)
        own |= dict(zip(others, more.requirements, strict=True))
    return replace(resolved, requirements=tuple(own[name] for name in dict.fromkeys(options.objectives)))


def _load(plan: Plan, name: str | None) -> int:
    """The index of the load whose rate is searched."""
    names = [workload.name for workload in plan.workloads]
    if name is None and len(names) > 1:
        message = f"there are several loads: {listed(names, 'and')}"
        raise BadInput.of(
            plan.experiment, message, "--load NAME says whose rate is searched; the others stay"
        )
    if name is not None and name not in names:
        hint = did_you_mean(name, names, otherwise=f"there is {listed(names, 'and')}")
        raise BadInput.of("--load", f"there is no load {name}", hint)
    index = 0 if name is None else names.index(name)
    profile = plan.workloads[index].profile
    if profile.own_schedule:
        message = (
            f"{names[index]} ({profile.user}) says by itself when its users come: it has no rate to search"
        )
        raise BadInput.of(plan.experiment, message)
    return index


def _rates(plan: Plan, load: int, options: Options) -> tuple[float, float]:
    """Where the search starts, and what it does not go beyond."""
    own = plan.workloads[load].profile.arrivals
    start = options.start or (float(own) if isinstance(own, int | float) else 5.0)
    highest = options.highest or 64 * start
    if highest < start:
        raise BadInput.of("--to", f"expected at least --from ({start:g}/s), got {highest:g}/s")
    return start, highest


def _faults(plan: Plan, options: Options) -> tuple[PlannedFault, ...]:
    """The faults of the fault arm; none where there is none."""
    own = {fault.name: fault for fault in plan.faults if fault.name != PLACEHOLDER}
    if options.control_only:
        return ()
    for name in options.faults:
        if name not in own:
            hint = did_you_mean(name, list(own), otherwise=f"there is {listed(list(own), 'and')}")
            raise BadInput.of("--fault", f"{plan.experiment} has no fault {name}", hint)
    faults = tuple(own[name] for name in options.faults) if options.faults else tuple(own.values())
    if (two := clashes(faults)) is not None:
        message = f"{two[0]} and {two[1]} cannot be in place at one time, as they would have to for a point"
        raise BadInput.of(plan.experiment, message, "choose with --fault NAME")
    return faults
