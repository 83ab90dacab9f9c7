"""A real master and a real worker process, each with a stranger at the other end of Locust's sockets."""

from __future__ import annotations

import contextlib
import hashlib
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack  # type: ignore[import-untyped]  # the package ships no stubs
import pytest
import zmq

from loadtests import machines
from loadtests.machines import PROTOCOL, MasterPlan, Told, WorkerSettings
from loadtests.profile import LoadPlan
from loadtests.seal import Session, checked_token
from loadtests.users.admission import Applicant, Doorkeeper
from tests.loadtests.locusts import wait_until, workload

TOKEN = "a token of the tests, long enough"
KEY = checked_token(TOKEN)
OTHER = "another token, long enough too"
SILENT_MS = 300
ANSWER_MS = 30_000


class Running:
    """A process of ours, with its output in files and its stdin held here."""

    def __init__(self, folder: Path, argv: list[str], env: dict[str, str]) -> None:
        self._out, self._err = folder / "out", folder / "err"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(argv, env=env, stdin=subprocess.PIPE, stdout=out, stderr=err)

    @property
    def told(self) -> list[Told]:
        """The events that a master has told."""
        lines = self._out.read_text().splitlines()
        return [Told.model_validate_json(line) for line in lines if line.endswith("}")]

    @property
    def log(self) -> str:
        """What it printed besides."""
        return self._err.read_text()

    def say(self, line: str) -> None:
        """Write to its stdin."""
        assert self.process.stdin is not None
        self.process.stdin.write(line.encode())
        self.process.stdin.flush()

    def lives_for(self, seconds: float) -> bool:
        """Whether it is still there after so long; what is said meanwhile is not too much for it."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(seconds)
        return self.process.returncode is None

    def close(self) -> None:
        """End it."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@contextlib.contextmanager
def master(folder: Path, *, workers: int = 1, lease_s: float = 30.0) -> Iterator[tuple[Running, int]]:
    """A master process and its port."""
    history = folder / "history"
    history.mkdir()
    load = {
        "run": "run-1",
        "seed": 7,
        "otlp_endpoint": "http://127.0.0.1:9",
        "history": str(history),
        "workloads": [workload("web", "http://127.0.0.1:9", "http", steps=[{"name": "root", "path": "/"}])],
    }
    plan = MasterPlan(
        host="127.0.0.1", port=0, workers=workers, lease_s=lease_s, load=LoadPlan.model_validate(load)
    )
    path = folder / "load.json"
    path.write_text(plan.model_dump_json(by_alias=True))
    running = Running(folder, machines.master_command(), machines.master_environment(path, TOKEN))
    try:
        wait_until(lambda: bool(running.told) or running.process.poll() is not None, "listening")
        assert running.process.poll() is None, running.log
        yield running, running.told[0].port
    finally:
        running.close()


class Net:
    """ZeroMQ's sockets of a test."""

    def __init__(self) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._sockets: list[zmq.Socket[bytes]] = []

    def socket(self, kind: int) -> zmq.Socket[bytes]:
        """One that is closed with the test."""
        made = self._context.socket(kind)
        made.setsockopt(zmq.LINGER, 0)
        self._sockets.append(made)
        return made

    def close(self) -> None:
        """Close them all."""
        for socket in self._sockets:
            socket.close()
        self._context.term()


class Stranger:
    """Somebody who speaks as Locust's workers do."""

    def __init__(self, net: Net, port: int, identity: bytes = b"stranger") -> None:
        self.socket = net.socket(zmq.DEALER)
        self.socket.setsockopt(zmq.IDENTITY, identity)
        self.socket.connect(f"tcp://127.0.0.1:{port}")
        self._identity = identity.decode()

    def send(self, data: Any, kind: str = machines.MESSAGE) -> None:
        """One message of Locust's."""
        self.socket.send(msgpack.dumps((kind, data, self._identity)))

    def receive(self, within_ms: int = ANSWER_MS) -> Any:
        """The data of the next message of ours; None when none comes."""
        while self.socket.poll(within_ms):
            kind, data, _ = msgpack.loads(self.socket.recv(), raw=False)
            if kind == machines.MESSAGE:
                return data
        return None

    def join(self, name: str = "w") -> Session:
        """Be admitted."""
        applicant = Applicant(name, KEY, {"version": PROTOCOL, "machine": "here"})
        self.send(applicant.hello)
        session, answer = applicant.answer(self.receive())
        self.send(answer)
        assert session.open(self.receive()).kind == "admitted"
        return session


@pytest.fixture
def net() -> Iterator[Net]:
    """ZeroMQ's sockets of a test."""
    with contextlib.closing(Net()) as made:
        yield made


