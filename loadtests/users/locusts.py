"""The protocol users for locustfiles written by hand: true `locust.User`s, with all that Locust gives them.

    from locust import between
    from loadtests.users.locusts import ChatUser

    class Asking(ChatUser):
        host = "http://127.0.0.1:8000"
        wait_time = between(0.5, 2)
        options = {"api": "openai", "stream": True}

Locust decides who comes and when (`-u`, `-r`, shapes, `wait_time`), so this is the closed model: users who
wait for a slow service come less often, and latencies look better than they are. A `LoadProfile` is the open
one.

Invariant: each operation fires Locust's `request` event once, when it has ended, with the time since it was
due; one that the end of the test cuts off fires none, as with Locust's own users, and is `unfinished` in the
history.
"""

from __future__ import annotations

import contextlib
import itertools
from pathlib import Path
from typing import Any, ClassVar

import gevent
from locust import User
from pydantic import TypeAdapter, ValidationError

from loadtests.options.base import Profile
from loadtests.profile import LoadProfileSpec, Workload
from loadtests.users.arrival import Arrival, Identity
from loadtests.users.books import Books, books_of
from loadtests.users.kinds import user_of
from loadtests.users.operation import Desk, Unfinished
from slo.model import Model

__all__ = ["ChatUser", "EpisodeUser", "GraderUser", "HttpUser", "ProtocolUser", "SearchUser", "ToolsUser"]

_SPEC: TypeAdapter[Any] = TypeAdapter(LoadProfileSpec)
_MIXED = 0x9E37_79B9


class BadOptions(ValueError):
    """What a class says about itself cannot be: its `host`, or its `options`."""


def _perform(user: ProtocolUser) -> None:
    user.perform()


class ProtocolUser(User):  # type: ignore[misc]  # locust's types are not followed
    """A user of one kind. By itself its only task is `perform`; with tasks of your own, call it from them."""

    abstract = True
    tasks: list[Any]
    kind: ClassVar[str]
    """The word that a LoadProfile has for it."""
    options: ClassVar[dict[str, Any] | Model] = {}
    """What stands under `with:` in a LoadProfile; files are relative to the working directory."""
    history: ClassVar[str | None] = None
    """A folder for the history; None: that of the environment variable BROWNOUT_HISTORY, if it is set."""
    seed: ClassVar[int] = 1
    """What users do follows from it."""

    _seats: ClassVar[dict[type[ProtocolUser], _Seat]] = {}

    def __init_subclass__(cls, **more: Any) -> None:
        super().__init_subclass__(**more)
        if not cls.abstract:
            cls.tasks = [task for task in cls.tasks if task is not _perform] or [_perform]

    def __init__(self, environment: Any) -> None:
        """Raises BadOptions."""
        super().__init__(environment)
        seats = ProtocolUser._seats
        if type(self) not in seats:
            seats[type(self)] = _Seat(type(self), books_of(environment, self.history))
        self._seat = seats[type(self)]
        self._user = user_of(self._seat.desk, self._seat.workload(self.host))

    def perform(self) -> None:
        """Do once what a user of this kind does: an episode, a completion, a session. It is due now."""
        arrival = self._seat.arrival()
        begun: list[bool] = []

        def serve() -> None:
            begun.append(True)
            with contextlib.suppress(Unfinished):  # it has been written down where it was noticed
                self._user(arrival)

        serving = gevent.spawn(serve)
        try:
            serving.get()
        except BaseException:  # the test is over: what is open is written down as unfinished
            serving.kill(Unfinished if begun else gevent.GreenletExit, block=True)
            raise


class _Seat:
    """What the users of one class share in a process."""

    def __init__(self, owner: type[ProtocolUser], books: Books) -> None:
        self._name = owner.__name__
        self._profile = _profile(owner)
        self._ordinals = itertools.count()
        self._books = books
        seed = owner.seed ^ _MIXED * (books.worker + 1)  # no two workers play the same episodes
        self._identity = Identity(seed, books.run, books.name, self._name)
        self.desk: Desk = books.desk(self._name, owner.kind)

    def workload(self, host: str | None) -> Workload:
        """The workload at a host. Raises BadOptions."""
        if not host:
            raise BadOptions(f"{self._name}: set its attribute host, or give --host")
        return Workload(name=self._name, url=host, profile=self._profile)

    def arrival(self) -> Arrival:
        """One who comes now."""
        return self._identity.arrival(next(self._ordinals), self._books.clock.now())


def _profile(owner: type[ProtocolUser]) -> Any:
    """The profile that a class stands for, with its files looked into. Raises BadOptions."""
    data = {"user": owner.kind, "service": owner.__name__, "users": 1, "with": owner.options}
    try:
        made: Profile = _SPEC.validate_python(data)
    except ValidationError as error:
        said = "; ".join(
            f"{'.'.join(str(step) for step in detail['loc'][2:])}: {detail['msg']}"
            for detail in error.errors(include_url=False)
        )
        raise BadOptions(f"{owner.__name__}.options: {said}") from error
    placed = made.placed(Path.cwd())
    flaws = [f"{flaw.file or owner.__name__}:{flaw.at[0]}: {flaw.message}" for flaw in placed.flaws()]
    if flaws:
        raise BadOptions("; ".join(flaws))
    return placed


class EpisodeUser(ProtocolUser):
    """Plays episodes on an OpenEnv WebSocket."""

    abstract = True
    kind = "episode"


class ChatUser(ProtocolUser):
    """Asks for chat completions."""

    abstract = True
    kind = "chat"


class ToolsUser(ProtocolUser):
    """Calls tools by MCP."""

    abstract = True
    kind = "tools"


class GraderUser(ProtocolUser):
    """Has answers graded by a judge."""

    abstract = True
    kind = "grader"


class SearchUser(ProtocolUser):
    """Asks a retrieval endpoint."""

    abstract = True
    kind = "search"


class HttpUser(ProtocolUser):
    """Sends plain HTTP requests, step by step. (Not Locust's class of the same name.)"""

    abstract = True
    kind = "http"
