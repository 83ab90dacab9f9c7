"""The objectives of an experiment as requirements: what is judged, where it must hold, by which runbook."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from chaos.documents.document import OBJECTIVE_KINDS, Document, validated
from chaos.documents.library import Library, Reference, Unknown
from chaos.documents.models import (
    MOST_ITEMS,
    AbortObjective,
    Experiment,
    InvariantDocument,
    ObjectiveUse,
    RecoveryDocument,
)
from chaos.documents.problems import Problem, did_you_mean, listed, problem_at, shown
from chaos.documents.tree import Mapping, Scalar, Sequence, Steps, descend, spelled
from slo.metadata import RUNBOOK_ANNOTATION
from slo.objective import PHASES, Invariant, Judged, Objective, Phase, Recovery, Requirement
from slo.openslo import SLODocument, to_objective


@dataclass
class ResolvedObjectives:
    """What the objectives of an experiment came to."""

    requirements: list[Requirement] = field(default_factory=list)
    documents: list[Document] = field(default_factory=list)
    runbooks: dict[str, Path] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


def resolved_objectives(
    tree: Mapping, experiment: Experiment | None, library: Library, reference: Reference
) -> ResolvedObjectives:
    """All objectives that an experiment uses; with `experiment` None only the references are checked."""
    result = ResolvedObjectives()
    node, _ = descend(tree, ("spec", "objectives"))
    items = node.items[:MOST_ITEMS] if isinstance(node, Sequence) else ()
    for index, item in enumerate(items):
        steps: Steps = ("spec", "objectives", index)
        ref = item.get("ref") if isinstance(item, Mapping) else None
        if (
            not isinstance(item, Mapping)
            or not isinstance(ref, Scalar)
            or not isinstance(ref.value, str)
            or not ref.value
        ):
            continue
        at = Reference(ref.value, ref.place, spelled((*steps, "ref")), reference.home)
        judged = objective_of(at, library, result)
        if judged is None:
            continue
        runbook = _runbook(item, steps, result.documents, judged, library, result)
        if experiment is not None and runbook is not None:
            use = experiment.spec.objectives[index]
            _require(use, judged, runbook, item, steps, result)
    if experiment is not None:
        _check_aborts(tree, experiment, [r.objective.name for r in result.requirements], result)
    return result


def objective_of(
    reference: Reference, library: Library, result: ResolvedObjectives, *, of_recovery: bool = False
) -> Judged | None:
    """The objective that is referred to; None when it cannot be used, and `result.problems` says why."""
    try:
        document = library.find(OBJECTIVE_KINDS, reference)
    except Unknown as unknown:
        result.problems += unknown.problems
        return None
    if of_recovery and document.kind != "SLO":
        message = f"expected an SLO, got the {document.kind.lower()} {document.name}"
        result.problems.append(reference.problem(message, "a recovery asks when an SLO holds again"))
        return None
    model = validated(document.kind, document.tree)
    if isinstance(model, list):
        result.problems += model
        return None
    judged = _judged(document, model, library, result)
    if judged is not None and all(d.tree is not document.tree for d in result.documents):
        result.documents.append(document)
    return judged


def _judged(document: Document, model: object, library: Library, result: ResolvedObjectives) -> Judged | None:
    if isinstance(model, InvariantDocument):
        return Invariant(name=model.metadata.name, description=_described(document), check=model.spec.check)
    if isinstance(model, RecoveryDocument):
        node, place = descend(document.tree, ("spec", "objective"))
        at = Reference(
            model.spec.objective, node.place if node else place, "spec.objective", Path(document.path)
        )
        inner = objective_of(at, library, result, of_recovery=True)
        if not isinstance(inner, Objective):
            return None
        spec = model.spec
        return Recovery(
            name=model.metadata.name,
            description=_described(document),
            objective=inner,
            within_s=spec.within,
            window_s=spec.window,
            windows=spec.windows,
        )
    return to_objective(model) if isinstance(model, SLODocument) else None


def _described(document: Document) -> str:
    spec = document.tree.get("spec")
    text = spec.text("description") if isinstance(spec, Mapping) else None
    return " ".join(text.split()) if text else document.description


def _runbook(
    item: Mapping,
    steps: Steps,
    documents: list[Document],
    judged: Judged,
    library: Library,
    result: ResolvedObjectives,
) -> str | None:
    """The runbook of one use: the use's own, else the annotation of the objective's document."""
    own = item.get("runbook")
    if isinstance(own, Scalar) and isinstance(own.value, str) and own.value:
        name, place, key = own.value, own.place, spelled((*steps, "runbook"))
    else:
        document = next(d for d in documents if d.name == judged.name and d.kind in OBJECTIVE_KINDS)
        annotation, _ = descend(document.tree, ("metadata", "annotations", RUNBOOK_ANNOTATION))
        if not (isinstance(annotation, Scalar) and isinstance(annotation.value, str) and annotation.value):
            message = f"the objective {judged.name} is used without a runbook"
            hint = f"write runbook: NAME here, or the annotation {RUNBOOK_ANNOTATION} in the objective"
            result.problems.append(problem_at(item.place, spelled(steps), message, hint))
            return None
        name, place = annotation.value, annotation.place
        key = f"metadata.annotations.{RUNBOOK_ANNOTATION}"
    path = library.find_runbook(name)
    if path is None:
        names = library.runbook_names()
        known = f"known are {listed(names, 'and')}" if names else "write it in runbooks/"
        hint = did_you_mean(name, names, otherwise=known)
        result.problems.append(problem_at(place, key, f"there is no runbook {shown(name)}", hint))
        return None
    result.runbooks[name] = path
    return name


def _require(
    use: ObjectiveUse, judged: Judged, runbook: str, item: Mapping, steps: Steps, result: ResolvedObjectives
) -> None:
    compares = isinstance(judged, Invariant) and judged.check == "score-invariance"
    phases: tuple[Phase, ...] = use.phases or (("recovery",) if isinstance(judged, Recovery) else PHASES)
    if compares and not use.phases:
        phases = ("fault", "recovery")
    ordered = tuple(phase for phase in PHASES if phase in phases)
    node, place = descend(item, ("phases",))
    place = node.place if node else item.place
    key = spelled((*steps, "phases"))
    if len(ordered) < len(phases):
        result.problems.append(problem_at(place, key, "a phase is written twice"))
    if isinstance(judged, Recovery) and ordered != ("recovery",):
        message = f"{judged.name} is a recovery: it is judged in the phase recovery only"
        result.problems.append(problem_at(place, key, message, "leave phases out"))
    if compares and "baseline" in phases:
        message = f"{judged.name} compares with the baseline, so it cannot be judged in it"
        result.problems.append(problem_at(place, key, message, "leave out baseline, or phases altogether"))
    for other in result.requirements:
        both = [phase for phase in ordered if phase in other.phases]
        if other.objective.name == judged.name and both:
            message = f"{judged.name} is used twice for the phase {both[0]}"
            ref, at = descend(item, ("ref",))
            result.problems.append(
                problem_at(
                    ref.place if ref else at, spelled((*steps, "ref")), message, "name each objective once"
                )
            )
            return
    result.requirements.append(
        Requirement(objective=judged, phases=ordered, min_samples=use.min_samples, runbook=runbook)
    )


def _check_aborts(
    tree: Mapping, experiment: Experiment, names: list[str], result: ResolvedObjectives
) -> None:
    for index, abort in enumerate(experiment.spec.abort):
        if isinstance(abort, AbortObjective) and abort.objective not in names:
            steps: Steps = ("spec", "abort", index, "objective")
            hint = did_you_mean(abort.objective, names, otherwise=f"they are {listed(names, 'and')}")
            message = f"{shown(abort.objective)} is none of the objectives of this experiment"
            result.problems.append(problem_at(descend(tree, steps)[1], spelled(steps), message, hint))
