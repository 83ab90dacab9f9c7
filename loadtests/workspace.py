"""The demo environment's task, without a server: a seeded workspace, an episode in it, and policies.

Invariant: all of it follows from the task's seed, so the reward of each policy is known before anything is
sent (`REWARDS`); a reward that differs was changed on its way. Standard library only: load generators play
the policies, and must not import a server for it.

A task asks for one number over a ledger. Which entries count is said in one of twelve documents, and the
document is to be found by who leads the project: search, read, compute, submit.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import lru_cache
from typing import Final, Literal, NotRequired, TypedDict

from loadtests.task import (
    COMPARE,
    LEADS,
    NUMBER_COLUMNS,
    OPERATIONS,
    PROJECTS,
    TEXT_COLUMNS,
    Condition,
    Document,
    Entry,
    NothingToAggregate,
    Operation,
    Task,
    aggregate,
    counts,
    draw,
)

Kind = Literal["search", "read", "compute", "submit"]
Policy = Literal["oracle", "null", "random"]

REWARDS: Final[Mapping[Policy, float]] = {"oracle": 1.0, "null": 0.0, "random": 0.0}
"""The sum of an episode's rewards, by policy: known in advance, for every seed and number of steps."""

MAX_STEPS: Final = 100_000
"""Steps after which an episode ends by itself, unless it is created with another number."""

_HITS_MAX = 5
_WORD = re.compile(r"[a-z0-9]+")
_NUMBER = re.compile(r"-?\d{1,15}(?:\.\d{1,6})?")


class Action(TypedDict):
    """One step, as it goes over the wire. Each kind reads its own keys, and ignores the others."""

    kind: Kind
    query: NotRequired[str]
    document: NotRequired[str]
    operation: NotRequired[Operation]
    column: NotRequired[str]
    where: NotRequired[list[Condition]]
    answer: NotRequired[str]


class Impossible(ValueError):
    """An action that cannot be performed, such as reading a document that is not there."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A document that a search found, with the sentence that it was found by."""

    id: str
    title: str
    snippet: str


@dataclass(frozen=True)
class Workspace:
    """The documents, the ledger and the task of one seed. Immutable, so that sessions may share it."""

    documents: Mapping[str, Document]
    ledger: tuple[Entry, ...]
    task: Task

    def search(self, query: str) -> tuple[Hit, ...]:
        """At most five documents that share words with `query`, those that share most first."""
        wanted = set(_WORD.findall(query.lower()))
        scored = []
        for document in self.documents.values():
            score = len(wanted & set(_WORD.findall(f"{document.title} {document.text}".lower())))
            if score:
                scored.append((-score, document.id, document))
        return tuple(Hit(d.id, d.title, _snippet(d, wanted)) for _, _, d in sorted(scored)[:_HITS_MAX])

    def read(self, document: str) -> str:
        """The text of a document. Raises Impossible when there is none of this id."""
        if document not in self.documents:
            raise Impossible(
                f"document: expected one of doc-01 to doc-{len(self.documents):02}, got {document!r}"
            )
        return self.documents[document].text

    def compute(self, operation: str, column: str, where: tuple[Condition, ...]) -> str:
        """`operation` over `column` of the entries for which all of `where` holds; means to two decimals.

        Raises:
            Impossible: an unknown operation, column or comparison, or no entry to compute over.
        """
        if operation not in OPERATIONS:
            raise Impossible(f"operation: expected one of {', '.join(OPERATIONS)}, got {operation!r}")
        if column not in NUMBER_COLUMNS:
            raise Impossible(f"column: expected one of {', '.join(NUMBER_COLUMNS)}, got {column!r}")
        for condition in where:
            _check(condition)
        values = [
            int(getattr(entry, column)) for entry in self.ledger if all(counts(entry, c) for c in where)
        ]
        try:
            return aggregate(operation, values)
        except NothingToAggregate as error:
            raise Impossible(str(error)) from error


def _check(condition: Condition) -> None:
    column, comparison, value = condition["column"], condition["comparison"], condition["value"]
    if column in NUMBER_COLUMNS:
        if not isinstance(value, int):
            raise Impossible(f"where: {column} compares with a whole number, got {value!r}")
        allowed: tuple[str, ...] = tuple(COMPARE)
    elif column in TEXT_COLUMNS:
        allowed = ("=", "!=")
    else:
        expected = ", ".join(TEXT_COLUMNS + NUMBER_COLUMNS)
        raise Impossible(f"where: expected one of the columns {expected}, got {column!r}")
    if comparison not in allowed:
        raise Impossible(f"where: {column} compares by {', '.join(allowed)}, got {comparison!r}")


def _snippet(document: Document, wanted: set[str]) -> str:
    sentences = document.text.split(". ")
    return max(sentences, key=lambda s: len(wanted & set(_WORD.findall(s.lower())))).rstrip(".") + "."


@lru_cache(maxsize=256)
def workspace(seed: int) -> Workspace:
    """The workspace of a task's seed; the same for the same seed, in every process."""
    drawn = draw(seed)
    return Workspace(drawn.documents, drawn.ledger, drawn.task)


