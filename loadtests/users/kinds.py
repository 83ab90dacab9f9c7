"""Which user a workload's profile asks for. A kind is imported when a plan has it."""

from __future__ import annotations

from typing import Protocol, assert_never

from loadtests.options.chat import ChatProfile
from loadtests.options.command import CommandProfile
from loadtests.options.episode import EpisodeProfile
from loadtests.options.grader import GraderProfile
from loadtests.options.http import HttpProfile
from loadtests.options.python import PythonProfile
from loadtests.options.replay import ReplayProfile
from loadtests.options.search import SearchProfile
from loadtests.options.tools import ToolsProfile
from loadtests.profile import Workload
from loadtests.users.arrival import Arrival
from loadtests.users.operation import Desk


class User(Protocol):
    """A kind of user of a workload."""

    def __call__(self, arrival: Arrival) -> None:
        """Serve one arrival, in a greenlet of its own."""


def user_of(desk: Desk, workload: Workload) -> User:
    """The users of a workload. Raises BadUrl."""
    match workload.profile:
        case EpisodeProfile() as profile:
            from loadtests.users.episode import EpisodeUser

            return EpisodeUser(desk, workload.url, profile)
        case ChatProfile() as profile:
            from loadtests.users.chat import ChatUser

            return ChatUser(desk, workload.url, profile)
        case ToolsProfile() as profile:
            from loadtests.users.tools import ToolsUser

            return ToolsUser(desk, workload.url, profile)
        case GraderProfile() as profile:
            from loadtests.users.grader import GraderUser

            return GraderUser(desk, workload.url, profile)
        case SearchProfile() as profile:
            from loadtests.users.search import SearchUser

            return SearchUser(desk, workload.url, profile)
        case HttpProfile() as profile:
            from loadtests.users.plain import HttpUser
            from loadtests.users.quick import QuickHttpUser

            user = HttpUser(desk, workload.url, profile)
            if user.compiled is None or not user.pool.keep:
                return user
            return QuickHttpUser(user, user.compiled)
        case ReplayProfile() as profile:
            from loadtests.users.replay import ReplayUser

            return ReplayUser(desk, workload.url, profile)
        case PythonProfile() as profile:
            from loadtests.users.own import made

            return made(desk, workload.url, profile)
        case CommandProfile():
            raise ValueError(f"{workload.name}: a command is not for a Locust process to run")
    assert_never(workload.profile)
