"""What a tool that has an effect remembers: how often each entry was executed, and results by key.

Invariant: an idempotency key has its entry executed at most once; who brings it again is given the first
result. Without a key each request executes, as a server must that cannot know better. Memory is bounded: the
oldest entries and keys are forgotten.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

KEPT_MAX: Final = 200_000
"""Entries, and keys, that are remembered; a quarter of a kilobyte each."""


class KeyConflict(ValueError):
    """A key that came before, for another entry: whoever sent it takes two calls for one."""


class Executions:
    """Counts executions by entry."""

    def __init__(self, most: int = KEPT_MAX) -> None:
        self._most = most
        self._counts: OrderedDict[str, int] = OrderedDict()
        self._keys: OrderedDict[str, tuple[str, int]] = OrderedDict()
        self.total = 0
        self.replayed = 0
        """Requests that were answered from what their key had done before."""

    def record(self, entry: str, key: str | None) -> tuple[int, bool]:
        """Execute once: how often the entry has been by then, and whether that was told from memory.

        Raises KeyConflict: the key belongs to another entry.
        """
        if key is not None and (known := self._keys.get(key)) is not None:
            if known[0] != entry:
                raise KeyConflict(f"idempotency key {key!r} was used for entry {known[0]!r} before")
            self.replayed += 1
            return known[1], True
        count = self._counts.pop(entry, 0) + 1
        self._counts[entry] = count
        self.total += 1
        if key is not None:
            self._keys[key] = (entry, count)
        for kept in (self._counts, self._keys):
            if len(kept) > self._most:
                kept.popitem(last=False)
        return count, False

    def of(self, entry: str) -> int:
        """How often an entry has been executed; 0 where it never was, or was long ago."""
        return self._counts.get(entry, 0)

    def as_dict(self) -> dict[str, object]:
        """All of it, for `/executions`."""
        return {"total": self.total, "replayed": self.replayed, "entries": dict(self._counts)}
