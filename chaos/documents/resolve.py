"""From a reference to an experiment with all that it refers to, or to everything that is wrong with it.

References, values and their fit are all checked before anything is refused, so that one answer tells all
that can be known. Nothing outside the user's own files is touched: no host is looked up, no port is opened.
"""

from __future__ import annotations

from collections.abc import Mapping as Table
from dataclasses import dataclass, field
from pathlib import Path

from chaos.documents.amend import amended
from chaos.documents.commands import command_problems
from chaos.documents.document import Document, validated
from chaos.documents.fitness import at_layer7, fault_problems, proxies_of
from chaos.documents.hosts import by_tls, target_problems
from chaos.documents.library import Library, Reference, Unknown
from chaos.documents.loads import ResolvedLoad, length_problems, resolved_loads, uses
from chaos.documents.models import Experiment
from chaos.documents.problems import BadInput, Problem, problem_at
from chaos.documents.project import ProjectFolder
from chaos.documents.requirements import ResolvedObjectives, resolved_objectives
from chaos.documents.targets import Target
from chaos.documents.tree import Mapping, Place, Scalar, descend, placed, spelled
from chaos.documents.written import written
from slo.objective import Requirement


@dataclass(frozen=True)
class Resolved:
    """An experiment, and all that it refers to. `resolved_yaml` is all of it as one text, loadable again.

    `root` is the project's folder: paths in targets, and commands, start from there. `at_layer7` is what is
    wrong with its faults at layer 7, and with its target's TLS, if a stock Toxiproxy would have to do them;
    only asking it can tell.
    """

    path: str
    root: Path
    experiment: Experiment
    target: Target
    loads: tuple[ResolvedLoad, ...]
    requirements: tuple[Requirement, ...]
    runbooks: Table[str, Path]
    resolved_yaml: str = field(repr=False)
    at_layer7: tuple[Problem, ...] = ()

    @property
    def name(self) -> str:
        """The experiment's name."""
        return self.experiment.metadata.name


def resolve(
    experiment_ref: str,
    *,
    sets: Table[str, str] | None = None,
    target: str | None = None,
    project: ProjectFolder,
) -> Resolved:
    """The experiment of that name or path, with `--set` values (see `amend`) and another target, if given.

    Raises:
        BadInput: with every problem that was found.
    """
    library = Library(project)
    try:
        document = library.find(("Experiment",), Reference(experiment_ref, Place("")))
    except Unknown as unknown:
        raise BadInput(unknown.problems) from None
    return resolve_document(document, library, sets=sets, target=target)


def resolve_document(
    document: Document, library: Library, *, sets: Table[str, str] | None = None, target: str | None = None
) -> Resolved:
    """As `resolve`, for a document that is at hand. Raises BadInput."""
    tree, problems = amended(document.tree, sets or {})
    if target is not None:
        tree = _retargeted(tree, target)
    found = validated("Experiment", tree)
    experiment = found if isinstance(found, Experiment) else None
    problems += found if isinstance(found, list) else []

    here = Reference("", document.tree.place, "", Path(document.path))
    target_document, target_model, wrong = _target(tree, library, here)
    problems += wrong
    places = proxies_of(target_model) if target_model else None
    loads, wrong = resolved_loads(tree, library, here, places)
    problems += wrong
    problems += _loads_by_tls(tree, loads, target_model)
    objectives = resolved_objectives(tree, experiment, library, here)
    problems += objectives.problems
    if experiment is not None:
        if len(loads) == len(uses(tree)):  # else which is whose is not known
            problems += length_problems(tree, loads, experiment.spec.phases)
        problems += fault_problems(tree, experiment, target_model)
        problems += command_problems(tree, experiment, library.project)
    if problems or experiment is None or target_model is None or target_document is None:
        raise BadInput(problems)
    return Resolved(
        path=document.path,
        root=library.project.root,
        experiment=experiment,
        target=target_model,
        loads=tuple(loads),
        requirements=tuple(objectives.requirements),
        runbooks=dict(objectives.runbooks),
        resolved_yaml=_self_contained(tree, target_document, loads, objectives),
        at_layer7=(*by_tls(target_document, target_model), *at_layer7(tree, experiment)),
    )


def _loads_by_tls(tree: Mapping, loads: list[ResolvedLoad], target: Target | None) -> list[Problem]:
    """Load speaks no TLS."""
    listeners = {name for name, proxy in target.spec.proxies.items() if proxy.tls} if target else set()
    steps = ("spec", "load")
    place = descend(tree, steps)[1]
    hint = "let it go to a proxy without `tls: true`; an https service is reached through its own proxy"
    return [
        problem_at(place, spelled(steps), f"load cannot go to {load.profile.service}, a TLS listener", hint)
        for load in loads
        if load.profile.service in listeners
    ]


def _retargeted(tree: Mapping, target: str) -> Mapping:
    changed = placed(tree, ("spec", "target"), Scalar(Place(f"--target {target}"), target, target))
    return changed if isinstance(changed, Mapping) else tree


def _target(
    tree: Mapping, library: Library, here: Reference
) -> tuple[Document | None, Target | None, list[Problem]]:
    """The target, if it can be used, and what is wrong with it."""
    spec = tree.get("spec")
    name = spec.get("target") if isinstance(spec, Mapping) else None
    if not (isinstance(name, Scalar) and isinstance(name.value, str) and name.value):
        return None, None, []
    in_file = name.place.line > 0
    reference = Reference(
        name.value, name.place, spelled(("spec", "target")) if in_file else "", here.home if in_file else None
    )
    try:
        document = library.find(("Target",), reference)
    except Unknown as unknown:
        return None, None, unknown.problems
    model = validated("Target", document.tree)
    if not isinstance(model, Target):
        return document, None, model if isinstance(model, list) else []
    return document, model, target_problems(document, model, library.project)


def _self_contained(
    tree: Mapping, target: Document, loads: list[ResolvedLoad], objectives: ResolvedObjectives
) -> str:
    """The experiment and everything that it refers to, in one text; references become names within it."""
    place = tree.place
    result: Mapping = tree
    for steps, name in _named_references(tree, target, loads, objectives):
        changed = placed(result, steps, Scalar(place, name, name))
        result = changed if isinstance(changed, Mapping) else result
    documents = {
        id(d.tree): d.tree for d in (target, *(load.document for load in loads), *objectives.documents)
    }
    return written([result, *documents.values()])


def _named_references(
    tree: Mapping, target: Document, loads: list[ResolvedLoad], objectives: ResolvedObjectives
) -> list[tuple[tuple[str | int, ...], str]]:
    found: list[tuple[tuple[str | int, ...], str]] = [(("spec", "target"), target.name)]
    for index, load in enumerate(loads):
        found.append((("spec", "load", index, "profile"), load.document.name))
    for index, requirement in enumerate(objectives.requirements):
        found.append((("spec", "objectives", index, "ref"), requirement.objective.name))
    return found
