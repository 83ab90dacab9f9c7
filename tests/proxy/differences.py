"""The names of the wanted differences from Toxiproxy, in the list in `chaos.proxy`, and which tests show each."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeVar

import chaos.proxy

T = TypeVar("T", bound=Callable[..., None])
LISTED = re.findall(r"^- ([a-z0-9-]+): ", chaos.proxy.__doc__ or "", re.MULTILINE)
SHOWN: dict[str, set[str]] = {}
"""Names of tests, by what they show."""


def shows(name: str) -> Callable[[T], T]:
    """Marks a test that shows the difference of that name."""

    def mark(test: T) -> T:
        SHOWN.setdefault(name, set()).add(test.__name__)
        return test

    return mark
