"""The master of load on other machines: a process of its own, `python -m loadtests.users.master`.

Invariant: who has not proved that it holds the token is told nothing of the plan, and changes nothing. An
admitted worker lives as long as it renews its lease; when it does not, it has stopped by itself by then, and
the conductor is told. When the conductor's end of stdin closes, every worker is told to end at once; when
that does not reach one, its lease runs out.

The sockets, the presence of workers and their heartbeats are Locust's; its own messages that start, stop or
change users are neither sent nor taken.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import gevent
import gevent.os
from gevent.event import Event
from locust.env import Environment
from locust.exception import RPCError
from locust.rpc import Message
from locust.runners import MasterRunner

from loadtests.history import SUFFIX
from loadtests.machines import MASTER_VARIABLE, MESSAGE, PROTOCOL, MasterPlan, Told
from loadtests.seal import TOKEN_VARIABLE, Forged, Said, Session, checked_token
from loadtests.users.admission import Doorkeeper, Refused
from loadtests.users.clock import Clock
from loadtests.users.collection import Collection, Damaged
from loadtests.users.control import lines

_POLL_S: Final = 0.05
_SLACK_S: Final = 0.5
"""How long after its lease a worker may take to end what is open."""
_MOST_APPLICANTS: Final = 256
_MOST_TOLD: Final = 100
"""Refusals that are told: past it they are only counted."""
_LET_GO_S: Final = 1.0
_OURS: Final = ("client_ready", "heartbeat", "client_stopped")
"""Of Locust's messages those that only say that somebody is there."""


@dataclass
class Admitted:
    """A worker that holds the token."""

    name: str
    session: Session
    machine: str
    renewed: float
    joined: bool = False
    over: bool = False
    """Nothing more is expected of it."""
    collected: bool = False
    collection: Collection | None = None


class Runner(MasterRunner):  # type: ignore[misc]  # locust's types are not followed
    """Locust's master, which passes our messages on and takes no orders."""

    def __init__(self, environment: Environment, master: Master) -> None:
        self._master = master
        super().__init__(environment, master.plan.host, master.plan.port)

    def client_listener(self) -> None:
        """Receive for ever: nothing that comes in ends this."""
        while True:
            try:
                client, message = self.server.recv_from_client()
                self.handle_message(client, message)
            except RPCError as error:
                self._master.refuse("somebody", f"what it sends is no message: {error}")
                gevent.sleep(0)
            except Exception as error:  # a stranger's bytes can fail to be read in any way
                self._master.refuse("somebody", f"what it sends is no message: {type(error).__name__}")
                gevent.sleep(0)

    def handle_message(self, client_id: str, msg: Message) -> None:
        """Ours go to the master; of Locust's only those of presence count."""
        if msg.type == MESSAGE:
            self._master.take(client_id, msg.data)
        elif msg.type in _OURS:
            super().handle_message(client_id, msg)


