"""A load profile as an experiment uses it: the profile's own keys, overridden by the experiment's."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from chaos.documents.commands import load_problems
from chaos.documents.document import Document, parsed
from chaos.documents.library import Library, Reference, Unknown
from chaos.documents.models import MOST_ITEMS, Phases
from chaos.documents.problems import Problem, did_you_mean, listed, problem_at
from chaos.documents.tree import Entry, Mapping, Node, Place, Scalar, Sequence, Steps, descend, spelled
from loadtests.arrivals import ByPhase, Unreadable, length_s
from loadtests.options.base import Flaw
from loadtests.profile import LoadProfileSpec
from slo.quantities import format_duration

_SPEC: TypeAdapter[LoadProfileSpec] = TypeAdapter(LoadProfileSpec)
_OVERRIDES = ("arrivals", "process", "users", "pause", "with")
_EITHER = {"arrivals": "users", "users": "arrivals"}
"""What is written in an experiment takes the place of the profile's other model."""


@dataclass(frozen=True)
class ResolvedLoad:
    """One workload: its name (the profile's, numbered when it is used again), and its profile as merged."""

    name: str
    document: Document
    profile: LoadProfileSpec


def uses(tree: Mapping) -> list[tuple[Steps, Mapping]]:
    """The items of `spec.load` and where they stand; a single one may be written without a list."""
    node, _ = descend(tree, ("spec", "load"))
    if isinstance(node, Mapping):
        return [(("spec", "load"), node)]
    if isinstance(node, Sequence):
        return [
            (("spec", "load", i), item)
            for i, item in enumerate(node.items[:MOST_ITEMS])
            if isinstance(item, Mapping)
        ]
    return []


def resolved_loads(
    tree: Mapping, library: Library, reference: Reference, places: list[str] | None
) -> tuple[list[ResolvedLoad], list[Problem]]:
    """The workloads of an experiment, and what is wrong with them.

    `reference` is the experiment's own (its home is where paths are relative to); `places` are the target's
    services and proxies, None when the target is unknown.
    """
    loads: list[ResolvedLoad] = []
    problems: list[Problem] = []
    for steps, use in uses(tree):
        name = use.get("profile")
        if not (isinstance(name, Scalar) and isinstance(name.value, str) and name.value):
            continue  # the experiment's own validation says so
        key = (*steps, "profile")
        try:
            document = library.find(
                ("LoadProfile",), Reference(name.value, name.place, spelled(key), reference.home)
            )
        except Unknown as unknown:
            problems += unknown.problems
            continue
        merged = _merged(document.tree, use)
        profile = _validated(merged, tree.place.path, steps)
        if isinstance(profile, list):
            problems += profile
            continue
        profile, flaws = _with_files(profile, _root(document, library))
        problems += _told(flaws, merged, tree.place.path, steps)
        problems += load_problems(document, merged, tree.place.path, steps, library.project)
        if places is not None and profile.service not in places:
            node, place = descend(merged, ("service",))
            known = f"its places are {listed(places, 'and')}"
            hint = did_you_mean(profile.service, places, otherwise=known)
            message = f"{document.name} needs the service {profile.service}, which the target has not"
            problems.append(problem_at(name.place if node else place, spelled(key), message, hint))
        loads.append(ResolvedLoad(_free(document.name, [load.name for load in loads]), document, profile))
    return loads, problems


def length_problems(tree: Mapping, loads: Iterable[ResolvedLoad], phases: Phases) -> list[Problem]:
    """Rates that would go on changing after their phase, or the run, is over: nobody would see it."""
    lengths = {"baseline": phases.baseline, "fault": phases.fault, "recovery": phases.recovery}
    whole = sum(lengths.values())
    problems: list[Problem] = []
    parts: list[tuple[tuple[str, ...], float, float]]
    for (steps, use), load in zip(uses(tree), loads, strict=False):
        arrivals = load.profile.arrivals
        if arrivals is None:
            continue
        if isinstance(arrivals, ByPhase):
            parts = [((name,), length_s(getattr(arrivals, name)), lengths[name]) for name in lengths]
        else:
            parts = [((), length_s(arrivals), whole)]
        for part, takes, has in parts:
            if takes <= has + 1e-9:
                continue
            key = ("arrivals", *part)
            theirs = "arrivals" in use.entries
            node = use if theirs else load.document.tree
            at = key if theirs else ("spec", *key)
            place = descend(node, at)[1]
            of = f"the phase {part[0]} lasts" if part else "the run's phases last"
            message = f"the rate changes for {format_duration(takes)}, and {of} {format_duration(has)}"
            hint = "shorten it, or lengthen the phase; a trace can be played faster (speed)"
            problems.append(problem_at(place, spelled((*steps, *key) if theirs else at), message, hint))
    return problems


