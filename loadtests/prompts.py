"""Prompts of the user's own, and how a reply to one is scored.

A file has one JSON object on each line: `prompt`, a text or a list of texts (the turns of a conversation);
`id`, the same in every run (else the line's number); `system`; and, where the right reply is known, `answer`,
a text that the last reply has to hold, or `regex`, which has to match in it (RE2's syntax). With both, both.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from loadtests.patterns import BadPattern, Pattern, parse

MOST_BYTES: Final = 64 * 1024 * 1024
MOST_ID: Final = 100
_KEYS: Final = {"id", "prompt", "system", "answer", "regex"}


class BadPrompts(ValueError):
    """A file of prompts that cannot be used; `line` from 1, or 0: the file as a whole."""

    def __init__(self, message: str, line: int = 0) -> None:
        super().__init__(message)
        self.line = line


@dataclass(frozen=True, slots=True)
class Prompt:
    """What is asked, turn by turn, and what a right reply to the last turn is like."""

    id: str
    turns: tuple[str, ...]
    system: str | None = None
    answer: str | None = None
    regex: Pattern | None = None

    def is_right(self, text: str) -> bool | None:
        """Whether a reply is right; None: nothing is known of it."""
        if self.answer is None and self.regex is None:
            return None
        return (self.answer is None or self.answer in text) and (self.regex is None or self.regex.found(text))


def read(path: Path) -> tuple[Prompt, ...]:
    """The prompts of a file. Raises BadPrompts, with the line of the first that is wrong."""
    found: list[Prompt] = []
    lines: dict[str, int] = {}
    for number, text in enumerate(_text(path).splitlines(), 1):
        if not text.strip():
            continue
        prompt = _prompt(text, number)
        if prompt.id in lines:
            raise BadPrompts(f"id: {prompt.id} is that of line {lines[prompt.id]}, too", number)
        lines[prompt.id] = number
        found.append(prompt)
    if not found:
        raise BadPrompts(f"{path} has no prompts")
    return tuple(found)


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > MOST_BYTES:
            raise BadPrompts(f"{path}: expected at most {MOST_BYTES // 2**20} MiB")
        return path.read_text("utf-8")
    except OSError as error:
        raise BadPrompts(f"{path} cannot be read: {(error.strerror or str(error)).lower()}") from error
    except UnicodeDecodeError as error:
        raise BadPrompts(f"{path} cannot be read: it is no UTF-8") from error


def _prompt(text: str, number: int) -> Prompt:
    try:
        line: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadPrompts(f"expected a JSON object, got {text[:60]}", number) from error
    if not isinstance(line, dict):
        raise BadPrompts(f"expected a JSON object, got {text[:60]}", number)
    if unknown := sorted(set(line) - _KEYS):
        raise BadPrompts(f"no such key here: {unknown[0]}; expected {', '.join(sorted(_KEYS))}", number)
    asked = line.get("prompt")
    turns: list[Any] = asked if isinstance(asked, list) else [asked]
    if not turns or not all(isinstance(turn, str) and turn for turn in turns):
        raise BadPrompts("prompt: expected a text, or a list of texts", number)
    for key in ("system", "answer", "regex"):
        if not isinstance(line.get(key), str | None):
            raise BadPrompts(f"{key}: expected a text", number)
    ident = line.get("id", f"line-{number}")
    if not isinstance(ident, str) or not 0 < len(ident) <= MOST_ID:
        raise BadPrompts(f"id: expected a text of at most {MOST_ID} characters", number)
    return Prompt(ident, tuple(turns), line.get("system"), line.get("answer"), _regex(line, number))


def _regex(line: dict[str, Any], number: int) -> Pattern | None:
    if line.get("regex") is None:
        return None
    try:
        return parse(line["regex"])
    except BadPattern as error:
        raise BadPrompts(f"regex: {error}", number) from error