def test_who_has_no_token_gets_no_plan_and_changes_nothing(tmp_path: Path, net: Net) -> None:
    """Garbage, Locust's own messages, orders without admission: refused and told, and the next is served."""
    with master(tmp_path) as (running, port):
        stranger = Stranger(net, port)
        for garbage in (b"", b"\xc1", b"\xff" * 100, msgpack.dumps(7), msgpack.dumps(("a",)), b"\x93\xa1x"):
            stranger.socket.send(garbage)
        stranger.socket.send_multipart([b"", b""])
        for kind in ("spawn", "quit", "stats", "client_stopped", "heartbeat", "exception", "locustfile"):
            stranger.send({"state": 1}, kind)
            stranger.send(None, kind)
        stranger.send(None, "client_ready")
        said: tuple[Any, ...] = (
            None,
            7,
            "x",
            [],
            {},
            {"answer": b"x" * 32},
            {"n": 1, "said": "[]", "mac": b"", "blob": b""},
        )
        for data in said:
            stranger.send(data)
            refused = stranger.receive()
            assert list(refused) == ["refused"], refused
        applicant = Applicant("w", checked_token(OTHER), {"version": PROTOCOL, "machine": "here"})
        stranger.send(applicant.hello)
        assert set(stranger.receive()) == {"challenge", "proof"}
        stranger.send({"answer": b"x" * 32})
        assert stranger.receive() == {"refused": "it does not hold the token"}
        wait_until(lambda: any("does not hold" in t.reason for t in running.told), "told")
        friend = Stranger(net, port, b"friend")
        session = friend.join()
        friend.send(session.seal("clocked", {"offset_s": 0.0, "error_s": 0.001}))
        assert session.open(friend.receive()).kind == "plan"
        assert stranger.receive(SILENT_MS) is None, "only who was admitted is told the plan"


def test_a_replayed_or_forged_message_renews_no_lease(tmp_path: Path, net: Net) -> None:
    """What an admitted worker once said, said again, or changed, is refused, and its lease runs out."""
    with master(tmp_path, lease_s=2.0) as (running, port):
        friend = Stranger(net, port)
        session = friend.join()
        renewal = session.seal("renew", {"n": 1})
        friend.send(renewal)
        assert session.open(friend.receive()).body["n"] == 1
        changed = {**session.seal("renew", {"n": 2}), "said": '["renew", {"n": 3}]'}

        def lost() -> bool:
            friend.send(renewal)
            friend.send(changed)
            running.lives_for(0.1)
            return any(told.event == "lost" for told in running.told)

        wait_until(lost, "the lease runs out")
        reasons = " ".join(told.reason for told in running.told if told.event == "refused")
        assert "come before" in reasons
        assert "was changed" in reasons


def test_there_are_as_many_as_were_asked_for(tmp_path: Path, net: Net) -> None:
    """One too many, and one with the name of another, is refused; the plan names all who share."""
    with master(tmp_path, workers=2) as (_, port):
        first, second, third = (Stranger(net, port, b"s%d" % n) for n in range(3))
        sessions = [first.join("w1")]
        third.send(Applicant("w1", KEY, {"version": PROTOCOL}).hello)
        assert "name" in third.receive()["refused"]
        sessions.append(second.join("w2"))
        third.send(Applicant("w3", KEY, {"version": PROTOCOL}).hello)
        assert "are there" in third.receive()["refused"]
        for stranger, session in zip((first, second), sessions, strict=True):
            stranger.send(session.seal("clocked", {"offset_s": 0.0, "error_s": 0.0}))
        for name, stranger, session in (("w1", first, sessions[0]), ("w2", second, sessions[1])):
            plan = LoadPlan.model_validate_json(session.open(stranger.receive()).body["plan"])
            assert (plan.worker, plan.members) == (name, ("w1", "w2"))


def test_a_history_is_whole_or_has_no_name(tmp_path: Path, net: Net) -> None:
    """One whose chunks or checksum are not as announced is told as lost; one that is right gets its name."""
    with master(tmp_path, workers=2) as (running, port):
        good, bad = Stranger(net, port, b"good"), Stranger(net, port, b"bad")
        data = b"some rows" * 1000
        announced = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        sessions = {}
        for name, stranger in (("good", good), ("bad", bad)):
            session = sessions[name] = stranger.join(name)
            stranger.send(session.seal("history", announced))
            stranger.send(session.seal("chunk", {"at": 0}, data[:100]))
        good.send(sessions["good"].seal("chunk", {"at": 100}, data[100:]))
        bad.send(sessions["bad"].seal("chunk", {"at": 100}, data[:-100]))
        good.send(sessions["good"].seal("written"))
        bad.send(sessions["bad"].seal("written"))
        wait_until(lambda: {"collected", "uncollected"} <= {told.event for told in running.told}, "told")
        by_event = {told.event: told.worker for told in running.told}
        assert (by_event["collected"], by_event["uncollected"]) == ("good", "bad")
        assert (tmp_path / "history/good.history").read_bytes() == data
        assert not (tmp_path / "history/bad.history").exists()


