"""Which of a schedule's arrivals are this worker's, when several workers perform one plan.

Every worker draws the whole schedule from the plan's seed, so the same users come whatever the number of
workers, and nobody has to hand arrivals out. Invariant: at every moment each arrival belongs to exactly one
member. Who it is changes only by an epoch, told to all who live ahead of its start; what was due for a member
that is gone, from its last sign of life until that start, is lost, and counted by one survivor.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

LEAD_S: Final = 0.2
"""Ask `Share.mine` at most so long before an arrival is due: an epoch is told at least this long ahead."""
_REMEMBERED: Final = 1_000_000
"""How many arrivals of others are remembered at most; memory is bounded before it is exact."""
_REMEMBERED_S: Final = 60.0
"""How long: a member's end is noticed within its lease, which is shorter."""


@dataclass(frozen=True, slots=True)
class Epoch:
    """From `start` on (Unix seconds) arrival `ordinal` belongs to `members[ordinal % len(members)]`."""

    start: float
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Gap:
    """What was due for `member` in [since, until) (Unix seconds) was served by nobody, as far as is known."""

    member: str
    since: float
    until: float


class Epochs:
    """Who shares the work from when on; one for all workloads of a worker."""

    def __init__(self, me: str, members: tuple[str, ...] = ()) -> None:
        """`members`, among them `me`, share from the beginning; none means that `me` works alone.

        Raises ValueError when `me` is not among them.
        """
        members = members or (me,)
        if me not in members:
            raise ValueError(f"members: expected {me} among {', '.join(members)}")
        self.me = me
        self._epochs = [Epoch(float("-inf"), members)]
        self._newest = self._epochs[0]
        self.gaps: list[Gap] = []
        """What is lost and counted here: by the first of the survivors."""
        self._shares: list[Share] = []

    @property
    def members(self) -> tuple[str, ...]:
        """Who shares, in the newest epoch."""
        return self._newest.members

    def share(self, lost: Callable[[float], object]) -> Share:
        """The share of one workload; `lost(due)` is called for each arrival that is lost, if counted here."""
        made = Share(self, lost)
        self._shares.append(made)
        return made

    def begin(self, start: float, members: tuple[str, ...], gaps: tuple[Gap, ...] = ()) -> None:
        """A new epoch. One told twice, or one that starts before the newest, changes nothing.

        Raises ValueError when there is no member.
        """
        if not members:
            raise ValueError("members: expected at least one")
        if start <= self._newest.start:
            return
        self._newest = Epoch(start, members)
        self._epochs.append(self._newest)
        if members[0] == self.me:
            self.gaps += gaps
            for share in self._shares:
                share.look_back(gaps)

    def owner(self, ordinal: int, due: float) -> str:
        """Whose an arrival is."""
        newest = self._newest
        if due < newest.start:
            newest = next(epoch for epoch in reversed(self._epochs) if epoch.start <= due)
        return newest.members[ordinal % len(newest.members)]


class Share:
    """One workload's arrivals. Ask in the order of ordinals, each once, at most `LEAD_S` ahead."""

    __slots__ = ("_epochs", "_lost", "_others")

    def __init__(self, epochs: Epochs, lost: Callable[[float], object]) -> None:
        self._epochs = epochs
        self._lost = lost
        self._others: deque[tuple[int, float]] = deque(maxlen=_REMEMBERED)

    def mine(self, ordinal: int, due: float) -> bool:
        """Whether this worker serves arrival `ordinal`, due at `due` (Unix seconds)."""
        epochs = self._epochs
        owner = epochs.owner(ordinal, due)
        if owner == epochs.me:
            return True
        others = self._others
        others.append((ordinal, due))
        while others[0][1] < due - _REMEMBERED_S:
            others.popleft()
        for gap in epochs.gaps:
            if gap.member == owner and gap.since <= due < gap.until:
                self._lost(due)
        return False

    def look_back(self, gaps: tuple[Gap, ...]) -> None:
        """Count what was asked about before and turns out to be lost."""
        for ordinal, due in self._others if gaps else ():
            owner = self._epochs.owner(ordinal, due)
            if any(gap.member == owner and gap.since <= due < gap.until for gap in gaps):
                self._lost(due)
