"""The workers of one load: who is there, and who takes over from one that is gone.

Invariant: every arrival belongs to one worker that lives, or is counted as lost. A worker's end is journalled
with what is lost by it, and the survivors share anew, from a moment that is ahead of all of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from chaos.conductor.perform import Stopped
from chaos.conductor.telemetry import Telemetry
from chaos.journal import Journal, PartDied, WorkerLost
from loadtests import runner

Gap = tuple[str, float, float]
"""What was due for a worker, from when until when (Unix seconds), is lost."""

_TOLD_WITHIN_S = 0.05
MARGIN_S = 0.5
"""How far ahead a new share begins: it has to reach every worker before; they decide 0.2 s ahead."""


class Crew:
    """The members of a load, by name. `say(worker, line)` tells one of them something."""

    def __init__(
        self,
        members: Iterable[str],
        *,
        journal: Journal,
        telemetry: Telemetry,
        say: Callable[[str, str], None],
        now: Callable[[], float] = time.time,
    ) -> None:
        self.members = tuple(members)
        """Those that are there."""
        self._journal = journal
        self._telemetry = telemetry
        self._say = say
        self._now = now
        self._counting: list[tuple[str, float, Gap]] = []
        """Who counts a gap, from when on (Unix seconds)."""

    def tell(self, line: str) -> None:
        """Tell all of them."""
        for worker in self.members:
            self._say(worker, line)

    def heard(self, metric: str) -> bool:
        """Whether there are any, and each of them has reported `metric`."""
        return bool(self.members) and all(self._telemetry.heard(metric, worker) for worker in self.members)

    def lose(self, worker: str, reason: str, *, gone_by: float = 0.0) -> None:
        """Go on without a worker that has ended, or will have by `gone_by` (Unix seconds).

        Raises Stopped when it was the last one.
        """
        since = self._telemetry.last_report(worker) or self._now()
        rest = tuple(other for other in self.members if other != worker)
        self.members = rest
        resumed = max(self._now(), gone_by) + MARGIN_S
        if rest:
            gaps = [*self._uncounted(worker, since), (worker, since, resumed)]
            told = self._now() + _TOLD_WITHIN_S
            self._counting += [(rest[0], told, gap) for gap in gaps]
            self.tell(runner.share_line(resumed, rest, gaps))
        open_users = self._telemetry.open_users(worker)
        self._journal.record(
            WorkerLost(
                worker=worker, reason=reason, since=since, resumed=resumed, open=open_users, survivors=rest
            )
        )
        if not rest:
            raise Stopped("part-died", PartDied(part="locust", reason=f"{worker}, the last worker: {reason}"))

    def _uncounted(self, worker: str, since: float) -> list[Gap]:
        """The gaps that `worker` was to count, as far as its reports (the last at `since`) lack them."""
        mine = [(told, gap) for counts, told, gap in self._counting if counts == worker]
        return [
            (gone, begin if since < told else max(begin, since), until)
            for told, (gone, begin, until) in mine
            if since < max(told, until)
        ]
