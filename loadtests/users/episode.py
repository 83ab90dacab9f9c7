"""A user that plays an episode on an OpenEnv WebSocket: reset, steps, close.

Invariant of the naive manner: it does what stock clients do, and no better. After a time-out it sends the
same message again on the same socket and takes whatever comes next as the answer. When the late reply does
come, all later ones are one behind; the nonces in the history show it, and nothing here detects or repairs
it.

Invariant of the careful manner: no reply is ever taken for another's. After any failure the socket is closed,
and what happened so far is played again on a new one (the environment is deterministic), so a late reply
arrives where nobody reads.
"""

from __future__ import annotations

import contextlib
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import gevent

from loadtests.history import Ended
from loadtests.options.episode import EpisodeOptions, EpisodeProfile
from loadtests.users.arrival import Arrival
from loadtests.users.connect import Address, Broken
from loadtests.users.operation import UNFINISHED, Backoff, Desk, Entry, Operation, Subject, Try, Unfinished
from loadtests.users.ws import WebSocket
from loadtests.workspace import REWARDS, policy_actions

RESET: Final = "reset"
STEP: Final = "step"
REPLAY: Final = "replay"
"""A reset or step that is sent again on a new connection, to get back to where the old one was lost."""

COMPLETED: Final = "completed"
FAILED: Final = "failed"
LONGEST_THINK: Final = 10.0
"""Times the mean: pauses are drawn from an exponential distribution, cut off here."""

Message = dict[str, Any]


@lru_cache(maxsize=1024)
def _played(policy: str, seed: int, steps: int) -> tuple[Message, ...]:
    """What a deterministic policy does about a task."""
    return tuple(dict(action) for action in policy_actions(policy, seed, steps, random.Random(0)))  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Reply:
    """What the environment answered."""

    nonce: str | None
    reward: float | None
    done: bool | None


class EpisodeUser:
    """Plays one episode for each arrival."""

    def __init__(self, desk: Desk, url: str, profile: EpisodeProfile) -> None:
        """Raises BadUrl."""
        self.desk = desk
        self.options: EpisodeOptions = profile.with_
        self.address = Address.of(url)
        self.retry = Backoff(most=self.options.retries, first_s=0.05, cap_s=1.0, jitter=0.25, heed=False)

    def __call__(self, arrival: Arrival) -> None:
        """Play it, and count how it went."""
        begun = arrival.due
        outcome = FAILED
        error_type: str | None = "generator_error"  # unless it ends in one of its own ways
        episode = _Episode(self, arrival)
        try:
            outcome, error_type = episode.play()
        except Unfinished:
            outcome, error_type = UNFINISHED, UNFINISHED
            raise
        finally:
            desk = self.desk
            desk.telemetry.episode.record(
                max(desk.clock.now() - begun, 0.0),
                (desk.phases.at(begun), desk.workload, outcome, error_type),
            )
            episode.close(politely=outcome != UNFINISHED)


