"""The demo judge: asked by a judge's prompt (`loadtests.grading`), the demo model gives the right verdict.

It repeats the request's reference, so a verdict that reached another request shows.
"""

from __future__ import annotations

from loadtests.grading import case_in, judgement
from loadtests.items import UnknownItem


def verdict_on(text: str) -> str | None:
    """What the judge says to a prompt; None where it asks for no verdict, or on an unknown item."""
    try:
        case = case_in(text)
    except UnknownItem:
        return None
    return None if case is None else judgement(case)