class Master:
    """Admits workers, passes on what the conductor says, collects histories."""

    def __init__(self, plan: MasterPlan, key: bytes) -> None:
        self.plan = plan
        self._key = key
        self._clock = Clock()
        self._applicants: dict[str, Doorkeeper] = {}
        self._admitted: dict[str, Admitted] = {}
        self._begun = False
        self._ending = Event()
        self._refusals = 0
        self._runner: Runner | None = None

    def serve(self) -> None:
        """Until stdin ends or SIGTERM comes. Raises RPCError when the address cannot be bound."""
        self._runner = Runner(Environment(user_classes=[]), self)
        for number in (signal.SIGTERM, signal.SIGINT):
            gevent.signal_handler(number, self._ending.set)
        tell(Told(event="listening", port=self._runner.server.port))
        gevent.spawn(self._listen)
        while not self._ending.wait(_POLL_S):
            self._look()
        for client, worker in self._admitted.items():
            if not worker.over:
                self._send(client, worker.session.seal("end"))
        gevent.sleep(_LET_GO_S if any(not w.over for w in self._admitted.values()) else _POLL_S)
        with contextlib.suppress(Exception):
            self._runner.server.close(linger=100)

    # --- what workers say

    def take(self, client: str, data: Any) -> None:
        """One message from a worker, or from a stranger."""
        worker = self._admitted.get(client)
        try:
            if worker is not None:
                self._obey(client, worker, worker.session.open(data))
            elif not isinstance(data, dict):
                raise Refused("what it says is no message")
            elif "hello" in data:
                self._greet(client, data)
            elif client in self._applicants and ("answer" in data or "declined" in data):
                self._admit(client, self._applicants.pop(client), data)
            else:
                raise Refused("it was not admitted")
        except Forged as error:
            self.refuse(worker.name if worker else client, str(error))
        except Refused as error:
            name = data.get("hello") if isinstance(data, dict) else None
            self.refuse(str(name or client)[:120], str(error))
            self._send(client, {"refused": str(error)})

    def refuse(self, who: str, reason: str) -> None:
        """Tell the conductor who was not admitted or believed, as long as that is news."""
        self._refusals += 1
        if self._refusals <= _MOST_TOLD:
            tell(Told(event="refused", worker=who, reason=reason))

    def _greet(self, client: str, hello: dict[str, Any]) -> None:
        doorkeeper = Doorkeeper(self._key, hello, PROTOCOL)
        if self._begun or len(self._admitted) >= self.plan.workers:
            raise Refused(f"the {self.plan.workers} workers that were asked for are there")
        if any(worker.name == doorkeeper.name for worker in self._admitted.values()):
            raise Refused("another has its name")
        while len(self._applicants) >= _MOST_APPLICANTS:
            del self._applicants[next(iter(self._applicants))]
        self._applicants[client] = doorkeeper
        self._send(client, doorkeeper.challenge)

    def _admit(self, client: str, doorkeeper: Doorkeeper, answer: dict[str, Any]) -> None:
        session = doorkeeper.admit(answer)
        if self._begun or len(self._admitted) >= self.plan.workers:
            raise Refused(f"the {self.plan.workers} workers that were asked for are there")
        self._admitted[client] = Admitted(doorkeeper.name, session, doorkeeper.machine, time.monotonic())
        self._send(client, session.seal("admitted", {"lease_s": self.plan.lease_s}))

    def _obey(self, client: str, worker: Admitted, said: Said) -> None:
        if worker.over and not worker.collected:
            self._send(client, worker.session.seal("end"))
            return
        say = partial(self._say, client, worker)
        match said.kind:
            case "renew":
                worker.renewed = time.monotonic()
                say("renewed", {"n": said.body.get("n"), "t": self._clock.now()})
            case "clocked":
                self._joined(worker, said.body)
            case "history" | "chunk" | "written":
                self._collect(client, worker, said)
            case "left" if not worker.over:
                self._leave(worker, "left", str(said.body.get("reason", ""))[:400])
            case "left":
                pass
            case _:
                raise Forged(f"a message of an unknown kind: {said.kind[:40]}")

    def _joined(self, worker: Admitted, body: dict[str, Any]) -> None:
        if worker.joined:
            return
        try:
            offset_s, error_s = float(body["offset_s"]), float(body["error_s"])
        except (KeyError, TypeError, ValueError):
            raise Forged("a clock that is none") from None
        worker.joined = True
        tell(
            Told(
                event="joined",
                worker=worker.name,
                machine=worker.machine,
                offset_s=offset_s,
                error_s=error_s,
            )
        )
        crew = [(client, each) for client, each in self._admitted.items() if each.joined and not each.over]
        if len(crew) == self.plan.workers:
            self._begun = True
            members = tuple(each.name for _, each in crew)
            for client, each in crew:
                plan = self.plan.load.model_copy(update={"worker": each.name, "members": members})
                self._say(client, each, "plan", {"plan": plan.model_dump_json(by_alias=True)})

    # --- histories

    def _collect(self, client: str, worker: Admitted, said: Said) -> None:
        try:
            if said.kind == "history":
                path = Path(self.plan.load.history) / f"{worker.name}{SUFFIX}"
                worker.collection = Collection(path, said.body)
            elif worker.collection is None:
                raise Damaged("it did not say what comes")
            elif said.kind == "chunk":
                worker.collection.add(said.body, said.blob)
            else:
                worker.collection.finish()
                worker.over = worker.collected = True
                tell(Told(event="collected", worker=worker.name))
            self._say(client, worker, "got", {"at": worker.collection.size if worker.collection else 0})
        except (Damaged, OSError) as error:
            worker.over = True
            tell(Told(event="uncollected", worker=worker.name, reason=str(error)))
            self._say(client, worker, "end")

    # --- who is there

    def _look(self) -> None:
        for client, worker in list(self._admitted.items()):
            if not worker.over and time.monotonic() - worker.renewed > self.plan.lease_s:
                self._leave(worker, "lost", f"nothing heard of it for its lease of {self.plan.lease_s:g} s")
                if not self._begun:
                    del self._admitted[client]  # another may come instead

    def _leave(self, worker: Admitted, how: Any, reason: str) -> None:
        worker.over = True
        if worker.collection is not None:
            worker.collection.abandon()
        gone_by = self._clock.now() + (_SLACK_S if how == "lost" else 0.0)
        tell(Told(event=how, worker=worker.name, reason=reason, gone_by=gone_by))

    def _listen(self) -> None:
        """What the conductor says."""
        gevent.os.make_nonblocking(0)
        for line in lines(lambda: gevent.os.nb_read(0, 65536)):
            with contextlib.suppress(ValueError, KeyError, TypeError):
                said = json.loads(line)
                for client, worker in list(self._admitted.items()):
                    if worker.name == said["to"] and not worker.over:
                        self._say(client, worker, "line", {"line": str(said["line"])})
        self._ending.set()

    def _say(self, client: str, worker: Admitted, kind: str, body: dict[str, Any] | None = None) -> None:
        self._send(client, worker.session.seal(kind, body))

    def _send(self, client: str, data: dict[str, Any]) -> None:
        if self._runner is not None:
            with contextlib.suppress(RPCError):  # what it misses it notices by its lease
                self._runner.server.send_to_client(Message(MESSAGE, data, client))


def tell(event: Told) -> None:
    """Say it to the conductor, on stdout."""
    sys.stdout.write(event.model_dump_json() + "\n")
    sys.stdout.flush()


def main() -> int:
    """Perform the master plan that the environment names."""
    key = checked_token(os.environ.pop(TOKEN_VARIABLE))
    plan = MasterPlan.model_validate_json(Path(os.environ[MASTER_VARIABLE]).read_bytes())
    try:
        Master(plan, key).serve()
    except RPCError as error:
        sys.stderr.write(f"{plan.host}:{plan.port} cannot be listened on: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.stdout.flush()
    code = main()
    sys.stdout.flush()
    os._exit(code)  # Locust's greenlets and ZeroMQ's context have nothing left to say