# --- an episode ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Result:
    """What one step came to. `error` says why an action could not be performed; it cost its step anyway."""

    text: str
    reward: float = 0.0
    done: bool = False
    hits: tuple[Hit, ...] = ()
    error: str = ""


ENDED: Final = Result(text="The episode has ended.", done=True)


@dataclass(slots=True)
class Episode:
    """One attempt at the task of `seed`, over after a submission or `max_steps` steps."""

    seed: int
    max_steps: int = MAX_STEPS
    steps: int = field(default=0, init=False)
    done: bool = field(default=False, init=False)

    @property
    def question(self) -> str:
        """What is asked."""
        return workspace(self.seed).task.question

    def act(self, action: Action) -> Result:
        """Perform one step. Once the episode is over nothing happens any more: done, and no reward."""
        self.steps += 1
        if self.done:
            return ENDED
        try:
            result = _perform(workspace(self.seed), action)
        except Impossible as error:
            result = Result(text=str(error), error=str(error))
        self.done = result.done or self.steps >= self.max_steps
        if self.done and not result.done:
            return Result(result.text, done=True, hits=result.hits, error=result.error)
        return result


def _perform(place: Workspace, action: Action) -> Result:
    kind = action.get("kind")
    if kind == "search":
        hits = place.search(action.get("query", ""))
        return Result("\n".join(f"{h.id} {h.title}: {h.snippet}" for h in hits) or "No document.", hits=hits)
    if kind == "read":
        return Result(place.read(action.get("document", "")))
    if kind == "compute":
        where = tuple(action.get("where", ()))
        return Result(place.compute(action.get("operation", ""), action.get("column", ""), where))
    if kind == "submit":
        right = is_right(place.task.answer, action.get("answer", ""))
        return Result("Submitted.", reward=1.0 if right else 0.0, done=True)
    raise Impossible(f"kind: expected search, read, compute or submit, got {kind!r}")


def is_right(expected: str, answer: str) -> bool:
    """Whether `answer` is the number `expected`, however its decimals are written (`12.5` is `12.50`)."""
    answer = answer.strip()
    return _NUMBER.fullmatch(answer) is not None and Decimal(answer) == Decimal(expected)


# --- policies -----------------------------------------------------------------------------------------------


def oracle_actions(seed: int, steps: int) -> list[Action]:
    """Exactly `steps` actions that earn 1.0: search, read, some more reading, compute, submit.

    With fewer than four steps it knows more than it has read. Raises ValueError when `steps` is below 1.
    """
    if steps < 1:
        raise ValueError(f"steps: expected at least 1, got {steps}")
    place = workspace(seed)
    task = place.task
    begin: list[Action] = [
        {"kind": "search", "query": task.lead},
        {"kind": "read", "document": task.document},
    ]
    end: list[Action] = [
        {"kind": "compute", "operation": task.operation, "column": task.column, "where": list(task.where)},
        {"kind": "submit", "answer": task.answer},
    ]
    documents = list(place.documents)
    between: list[Action] = []
    for n in range(steps - len(begin) - len(end)):
        if n % 3 == 2:
            between.append({"kind": "search", "query": PROJECTS[n % len(PROJECTS)]})
        else:
            between.append({"kind": "read", "document": documents[n % len(documents)]})
    return (begin + between + end)[-steps:]


def null_actions(seed: int) -> list[Action]:
    """One action, which earns 0.0: an empty answer, at once."""
    return [{"kind": "submit", "answer": ""}]


def random_actions(seed: int, steps: int, rng: random.Random) -> list[Action]:
    """Exactly `steps` actions drawn from `rng`, which earn 0.0: its guess is a word, the answer a number.

    Raises ValueError when `steps` is below 1.
    """
    if steps < 1:
        raise ValueError(f"steps: expected at least 1, got {steps}")
    documents = list(workspace(seed).documents)

    def draw() -> Action:
        kind = rng.choice(("search", "read", "compute"))
        if kind == "search":
            return {"kind": "search", "query": rng.choice(LEADS + PROJECTS)}
        if kind == "read":
            return {"kind": "read", "document": rng.choice(documents)}
        return {
            "kind": "compute",
            "operation": rng.choice(OPERATIONS),
            "column": rng.choice(NUMBER_COLUMNS),
            "where": [{"column": "project", "comparison": "=", "value": rng.choice(PROJECTS)}],
        }

    return [draw() for _ in range(steps - 1)] + [{"kind": "submit", "answer": rng.choice(PROJECTS)}]


def policy_actions(policy: Policy, seed: int, steps: int, rng: random.Random) -> list[Action]:
    """What `policy` does about the task of `seed`; it earns `REWARDS[policy]`. Only `random` uses `rng`."""
    if policy == "oracle":
        return oracle_actions(seed, steps)
    if policy == "null":
        return null_actions(seed)
    return random_actions(seed, steps, rng)
