"""The demo model: it knows the items of the dataset, and answers them in words that come one by one.

The same question has the same answer, always; a token is a word.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from chaos.demo.judging import verdict_on
from loadtests.items import asked_in, completion

NAME: Final = "demo-model"
UNKNOWN: Final = "I know the items of the demo dataset only, and this names none."

_WORD = re.compile(r"\S+\s*")


@dataclass(frozen=True, slots=True)
class Question:
    """What a chat request asks for, in whichever wire format it came. `text` is all that the user said."""

    model: str
    text: str
    stream: bool = False
    include_usage: bool = False
    max_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """What the model says, in chunks of one token each; `cut_short` where `max_tokens` were too few."""

    chunks: tuple[str, ...]
    cut_short: bool
    input_tokens: int

    @property
    def text(self) -> str:
        """The whole reply."""
        return "".join(self.chunks)


def reply(question: Question) -> Reply:
    """The right verdict where one is asked for, else the right answer to the item whose marker comes last.

    `UNKNOWN` without either.
    """
    said = verdict_on(question.text)
    if said is None:
        item = asked_in(question.text)
        said = completion(item) if item else UNKNOWN
    chunks = tuple(_WORD.findall(said))
    kept = chunks[: question.max_tokens]
    return Reply(kept, len(kept) < len(chunks), len(question.text.split()))
