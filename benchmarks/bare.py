"""A locustfile: our generator without telemetry and history, so that what the two cost can be told.

For `make bench-load` only, which is why it is here and no option of the product. Everything else is as in a
run; the one report that says that the process is ready is still sent, and the last one.
"""

from __future__ import annotations

from typing import Any, Final

from loadtests.history import HistoryWriter
from loadtests.instruments import Counter, Distribution
from loadtests.users import operation, tally, telemetry, worker

_SHARED: Final = ("arrivals", "users", "utilization", "final")
"""What the generator counts for itself, whatever it sends."""


class NoHistory(HistoryWriter):
    """Forgets every row."""

    def append(self, *_: Any) -> None:
        """Nothing."""

    def append_packed(self, _: bytes) -> None:
        """Nothing."""


class Nothing:
    """An instrument that counts nothing."""

    bounds = ()

    def record(self, *_: Any) -> None:
        """Nothing."""

    def add(self, *_: Any) -> None:
        """Nothing."""

    def metric(self, *_: Any) -> None:
        """Nothing to send."""


class NoTelemetry(telemetry.Telemetry):
    """Counts nothing but arrivals."""

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        for name, instrument in list(vars(self).items()):
            if isinstance(instrument, Counter | Distribution) and name not in _SHARED:
                setattr(self, name, Nothing())


class NoDesk(operation.Desk):
    """Where nothing is written down."""

    def write(self, *_: Any) -> float:
        """The time, which its caller needs."""
        return self.clock.now()


def _swap(owner: Any, name: str, made: Any) -> None:
    if not hasattr(owner, name):
        raise ImportError(f"{owner.__name__} has no {name} any more: what is bare must be said anew")
    setattr(owner, name, made)


_swap(worker, "HistoryWriter", NoHistory)
_swap(worker, "Telemetry", NoTelemetry)
_swap(worker, "Desk", NoDesk)
_swap(tally.Tally, "success", lambda it, *_: it._now())

from loadtests.users.locustfile import OpenModelUsers  # noqa: E402

__all__ = ["OpenModelUsers"]
