"""A worker on another machine than the conductor: a process of its own, `python -m loadtests.users.machine`.

Invariant: it obeys nobody who has not proved that they hold the token, and it obeys that master only while
its lease holds. The lease counts from when the worker *sent* the request that was answered, so it has run out
here before the master believes so: a load that nobody controls ends by itself, and no user is served twice.
So does one whose starter is gone (the end of stdin).
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import logging
import os
import secrets
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any, Final

import gevent
import gevent.os
from gevent.event import Event
from gevent.queue import Empty, Queue
from locust.env import Environment
from locust.exception import RPCError
from locust.rpc import Message
from locust.runners import WorkerRunner

from loadtests.machines import CHUNK_BYTES, MESSAGE, PROTOCOL, WORKER_VARIABLE, WorkerSettings
from loadtests.profile import LoadPlan
from loadtests.seal import TOKEN_VARIABLE, Forged, Said, Session, bearer, checked_token
from loadtests.users.admission import Applicant, Refused
from loadtests.users.clock import Clock, Offset, best_offset
from loadtests.users.control import obey
from loadtests.users.worker import Worker

ANSWER_WITHIN_S: Final = 15.0
CLOCK_ROUNDS: Final = 10
_ROUND_PAUSE_S: Final = 0.02
_LOOK_S: Final = 0.05
_UNACKNOWLEDGED: Final = 8
"""Chunks of a history that may be under way at once."""
_LOG = logging.getLogger("brownout.worker")

EX_OK, EX_REFUSED, EX_LOST = 0, 3, 4


class Lost(Exception):
    """The master, the lease or whoever started this is gone; nobody is obeyed any more."""


class Runner(WorkerRunner):  # type: ignore[misc]  # locust's types are not followed
    """Locust's worker, which hands our messages over and takes no others."""

    def __init__(self, environment: Environment, host: str, port: int) -> None:
        self.inbox: Queue[Any] = Queue()
        super().__init__(environment, host, port)

    def handle_message(self, msg: Message) -> None:
        """Ours are handed over; of Locust's those that say that somebody is there are its own."""
        if msg.type == MESSAGE:
            self.inbox.put(msg.data)
        elif msg.type in ("ack", "heartbeat"):
            super().handle_message(msg)

    def logs_reporter(self) -> None:
        """Nothing: the log stays on this machine."""


