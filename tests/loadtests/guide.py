"""The examples of docs/users.md, so that they are tested as they stand."""

from __future__ import annotations

import re
from pathlib import Path

GUIDE = Path(__file__).parents[2] / "docs" / "users.md"
_FENCE = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def example(language: str, holding: str) -> str:
    """The one example in `language` that holds a text."""
    found = [text for kind, text in _FENCE.findall(GUIDE.read_text()) if kind == language and holding in text]
    assert len(found) == 1, f"{holding!r} in {len(found)} examples"
    return str(found[0])


def examples(language: str) -> list[str]:
    """All examples in a language."""
    return [text for kind, text in _FENCE.findall(GUIDE.read_text()) if kind == language]