class _Episode:
    """One episode, as its client sees it."""

    def __init__(self, user: EpisodeUser, arrival: Arrival) -> None:
        options = user.options
        self._user = user
        self._desk = user.desk
        self._options = options
        self._arrival = arrival
        rng = arrival.rng
        self._task = rng.randrange(options.tasks)
        self._item = f"task-{self._task}"
        self._actions: Sequence[Message]
        if options.policy == "random":
            actions = policy_actions("random", self._task, options.steps, rng)
            self._actions = [dict(action) for action in actions]
        else:
            self._actions = _played(options.policy, self._task, options.steps)
        self._pauses = [self._pause() for _ in self._actions] if options.think else None
        self._expected = REWARDS[options.policy]
        self._socket: WebSocket | None = None
        self._sent: list[str] = []
        """What was answered so far, in order: what a new connection has to play again."""

    def play(self) -> tuple[str, str | None]:
        """Play to the end: the episode's outcome and the error type of a failed one."""
        operation = self._operation(RESET, 0, self._arrival.due)
        data = {"seed": self._task, "nonce": f"{operation.subject.nonce:016x}"}
        try:
            reply = self._perform(operation, json.dumps({"type": RESET, "data": data}))
            for step, action in enumerate(self._actions, 1):
                if reply.done:
                    break
                due = operation.end
                if self._pauses is not None:
                    due += self._pauses[step - 1]
                    gevent.sleep(max(due - self._desk.clock.now(), 0.0))
                operation = self._operation(STEP, step, due)
                data = {**action, "nonce": f"{operation.subject.nonce:016x}"}
                reply = self._perform(operation, json.dumps({"type": STEP, "data": data}))
        except Broken as failure:
            return FAILED, failure.error_type
        if not reply.done and self._options.client == "careful":
            return FAILED, "environment_error"  # its last action ends an episode; this one did not end
        return COMPLETED, None

    def close(self, *, politely: bool) -> None:
        """Close the session, as stock clients do; no reply is awaited."""
        socket, self._socket = self._socket, None
        if socket is None:
            return
        if politely:
            with contextlib.suppress(Broken):  # it is gone already, which is what was wanted
                socket.send('{"type": "close"}', 1.0)
        socket.close(politely=politely)

    def _pause(self) -> float:
        mean = self._options.think
        return min(self._arrival.rng.expovariate(1 / mean), mean * LONGEST_THINK)

    def _operation(self, name: str, step: int, due: float) -> Operation:
        return Operation(self._desk, self._arrival, name, due, self._subject(step))

    def _subject(self, step: int) -> Subject:
        return Subject(step=step, episode=True, item=self._item, nonce=self._arrival.nonce(step))

    def _perform(self, operation: Operation, message: str) -> Reply:
        """One reset or step, tries included. Raises Broken, Unfinished."""
        attempt = self._naive if self._options.client == "naive" else self._careful
        try:
            reply = operation.perform(
                lambda tried: attempt(operation, message, tried), self._user.retry, self._arrival.rng
            )
        finally:
            self._desk.telemetry.step.record(
                operation.duration_s,
                (operation.phase, self._desk.workload, operation.name, operation.error_type),
            )
        self._sent.append(message)
        return reply

    def _naive(self, operation: Operation, message: str, tried: Try) -> Reply:
        """Send it, and take the next message for the answer, whatever was sent before."""
        if self._socket is None and operation.name != RESET:
            raise Broken("connection_closed", "the session went with its connection", retry=False)
        try:
            return self._exchange(operation, message, tried)
        except Broken as failure:
            if failure.error_type == "timeout" and self._socket is not None:
                raise  # on the same socket, again
            self.close(politely=False)
            failure.retry = operation.name == RESET and failure.error_type != "environment_error"
            raise

    def _careful(self, operation: Operation, message: str, tried: Try) -> Reply:
        """Send it on a connection on which nothing is outstanding."""
        try:
            if self._socket is None:
                self._connect(tried)
                for step, sent in enumerate(self._sent):
                    self._replay(operation, step, sent)
            return self._exchange(operation, message, tried)
        except (Broken, Unfinished):
            self.close(politely=False)
            raise

    def _replay(self, operation: Operation, step: int, message: str) -> None:
        """Send again what was answered before; a row of its own, as a part of `operation`'s try."""
        tried = Try(self._desk.clock.now())
        ended: Ended = Ended.UNFINISHED
        error_type: str | None = UNFINISHED
        try:
            self._roundtrip(message, tried)
            ended, error_type = Ended.OK, None
        except Broken as failure:
            ended, error_type = Ended.ERROR, failure.error_type
            raise
        finally:
            entry = Entry(REPLAY, operation.due, self._subject(step), number=operation.number, final=False)
            self._desk.write(self._arrival, entry, tried, ended, error_type)

    def _exchange(self, operation: Operation, message: str, tried: Try) -> Reply:
        if self._socket is None:
            self._connect(tried)
        reply = self._roundtrip(message, tried)
        if reply.done or operation.subject.step == len(self._actions):
            tried.expected = self._expected
        return reply

    def _connect(self, tried: Try) -> None:
        headers = [(b"traceparent", self._arrival.traceparent().encode())]
        self._socket = WebSocket(
            self._user.address, self._options.path, headers, self._options.connect_timeout
        )
        connection = self._socket.connection
        tried.connection = connection.ordinal
        tried.sent, tried.received = connection.sent, connection.received

    def _roundtrip(self, message: str, tried: Try) -> Reply:
        """Send one message and take the next one that comes. Raises Broken."""
        socket = self._socket
        if socket is None:
            raise Broken("connection_closed")
        connection = socket.connection
        tried.connection = connection.ordinal
        sent, received = connection.sent, connection.received
        try:
            socket.send(message, self._options.timeout)
            text = socket.receive(self._options.timeout)
        finally:
            tried.sent += connection.sent - sent
            tried.received += connection.received - received
        reply = _understood(text)
        tried.reply_nonce, tried.reward, tried.done = reply.nonce, reply.reward, reply.done
        return reply


def _understood(text: str) -> Reply:
    """An observation. Raises Broken: the environment says it failed, or what came is no reply at all."""
    try:
        message = json.loads(text)
        kind, data = message["type"], message["data"]
        if kind == "observation":
            observation = data["observation"]
            nonce = observation.get("nonce")
            reward = data.get("reward")
            return Reply(
                nonce=str(nonce) if nonce not in (None, "") else None,
                reward=None if reward is None else float(reward),
                done=None if data.get("done") is None else bool(data["done"]),
            )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Broken("protocol_error", f"expected an observation, got {text[:80]!r}") from error
    if kind == "error":
        raise Broken("environment_error", str(data)[:200])
    raise Broken("protocol_error", f"expected an observation, got a message of type {kind!r}")
