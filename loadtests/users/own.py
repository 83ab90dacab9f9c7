"""Users of one's own: what a class needs to be one.

`user: python` names a class; it is made once for a workload, as `Class(desk, url, options)`, and called with
each `Arrival`, in a greenlet of its own. `OwnUser` does all that but the protocol: derive from it, and do
each operation by the `Visit` that is handed over. Then latency counts from the intended start, each try is in
the history, and each operation is once in `brownout.operation.duration`, however it ends.

The process is Locust's, so Python's sockets wait without holding anybody up. An attempt says what went wrong
by raising `Broken`; an `OSError` is named as one by itself; any other exception is a defect of the class.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import gevent

from loadtests.options.python import PythonProfile
from loadtests.policies.modules import loaded
from loadtests.users.arrival import Arrival
from loadtests.users.connect import Address, Broken, Connection, broken
from loadtests.users.kinds import User
from loadtests.users.operation import Backoff, Desk, Operation, Retry, Subject, Try

__all__ = [
    "Address",
    "Arrival",
    "Backoff",
    "Broken",
    "Connection",
    "Desk",
    "OwnUser",
    "Subject",
    "Try",
    "Visit",
]

R = TypeVar("R")

ONCE: Final = Backoff(most=0, first_s=0.0, cap_s=0.0, jitter=0.0, heed=False)
"""No second try."""


class NoUser(TypeError):
    """What a factory made cannot be called with an arrival."""


class Visit:
    """One arrival's visit: its operations, one after the other."""

    def __init__(self, desk: Desk, arrival: Arrival) -> None:
        self.desk = desk
        self.arrival = arrival
        self.rng = arrival.rng
        """What is drawn from it is the same in every run with the same seed."""
        self.due = arrival.due
        """When the next operation is due (Unix seconds): the arrival, then the end of the last one."""

    def perform(
        self,
        name: str,
        attempt: Callable[[Try], R],
        *,
        subject: Subject | None = None,
        retry: Retry = ONCE,
    ) -> R:
        """Perform one operation: run `attempt` until it succeeds, or `retry` gives up.

        `attempt` may note in its `Try` what came of it: status, reward, bytes. `name` is one of few.

        Raises:
            Broken: the last try's failure.
        """
        operation = Operation(self.desk, self.arrival, name, self.due, subject or Subject())

        def tried(attempted: Try) -> R:
            try:
                return attempt(attempted)
            except OSError as error:
                raise broken(error) from error

        try:
            return operation.perform(tried, retry, self.rng)
        finally:
            self.due = operation.end
            self.desk.telemetry.http_operation.record(
                operation.duration_s,
                (operation.phase, self.desk.workload, operation.name, operation.error_type),
            )

    def think(self, seconds: float) -> None:
        """Pause; the next operation is due after it."""
        self.due += seconds
        gevent.sleep(max(self.due - self.desk.clock.now(), 0.0))


class OwnUser:
    """The base of users of one's own."""

    def __init__(self, desk: Desk, url: str, options: dict[str, Any]) -> None:
        """Raises BadUrl."""
        self.desk = desk
        self.url = url
        self.address = Address.of(url)
        self.options = options

    def __call__(self, arrival: Arrival) -> None:
        """Serve one arrival."""
        with contextlib.suppress(Broken):  # it is in the history and in the metrics: what a user is for
            self.visit(Visit(self.desk, arrival))

    def visit(self, visit: Visit) -> None:
        """What a visitor does. A failed operation that is not caught ends the visit."""
        raise NotImplementedError


def made(desk: Desk, url: str, profile: PythonProfile) -> User:
    """The user of a profile.

    Raises:
        NotThere: the module or the class is not there.
        NoUser: the class makes nothing that can be called.
    """
    options = profile.with_
    factory = loaded(options.factory, Path(options.folder).absolute())
    user = factory(desk, url, dict(options.options))
    if not callable(user):
        raise NoUser(f"{options.factory}: expected what can be called with an arrival, got {user!r:.80}")
    called: User = user
    return called
