"""The demo dataset: seeded questions whose right answers are known, and how a completion is scored.

Invariant: an item follows from its number, so the model endpoint, the scorer and the load generator agree on
it without talking to each other. A completion names the item it answers and ends with the answer: a reply
that belongs to another question shows as such, and one that was cut short has lost its answer. Standard
library only.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

ITEMS_MAX: Final = 1_000_000
"""Items are numbered from 0 up to, and without, this."""

_MARKER = re.compile(r"\[item-(\d{1,6})\]")
_ID = re.compile(r"item-(0|[1-9]\d{0,5})")
_ANSWER = re.compile(r"ANSWER:[ \t]*([^\s.,;]+)")

_CITIES = ("Bergen", "Cork", "Turin", "Porto", "Ghent", "Brno", "Izmir", "Tartu")
_GOODS = ("copper", "timber", "salt", "glass", "wool", "amber", "linen", "cork")


class UnknownItem(ValueError):
    """An id that names no item of the dataset."""


@dataclass(frozen=True, slots=True)
class Item:
    """A question and its right answer. `id` is `item-N`."""

    id: str
    question: str
    answer: str


@lru_cache(maxsize=4096)
def item(number: int) -> Item:
    """The item of a number: arithmetic, a count, or knowledge that the question itself gives.

    Raises UnknownItem for a number outside 0 to `ITEMS_MAX`.
    """
    if not 0 <= number < ITEMS_MAX:
        raise UnknownItem(f"item: expected a number from 0 to {ITEMS_MAX - 1}, got {number}")
    rng = random.Random(f"brownout item {number}")
    question, answer = (_sum, _product, _remainder, _knowledge)[number % 4](rng)
    return Item(f"item-{number}", question, answer)


def by_id(ident: str) -> Item:
    """The item called `ident`, such as `item-17`. Raises UnknownItem when there is none."""
    match = _ID.fullmatch(ident)
    if match is None:
        raise UnknownItem(f"item: expected item-0 to item-{ITEMS_MAX - 1}, got {ident[:80]!r}")
    return item(int(match[1]))


def prompt(asked: Item) -> str:
    """What a user sends for an item; it carries the item's marker."""
    return (
        f"[{asked.id}] {asked.question}\n"
        "Say which item you answer, and end with one line of the form ANSWER: followed by the answer alone."
    )


def asked_in(text: str) -> Item | None:
    """The item whose marker comes last in a prompt, or None."""
    markers = _MARKER.findall(text)
    return item(int(markers[-1])) if markers else None


def completion(asked: Item) -> str:
    """What the demo model answers to an item, whole."""
    worked = "I have worked it out step by step, and checked it."
    return f"This is about [{asked.id}]. {worked} ANSWER: {asked.answer}"


def extract(text: str) -> str | None:
    """The answer that a completion gives last, or None when it gives none."""
    answers = _ANSWER.findall(text)
    return answers[-1] if answers else None


def is_right(asked: Item, text: str) -> bool:
    """Exact match: whether the answer that a completion gives is the item's."""
    return extract(text) == asked.answer


def _sum(rng: random.Random) -> tuple[str, str]:
    numbers = [rng.randrange(10, 1000) for _ in range(4)]
    return f"What is {' + '.join(map(str, numbers))}?", str(sum(numbers))


def _product(rng: random.Random) -> tuple[str, str]:
    left, right = rng.randrange(11, 100), rng.randrange(11, 100)
    return f"What is {left} times {right}?", str(left * right)


def _remainder(rng: random.Random) -> tuple[str, str]:
    number, divisor = rng.randrange(1000, 100_000), rng.randrange(7, 60)
    return f"What remains when {number} is divided by {divisor}?", str(number % divisor)


def _knowledge(rng: random.Random) -> tuple[str, str]:
    cities = rng.sample(_CITIES, 4)
    goods = rng.sample(_GOODS, 4)
    facts = ". ".join(f"{city} sends {good}" for city, good in zip(cities, goods, strict=True))
    wanted = rng.randrange(4)
    return f"{facts}. Which city sends {goods[wanted]}?", cities[wanted]
