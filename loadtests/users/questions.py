"""What chat users ask, and what an answer is worth: items of the demo dataset, or prompts of one's own."""

from __future__ import annotations

import random
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple, Protocol

from loadtests.items import Item, asked_in, is_right, item, prompt
from loadtests.options.chat import ChatOptions
from loadtests.prompts import Prompt, read


class Verdict(NamedTuple):
    """What an answer is worth, as the history has it: reward, what is expected, and whose it says it is."""

    reward: float | None
    expected: float | None
    named: str | None


class Question(Protocol):
    """A question, or a conversation of several."""

    @property
    def id(self) -> str:
        """The same in every run."""

    @property
    def turns(self) -> tuple[str, ...]:
        """What is asked, turn by turn."""

    @property
    def system(self) -> str | None:
        """What the system says first."""

    @property
    def nonce(self) -> str | None:
        """What a right answer names, if it does."""

    def verdict(self, text: str) -> Verdict:
        """Of the last answer."""


class ItemQuestion:
    """An item of the dataset; a right answer names it."""

    __slots__ = ("_item", "id", "nonce", "system", "turns")

    def __init__(self, asked: Item) -> None:
        self._item = asked
        self.id = self.nonce = asked.id
        self.turns = (prompt(asked),)
        self.system = None

    def verdict(self, text: str) -> Verdict:
        """Exact match."""
        named = asked_in(text)
        reward = 1.0 if is_right(self._item, text) else 0.0
        return Verdict(reward, 1.0, named.id if named is not None else None)


class OwnQuestion:
    """A prompt of the user's own."""

    __slots__ = ("_prompt", "id", "nonce", "system", "turns")

    def __init__(self, asked: Prompt) -> None:
        self._prompt = asked
        self.id = asked.id
        self.nonce = None
        self.turns = asked.turns
        self.system = asked.system

    def verdict(self, text: str) -> Verdict:
        """By what the file says of right answers; nothing where it says nothing."""
        right = self._prompt.is_right(text)
        return Verdict(None, None, None) if right is None else Verdict(float(right), 1.0, None)


class Questions:
    """What one workload asks."""

    def __init__(self, options: ChatOptions) -> None:
        """Raises BadPrompts."""
        self._own = None
        if options.prompts is not None:
            self._own = tuple(OwnQuestion(asked) for asked in read(Path(options.prompts)))
        self._items = options.items

    def drawn(self, rng: random.Random) -> Question:
        """One of them."""
        if self._own is not None:
            return rng.choice(self._own)
        return _question(rng.randrange(self._items))


@lru_cache(maxsize=4096)
def _question(number: int) -> ItemQuestion:
    return ItemQuestion(item(number))
