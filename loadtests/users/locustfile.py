"""What Locust runs: one User, which is the open-model dispatcher of a worker.

Locust gives the process, its signals and its end; its own statistics stay empty, since an event for each
request would cost more than the request. Nothing of the caller's (a `locust.conf`, `pyproject.toml`) is read:
what this process does is in its plan.
"""

from __future__ import annotations

import os
import signal
import sys
from functools import partial
from pathlib import Path
from typing import Any

import gevent
import locust.argument_parser
from locust import User, events
from locust.exception import StopUser
from locust.runners import Runner

from loadtests.profile import LoadPlan
from loadtests.runner import PLAN_VARIABLE
from loadtests.users.control import listen
from loadtests.users.worker import FINISH_WITHIN_S, Worker

locust.argument_parser.DEFAULT_CONFIG_FILES = ()

EX_SOFTWARE = 70

_worker = Worker(LoadPlan.model_validate_json(Path(os.environ[PLAN_VARIABLE]).read_bytes()))


def _serve(user: User) -> None:
    """Perform the plan, then end the process."""
    try:
        _worker.run(partial(listen, sys.stdin.fileno()))
    finally:
        if _worker.defects:
            user.environment.process_exit_code = EX_SOFTWARE
        gevent.spawn(user.environment.runner.quit)
    raise StopUser  # a task that returns is begun again


class OpenModelUsers(User):  # type: ignore[misc]  # locust's types are not followed
    """All simulated users of this process."""

    fixed_count = 1
    tasks = (_serve,)


def _on_quitting(**_: Any) -> None:
    """A signal ends the process: what is open is written down as unfinished first."""
    _worker.hurry()
    if _worker.started:
        _worker.finished.wait(FINISH_WITHIN_S)


def _on_interrupt(runner: Runner) -> None:
    _on_quitting()
    runner.quit()


def _on_init(runner: Runner, **_: Any) -> None:
    """SIGINT ends the process as SIGTERM does, in a greenlet of its own, also where SIGINT was ignored.

    Python's KeyboardInterrupt would end whichever greenlet happens to run, and with it what that one was at,
    the last report among it; and there is none at all where whoever started the process ignores SIGINT, as
    shells do for what they start in the background.
    """
    gevent.signal_handler(signal.SIGINT, _on_interrupt, runner)


events.quitting.add_listener(_on_quitting)
events.init.add_listener(_on_init)
