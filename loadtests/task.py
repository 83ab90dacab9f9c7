"""The demo task, drawn from its seed: documents, a ledger, a question and the right answer.

Invariant: the same seed gives the same task in every process and on every supported Python, and each rule of
a document matches at least one entry, so every question has an answer. Standard library only.
"""

from __future__ import annotations

import operator
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any, Final, Literal, TypedDict

Operation = Literal["sum", "mean", "min", "max", "count"]
Comparison = Literal["=", "!=", ">=", "<="]

OPERATIONS: Final[tuple[Operation, ...]] = ("sum", "mean", "min", "max", "count")
NUMBER_COLUMNS: Final = ("hours", "cost")
TEXT_COLUMNS: Final = ("project", "office")

PROJECTS = (
    "Alder", "Basalt", "Cedar", "Dune", "Ember", "Fjord",
    "Garnet", "Harbor", "Indigo", "Juniper", "Kestrel", "Lagoon",
)  # fmt: skip
LEADS = (
    "Ines Okafor", "Marek Lindqvist", "Yuki Tanabe", "Priya Raman", "Tomas Varga", "Leila Haddad",
    "Owen Castell", "Sofia Brandt", "Diego Morales", "Hanna Virtanen", "Kwame Boateng", "Nora Sheehan",
)  # fmt: skip
_OFFICES = ("Bergen", "Cork", "Turin", "Porto")
_GOALS = (
    "to replace the billing archive",
    "to measure the water network",
    "to translate the safety manual",
    "to map the old harbour wall",
    "to retire the paper forms",
    "to rehearse the winter timetable",
)
_ENTRIES_PER_PROJECT = 6
COMPARE: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "=": operator.eq,
    "!=": operator.ne,
    ">=": operator.ge,
    "<=": operator.le,
}


class Condition(TypedDict):
    """Which entries count: those whose `column` compares so with `value`."""

    column: str
    comparison: Comparison
    value: str | int


class NothingToAggregate(ValueError):
    """An aggregate over no entries at all."""


@dataclass(frozen=True, slots=True)
class Document:
    """A document of the workspace."""

    id: str
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Entry:
    """A row of the ledger. `cost` in euros."""

    project: str
    office: str
    hours: int
    cost: int


@dataclass(frozen=True, slots=True)
class Task:
    """What is asked, and all that it takes to answer: the oracle's knowledge."""

    question: str
    lead: str
    document: str
    operation: Operation
    column: str
    where: tuple[Condition, ...]
    answer: str


@dataclass(frozen=True, slots=True)
class Drawn:
    """All that follows from a seed. Documents by id."""

    documents: Mapping[str, Document]
    ledger: tuple[Entry, ...]
    task: Task


def counts(entry: Entry, condition: Condition) -> bool:
    """Whether the condition holds for the entry."""
    return COMPARE[condition["comparison"]](getattr(entry, condition["column"]), condition["value"])


def aggregate(operation: str, values: list[int]) -> str:
    """The number, as it is to be submitted: whole, or a mean to two decimals (half to even).

    Raises NothingToAggregate without values, unless they are to be counted.
    """
    if operation == "count":
        return str(len(values))
    if not values:
        raise NothingToAggregate("where: no entry of the ledger matches")
    if operation == "mean":
        mean = Decimal(sum(values)) / len(values)
        return str(mean.quantize(Decimal("0.01"), rounding=ROUND_HALF_EVEN))
    aggregates: dict[str, Callable[[list[int]], int]] = {"sum": sum, "min": min, "max": max}
    return str(aggregates[operation](values))


def draw(seed: int) -> Drawn:
    """What follows from a seed; the same for the same seed, in every process."""
    rng = random.Random(f"brownout workspace {seed}")
    projects, leads = list(PROJECTS), list(LEADS)
    rng.shuffle(projects)
    rng.shuffle(leads)
    ledger = tuple(_entries(rng, projects))
    rules = [_rule(rng, project, ledger) for project in projects]
    documents = {}
    for number, (project, lead, rule) in enumerate(zip(projects, leads, rules, strict=True), 1):
        ident = f"doc-{number:02}"
        documents[ident] = Document(ident, f"Project {project}: charter", _text(rng, project, lead, rule))
    chosen = rng.randrange(len(projects))
    task = _task(rng, f"doc-{chosen + 1:02}", leads[chosen], projects[chosen], rules[chosen], ledger)
    return Drawn(documents, ledger, task)


def _entries(rng: random.Random, projects: list[str]) -> list[Entry]:
    entries = [
        Entry(project, rng.choice(_OFFICES), rng.randrange(1, 41), rng.randrange(100, 9000))
        for project in projects
        for _ in range(_ENTRIES_PER_PROJECT)
    ]
    rng.shuffle(entries)
    return entries


def _rule(rng: random.Random, project: str, ledger: tuple[Entry, ...]) -> Condition:
    """A condition taken from one of the project's own entries, so that at least that one matches."""
    entry = rng.choice([e for e in ledger if e.project == project])
    comparison: Comparison = rng.choice((">=", "<="))
    if rng.random() < 0.4:
        return Condition(column="office", comparison="=", value=entry.office)
    return Condition(column="hours", comparison=comparison, value=entry.hours)


def _text(rng: random.Random, project: str, lead: str, rule: Condition) -> str:
    if rule["column"] == "office":
        counted = f"entries from the {rule['value']} office"
    else:
        bound = "at least" if rule["comparison"] == ">=" else "at most"
        counted = f"entries of {bound} {rule['value']} hours"
    return (
        f"Project {project} was set up in {rng.randrange(2015, 2026)} {rng.choice(_GOALS)}. "
        f"It is led by {lead}, from the {rng.choice(_OFFICES)} office. "
        f"In the ledger only {counted} count for {project}. "
        f"A review is due in {rng.choice(('March', 'June', 'September', 'December'))}, "
        f"with a budget of {rng.randrange(20, 400)} thousand euros"
    ) + "."


def _task(
    rng: random.Random, document: str, lead: str, project: str, rule: Condition, ledger: tuple[Entry, ...]
) -> Task:
    operation = rng.choice(OPERATIONS)
    column = rng.choice(NUMBER_COLUMNS)
    where = (Condition(column="project", comparison="=", value=project), rule)
    values = [int(getattr(entry, column)) for entry in ledger if all(counts(entry, c) for c in where)]
    question = (
        f"The project led by {lead} has entries in the ledger. Over those that count by the rule in the "
        f"project's document, what is the {operation} of {column}? The ledger has the columns "
        f"{', '.join(TEXT_COLUMNS + NUMBER_COLUMNS)}. Submit the number alone; a mean to two decimals."
    )
    return Task(question, lead, document, operation, column, where, aggregate(operation, values))