def profile_problems(document: Document, library: Library) -> list[Problem]:
    """What is wrong with a load profile by itself."""
    spec = document.tree.get("spec")
    if not isinstance(spec, Mapping):
        return []
    found = _validated(spec, "", ())
    if isinstance(found, list):
        return found
    _, flaws = _with_files(found, _root(document, library))
    return [*_told(flaws, spec, "", ()), *load_problems(document, spec, "", (), library.project)]


def _root(document: Document, library: Library) -> Path:
    """Where the files start that a profile names: the project's folder, or that of a shipped profile."""
    folder = Path(document.path).parent
    own = library.folder("shipped", "loadtests/profiles")  # also where one is checked by its path
    return folder if document.where == "shipped" or folder.resolve() == own else library.project.root


def _with_files(profile: LoadProfileSpec, root: Path) -> tuple[LoadProfileSpec, list[Flaw]]:
    """The profile with what its files hold, and what is wrong with it."""
    profile = profile.placed(root)
    try:
        profile = profile.with_arrivals(root)
    except Unreadable as error:
        at = (error.line, 1)
        flaw = Flaw(("arrivals",), str(error), file=str(error.path) if error.line else None, at=at)
        return profile, [flaw, *profile.flaws()]
    return profile, profile.flaws()


def _told(flaws: Iterable[Flaw], merged: Mapping, experiment: str, steps: Steps) -> list[Problem]:
    """Flaws, each where it was written: in the experiment, the profile, or a file that it names."""
    problems: list[Problem] = []
    for flaw in flaws:
        place = Place(flaw.file, *flaw.at) if flaw.file else descend(merged, flaw.key)[1]
        theirs = bool(experiment) and (place.path == experiment or place.path.startswith("--set"))
        key = spelled((*(steps if theirs else ("spec",)), *flaw.key))
        problems.append(problem_at(place, key, flaw.message, flaw.hint))
    return problems


def _free(name: str, taken: list[str]) -> str:
    number = 1 + sum(1 for other in taken if other == name or other.startswith(f"{name}-"))
    return name if number == 1 else f"{name}-{number}"


def _merged(profile: Mapping, use: Mapping) -> Mapping:
    """The profile's spec with the overrides put over it; every node keeps its own place."""
    spec = profile.get("spec")
    base = spec if isinstance(spec, Mapping) else Mapping(profile.place, {})
    entries = dict(base.entries)
    for key in _OVERRIDES:
        entry = use.entries.get(key)
        if entry is None or (isinstance(entry.value, Scalar) and entry.value.value is None):
            continue
        own = base.get(key)
        value: Node = entry.value
        if key == "with" and isinstance(own, Mapping) and isinstance(value, Mapping):
            value = Mapping(value.place, {**own.entries, **value.entries})
        entries[key] = Entry(entry.place, value)
        if key in _EITHER and _EITHER[key] not in use.entries:
            entries.pop(_EITHER[key], None)
    return Mapping(base.place, entries)


def _validated(spec: Mapping, experiment: str, steps: Steps) -> LoadProfileSpec | list[Problem]:
    """The profile, or problems: keyed by the experiment where it overrides, else by the profile."""
    own = parsed(_SPEC, LoadProfileSpec, spec, ("spec",))
    if not experiment or not isinstance(own, list):
        return own
    theirs = parsed(_SPEC, LoadProfileSpec, spec, steps)
    problems = zip(own, theirs if isinstance(theirs, list) else own, strict=True)
    return [
        mine if mine.path != experiment and not mine.path.startswith("--set") else their
        for mine, their in problems
    ]