class Member:
    """One worker process, from its hello to its last chunk."""

    def __init__(self, settings: WorkerSettings, key: bytes) -> None:
        self._settings = settings
        self._key = key
        host = "".join(c if c.isalnum() and c.isascii() else "-" for c in socket.gethostname()).strip("-")
        self.name = f"{host[:60] or 'host'}-{os.getpid()}-{secrets.token_hex(2)}"
        self._clock = Clock()
        self._inbox: Queue[Said | None] = Queue()
        self._lines: Queue[str] = Queue()
        self._over = Event()
        self._why = ""
        self._lease_s = 0.0
        self._lease_from = time.monotonic()
        self._numbers = itertools.count(1)
        self._asked: dict[int, tuple[float, float]] = {}
        self._offsets: list[Offset] = []
        self._worker: Worker | None = None
        self._session: Session | None = None
        self._runner: Runner | None = None

    def serve(self) -> int:
        """All of it. Returns the exit code."""
        for number in (signal.SIGTERM, signal.SIGINT):
            gevent.signal_handler(number, self._end, "it was told to end")
        gevent.spawn(self._watch_stdin)
        connecting = gevent.spawn(
            Runner, Environment(user_classes=[]), self._settings.host, self._settings.port
        )
        try:
            self._runner = self._connected(connecting)
            self._handshake()
            self._worker = self._prepared()
            self._worker.run(self._control)
            self._deliver(self._worker)
        except Refused as error:
            _LOG.error("not admitted by the master at %s: %s", self._settings.host, error)
            return EX_REFUSED
        except Lost as error:
            _LOG.error("ended: %s", error)
            return EX_LOST
        return EX_OK

    # --- being admitted

    def _connected(self, connecting: gevent.Greenlet) -> Runner:
        until = time.monotonic() + self._settings.patience_s
        while not connecting.ready():
            if self._over.wait(_LOOK_S):
                raise Lost(self._why)
            if time.monotonic() > until:
                raise Lost(f"no master answered within {self._settings.patience_s:g} s")
        if not connecting.successful():
            raise Lost(f"the master cannot be reached: {connecting.exception}")
        runner: Runner = connecting.value
        return runner

    def _handshake(self) -> None:
        runner = self._runner
        about = {"version": PROTOCOL, "machine": socket.gethostname()}
        applicant = Applicant(self.name, self._key, about)
        self._send(applicant.hello)
        try:
            self._session, answer = applicant.answer(self._raw(runner))
        except Refused as error:
            self._send({"declined": True})
            gevent.sleep(_LOOK_S)  # so that it is on its way
            raise error
        self._send(answer)
        said = self._raw(runner)
        if isinstance(said, dict) and "refused" in said:
            raise Refused(str(said["refused"])[:200])
        admitted = self._session.open(said)
        self._lease_s = float(admitted.body["lease_s"])
        self._lease_from = time.monotonic()
        gevent.spawn(self._receive)
        gevent.spawn(self._keep_watch)
        gevent.spawn(self._renew)

    def _raw(self, runner: Runner | None) -> dict[str, Any]:
        """What the master says before there is a session."""
        until = time.monotonic() + ANSWER_WITHIN_S
        while runner is not None and time.monotonic() < until and not self._over.is_set():
            with contextlib.suppress(Empty):
                said = runner.inbox.get(timeout=_LOOK_S)
                if isinstance(said, dict):
                    if "refused" in said:
                        raise Refused(str(said["refused"])[:200])
                    return said
        raise Lost(self._why or "the master says nothing")

    def _plan(self) -> LoadPlan:
        """Agree on the time, then wait for the plan."""
        until = time.monotonic() + ANSWER_WITHIN_S
        while len(self._offsets) < CLOCK_ROUNDS and time.monotonic() < until:
            self._ask()
            gevent.sleep(_ROUND_PAUSE_S)
            if self._over.is_set():
                raise Lost(self._why)
        if not self._offsets:
            raise Lost("the master does not say what time it is")
        best = best_offset(self._offsets)
        self._clock.adjust(best.offset_s)
        self._say("clocked", {"offset_s": best.offset_s, "error_s": best.error_s})
        _LOG.warning("admitted as %s; waiting for the others", self.name)
        said = self._next("plan")
        plan = LoadPlan.model_validate_json(said.body["plan"])
        folder = Path(self._settings.folder) / self.name
        return plan.model_copy(update={"history": str(folder)})

    def _prepared(self) -> Worker:
        """What performs the plan. Raises Lost where it cannot be: this machine may lack a file of it."""
        try:
            plan = self._plan()
            return Worker(plan, self._clock, bearer=bearer(self._key, plan.run))
        except (OSError, ValueError, KeyError) as error:
            self._end(f"the plan cannot be performed here: {' '.join(str(error).split())[:300]}")
            gevent.sleep(_LOOK_S)  # so that it is on its way
            raise Lost(self._why) from error

    # --- while it lasts

    def _control(self, worker: Worker) -> None:
        """What the conductor says."""
        while True:
            obey(self._lines.get(), worker)

    def _receive(self) -> None:
        """Open what comes in; what cannot be opened is nobody's."""
        while self._runner is not None and self._session is not None:
            try:
                said = self._session.open(self._runner.inbox.get())
            except Forged as error:
                _LOG.error("ignored: %s", error)
                continue
            match said.kind:
                case "renewed":
                    self._renewed(said.body)
                case "line":
                    self._lines.put(str(said.body.get("line", "")))
                case "end":
                    self._end("the master said so")
                case _:
                    self._inbox.put(said)

    def _renewed(self, body: dict[str, Any]) -> None:
        asked = self._asked.pop(body.get("n", -1), None)
        if asked is None:
            return
        monotonic, sent = asked
        self._lease_from = max(self._lease_from, monotonic)
        if len(self._offsets) < CLOCK_ROUNDS:
            self._offsets.append(Offset.of(sent, float(body["t"]), self._clock.now()))

    def _renew(self) -> None:
        while not self._over.is_set():
            self._ask()
            gevent.sleep(self._lease_s / 4)

    def _ask(self) -> None:
        number = next(self._numbers)
        while len(self._asked) > 100:
            del self._asked[next(iter(self._asked))]
        self._asked[number] = (time.monotonic(), self._clock.now())
        self._say("renew", {"n": number})

    def _keep_watch(self) -> None:
        while not self._over.wait(_LOOK_S):
            if time.monotonic() - self._lease_from > self._lease_s:
                self._end(f"nothing was heard of the master for the lease of {self._lease_s:g} s")

    def _watch_stdin(self) -> None:
        gevent.os.make_nonblocking(0)
        while gevent.os.nb_read(0, 4096):
            pass
        self._end("whoever started it is gone")

    def _end(self, why: str) -> None:
        if not self._over.is_set():
            self._why = why
            self._over.set()
            self._inbox.put(None)
            _LOG.error("%s: it stops", why)
            if self._session is not None:
                self._say("left", {"reason": why})
        if self._worker is not None:
            self._worker.hurry()

    # --- the end

    def _deliver(self, worker: Worker) -> None:
        """Hand the history over, a few chunks ahead of what the master has; then it is of no use here."""
        if self._over.is_set():
            raise Lost(f"{self._why}; its history stays in {worker.history}")
        size = worker.history.stat().st_size
        with worker.history.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            file.seek(0)
            self._say("history", {"bytes": size, "sha256": digest})
            unanswered, at = 1, 0
            while chunk := file.read(CHUNK_BYTES):
                self._say("chunk", {"at": at}, chunk)
                at += len(chunk)
                unanswered += 1
                while unanswered > _UNACKNOWLEDGED:
                    self._next("got")
                    unanswered -= 1
            self._say("written")
            for _ in range(unanswered + 1):
                self._next("got")
        worker.history.unlink()
        with contextlib.suppress(OSError):
            worker.history.parent.rmdir()

    def _next(self, kind: str) -> Said:
        """The next of a kind from the master. Raises Lost."""
        while True:
            said: Said | None = self._inbox.get()
            if said is None or self._over.is_set():
                raise Lost(self._why)
            if said.kind == kind:
                return said

    def _say(self, kind: str, body: dict[str, Any] | None = None, blob: bytes = b"") -> None:
        if self._session is not None:
            self._send(self._session.seal(kind, body, blob))

    def _send(self, data: dict[str, Any]) -> None:
        if self._runner is not None:
            with contextlib.suppress(RPCError):  # what does not arrive is noticed by the lease
                self._runner.client.send(Message(MESSAGE, data, self._runner.client_id))


def main() -> int:
    """Serve one run of the master that the environment names."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.WARNING)
    key = checked_token(os.environ.pop(TOKEN_VARIABLE))
    settings = WorkerSettings.model_validate_json(os.environ[WORKER_VARIABLE])
    return Member(settings, key).serve()


if __name__ == "__main__":
    code = main()
    logging.shutdown()
    sys.stderr.flush()
    os._exit(code)  # Locust's greenlets and ZeroMQ's context have nothing left to say