def test_what_the_conductor_says_reaches_its_worker_sealed(tmp_path: Path, net: Net) -> None:
    """A line goes to whom it is for; the end of the conductor's pipe tells everybody to end."""
    with master(tmp_path, workers=2) as (running, port):
        first, second = Stranger(net, port, b"s1"), Stranger(net, port, b"s2")
        one, two = first.join("w1"), second.join("w2")
        running.say("nonsense\n{}\n[]\n" + machines.to_line("w2", "a line"))
        said = two.open(second.receive())
        assert (said.kind, said.body) == ("line", {"line": "a line"})
        assert running.process.stdin is not None
        running.process.stdin.close()
        assert two.open(second.receive()).kind == "end"
        assert one.open(first.receive()).kind == "end"
        assert running.process.wait(30) == 0


@contextlib.contextmanager
def worker(folder: Path, port: int, token: str = TOKEN) -> Iterator[Running]:
    """A worker process that comes to a master at `port`."""
    settings = WorkerSettings(host="127.0.0.1", port=port, folder=str(folder), patience_s=60.0)
    running = Running(folder, machines.worker_command(), machines.worker_environment(settings, token))
    try:
        yield running
    finally:
        running.close()


class FalseMaster:
    """Somebody who speaks as Locust's master does."""

    def __init__(self, net: Net) -> None:
        self.socket = net.socket(zmq.ROUTER)
        self.port = self.socket.bind_to_random_port("tcp://127.0.0.1")
        self.client = b""

    def send(self, data: Any, kind: str = machines.MESSAGE) -> None:
        """One message to the worker that has come."""
        self.socket.send_multipart([self.client, msgpack.dumps((kind, data, self.client.decode()))])

    def receive(self) -> Any:
        """The data of the worker's next message of ours; answers what Locust's worker waits for."""
        while self.socket.poll(60_000):
            self.client, message = self.socket.recv_multipart()
            kind, data, _ = msgpack.loads(message, raw=False)
            if kind == "client_ready":
                self.send({"index": 0}, "ack")
            elif kind == machines.MESSAGE:
                return data
        return None


def test_a_worker_obeys_no_false_master(tmp_path: Path, net: Net) -> None:
    """Who cannot prove the token gets a name and random numbers from it, and it ends."""
    false = FalseMaster(net)
    with worker(tmp_path, false.port) as running:
        hello = false.receive()
        assert set(hello) == {"hello", "nonce", "version", "machine"}
        false.send({"timestamp": 1, "user_classes_count": {"User": 9}, "host": "x"}, "spawn")
        false.send(Doorkeeper(checked_token(OTHER), hello, PROTOCOL).challenge)
        assert false.receive() == {"declined": True}
        assert running.process.wait(60) == 3, running.log
        assert "does not hold our token" in running.log


def test_a_worker_that_cannot_perform_its_plan_says_why(tmp_path: Path, net: Net) -> None:
    """A file that its machine lacks, a plan of another version: the conductor is told, and not left to wait."""
    true = FalseMaster(net)
    with worker(tmp_path, true.port) as running:
        doorkeeper = Doorkeeper(KEY, true.receive(), PROTOCOL)
        true.send(doorkeeper.challenge)
        session = doorkeeper.admit(true.receive())
        true.send(session.seal("admitted", {"lease_s": 30.0}))
        while (said := session.open(true.receive())).kind == "renew":
            true.send(session.seal("renewed", {"n": said.body["n"], "t": time.time() + 100.0}))
        assert said.kind == "clocked"
        assert abs(said.body["offset_s"] - 100.0) <= said.body["error_s"] + 1.0
        true.send(session.seal("plan", {"plan": "{}"}))
        while (said := session.open(true.receive())).kind == "renew":
            pass
        assert said.kind == "left"
        assert "cannot be performed here" in said.body["reason"]
        assert running.process.wait(60) == 4, running.log


def test_a_worker_whose_lease_runs_out_ends(tmp_path: Path, net: Net) -> None:
    """Also where its master goes on speaking, in messages of which none renews: nobody controls it."""
    true = FalseMaster(net)
    with worker(tmp_path, true.port) as running:
        hello = true.receive()
        doorkeeper = Doorkeeper(KEY, hello, PROTOCOL)
        true.send(doorkeeper.challenge)
        session = doorkeeper.admit(true.receive())
        true.send(session.seal("admitted", {"lease_s": 2.0}))
        asked = session.open(true.receive())
        answer = session.seal("renewed", {"n": asked.body["n"], "t": time.time()})
        true.send(answer)
        until = time.monotonic() + 60
        while running.lives_for(0.1):
            assert time.monotonic() < until, running.log
            true.send(answer)
            true.send(session.seal("renewed", {"n": 10**9, "t": time.time()}))
        assert running.process.returncode == 4, running.log
        assert "lease" in running.log
