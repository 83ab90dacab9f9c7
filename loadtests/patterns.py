"""Regular expressions that take time in proportion to the text, whatever the pattern and the text are.

They are RE2's (https://github.com/google/re2/wiki/Syntax: no look-around, no back-references), which pyarrow
brings: a search costs 25 to 75 µs. Python's own can take for ever on a text that a broken service sent, and
would hold up all users of a worker meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

MOST_SEARCHED: Final = 1024 * 1024
"""Characters of a text that are searched; what is behind them is not seen."""
_WHOLE: Final = "g0"


class BadPattern(ValueError):
    """Text that is no regular expression of RE2's."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """A regular expression. Finds a match anywhere in a text, unless it is anchored."""

    text: str
    _named: str = field(repr=False)
    """The pattern with all of its groups named, within a group that is the whole of it."""

    def found(self, text: str) -> bool:
        """Whether there is a match."""
        return bool(_compute().match_substring_regex(_scalar(text), self.text).as_py())

    def taken(self, text: str) -> str | None:
        """The first group of the first match, or all of it where the pattern has no group; None: no match."""
        got = _compute().extract_regex(_scalar(text), self._named).as_py()
        if got is None:
            return None
        groups = list(got.values())
        return str(groups[1] if len(groups) > 1 else groups[0])

    def among(self, texts: Iterable[str]) -> list[bool]:
        """Of each text, whether there is a match."""
        import pyarrow

        found: list[bool] = (
            _compute().match_substring_regex(pyarrow.array(texts, pyarrow.string()), self.text).to_pylist()
        )
        return found


def parse(text: str) -> Pattern:
    """The pattern that a text is. Raises BadPattern."""
    pattern = Pattern(text, f"(?P<{_WHOLE}>{_with_named_groups(text)})")
    try:
        pattern.found("")
        pattern.taken("")
    except ValueError as error:
        reason = str(error).removeprefix("Invalid regular expression: ")
        raise BadPattern(f"expected a regular expression (RE2), got {text[:60]}: {reason[:100]}") from error
    return pattern


def _with_named_groups(text: str) -> str:
    """Each `(` that opens a group without a name gets one: pyarrow gives only what is named."""
    made: list[str] = []
    at = number = 0
    while at < len(text):
        if text.startswith("\\Q", at):
            end = text.find("\\E", at)
            end = len(text) if end < 0 else end + 2
        elif text[at] == "\\":
            end = at + 2
        elif text[at] == "[":
            end = _class_end(text, at)
        elif text[at] == "(" and text[at + 1 : at + 2] != "?":
            number += 1
            made.append(f"(?P<{_WHOLE}_{number}>")
            at += 1
            continue
        else:
            end = at + 1
        made.append(text[at:end])
        at = end
    return "".join(made)


def _class_end(text: str, at: int) -> int:
    """Behind the character class that begins at `at`: its first character may be a `]` of its own."""
    at += 2 if text.startswith("[^", at) else 1
    first = True
    while at < len(text):
        if text[at] == "]" and not first:
            return at + 1
        if text.startswith("[:", at) and (end := text.find(":]", at)) >= 0:
            at = end + 2
        else:
            at += 2 if text[at] == "\\" else 1
        first = False
    return at


def _compute() -> Any:
    import pyarrow.compute  # a fifth of a second: only where a profile has a pattern

    return pyarrow.compute


def _scalar(text: str) -> Any:
    import pyarrow

    seen = text[:MOST_SEARCHED].encode("utf-8", "replace")  # a JSON string may hold a lone surrogate
    return pyarrow.scalar(seen.decode(), pyarrow.string())
