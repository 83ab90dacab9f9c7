"""A user that plays an episode on an OpenEnv WebSocket: reset, steps, close.

Invariant of the naive manner: it does what stock clients do, and no better. After a time-out it sends the
same message again on the same socket and takes whatever comes next as the answer. When the late reply does
come, all later ones are one behind; the nonces in the history show it, and nothing here detects or repairs
it.

Invariant of the careful manner: no late reply is ever taken for another's. After any failure the socket is
closed, and what happened so far is played again on a new one (the environment has to be deterministic for it;
else `resume: never`), so a late reply arrives where nobody reads. One that is stale or sent twice, on the
same socket and on time, only `check_nonce` notices. What is known of a reply in advance, by a script or a
recording, is compared: another reward fails the episode with `trajectory_mismatch`.
"""

from __future__ import annotations

import contextlib
import json
import logging
import random
from pathlib import Path
from typing import Any, Final, NamedTuple

import gevent

from loadtests.history import Ended
from loadtests.options.episode import EpisodeOptions, EpisodeProfile
from loadtests.policies.choice import policy_of
from loadtests.policies.draws import Draw, StepsDrawn, Think, exponential
from loadtests.policies.policy import Expected, JsonObject, Move, Seen
from loadtests.policies.scripted import ResetData
from loadtests.policies.trajectory import Recorder, digest
from loadtests.templates import Missing
from loadtests.users.arrival import Arrival
from loadtests.users.connect import Address, Broken
from loadtests.users.operation import UNFINISHED, Backoff, Desk, Entry, Operation, Subject, Try, Unfinished
from loadtests.users.ws import WebSocket

RESET: Final = "reset"
STEP: Final = "step"
REPLAY: Final = "replay"
"""A reset or step that is sent again on a new connection, to get back to where the old one was lost."""

COMPLETED: Final = "completed"
FAILED: Final = "failed"

MISMATCH: Final = "trajectory_mismatch"
MISPAIRED: Final = "mispaired"
TOLERANCE: Final = 1e-6
"""Rewards that differ by no more are equal, as the check `reward-known` has it."""
_REFUSED: Final = frozenset({"VALIDATION_ERROR", "INVALID_JSON", "UNKNOWN_TYPE"})
"""openenv-core's codes of messages that are wrong by themselves: sent again they are as wrong."""

_LOG = logging.getLogger(__name__)


class Reply(NamedTuple):
    """What the environment answered."""

    nonce: str | None
    seen: Seen


class EpisodeUser:
    """Plays one episode for each arrival."""

    def __init__(self, desk: Desk, url: str, profile: EpisodeProfile) -> None:
        """Raises BadUrl; BadTrajectory, BadDurations, NotThere: the files that the profile names."""
        self.desk = desk
        self.options: EpisodeOptions = profile.with_
        self.address = Address.of(url)
        self.retry = Backoff(most=self.options.retries, first_s=0.05, cap_s=1.0, jitter=0.25, heed=False)
        self.policy = policy_of(self.options.policy)
        self.nonce_field = self.options.nonce_field
        self.reset = ResetData(self.options.reset)
        self.think = _thinking(self.options)
        self.recorder = self._recorder()

    def _recorder(self) -> Recorder | None:
        """What records golden trajectories; nonces differ from run to run."""
        record = self.options.record
        if record is None:
            return None
        nonce = () if self.nonce_field is None else (f"/{self.nonce_field}",)
        return Recorder(Path(record.file), (*record.ignore, *nonce))

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


def _thinking(options: EpisodeOptions) -> Draw | None:
    if isinstance(options.think, Think):
        return options.think.drawing()
    return exponential(options.think) if options.think else None


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
        steps = options.steps.draw(rng) if isinstance(options.steps, StepsDrawn) else options.steps
        self._player = user.policy.player(self._task, steps, rng)
        self._pauses = random.Random(rng.getrandbits(64)) if user.think else None
        self._socket: WebSocket | None = None
        self._sent: list[str] = []
        """What was answered so far, in order: what a new connection has to play again."""
        self._seen: list[tuple[JsonObject, Seen]] = []
        """What is recorded: each message's data, and what it was answered."""
        self._smooth = True

    def play(self) -> tuple[str, str | None]:
        """Play to the end: the episode's outcome and the error type of a failed one."""
        options, player = self._options, self._player
        data = player.reset
        if data is None:
            data = self._user.reset.of(self._task) | ({"seed": self._task} if options.seeds else {})
        operation = self._operation(RESET, 0, self._arrival.due)
        step = 0
        try:
            seen = self._perform(operation, data, player.opening)
            while not seen.done:
                step += 1
                move = self._move(step, seen, operation.end)
                if move is None:
                    break
                operation = self._operation(STEP, step, self._thought(operation.end))
                seen = self._perform(operation, move.action, move.expected)
        except Broken as failure:
            return FAILED, failure.error_type
        if not seen.done and player.ends and options.client == "careful":
            return FAILED, "environment_error"  # its last action ends an episode; this one did not end
        self._record()
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

    def _move(self, step: int, seen: Seen, due: float) -> Move | None:
        """The player's next move. Raises Broken, told by a row of its own, when the player cannot say one."""
        try:
            return self._player.move(step, seen)
        except Missing as error:
            failure = Broken(
                "protocol_error", f"the observation has not what the script asks for: {error}", retry=False
            )
        except Exception as error:  # the user's own function may raise anything
            _LOG.exception("a policy failed, in %s", self._desk.workload)
            failure = Broken("generator_error", f"{type(error).__name__}: {error}", retry=False)
        operation = self._operation(STEP, step, due)

        def fail(_: Try) -> Seen:
            raise failure

        self._counted(operation, fail)
        return None

    def _thought(self, since: float) -> float:
        """Think; when the next step is due."""
        if self._user.think is None or self._pauses is None:
            return since
        due = since + self._user.think(self._pauses)
        gevent.sleep(max(due - self._desk.clock.now(), 0.0))
        return due

    def _operation(self, name: str, step: int, due: float) -> Operation:
        return Operation(self._desk, self._arrival, name, due, self._subject(step))

    def _subject(self, step: int) -> Subject:
        nonce = self._arrival.nonce(step) if self._user.nonce_field else None
        return Subject(step=step, episode=True, item=self._player.item, nonce=nonce)

    def _perform(self, operation: Operation, data: JsonObject, expected: Expected) -> Seen:
        """One reset or step, tries included. Raises Broken, Unfinished."""
        field, nonce = self._user.nonce_field, operation.subject.nonce
        sent = data if field is None else {**data, field: f"{nonce:016x}"}
        message = json.dumps({"type": operation.name, "data": sent})
        attempt = self._naive if self._options.client == "naive" else self._careful
        seen = self._counted(operation, lambda tried: attempt(operation, message, expected, tried))
        self._sent.append(message)
        if self._user.recorder is not None:
            self._seen.append((data, seen))
            self._smooth = self._smooth and not operation.number
        return seen

    def _counted(self, operation: Operation, attempt: Any) -> Seen:
        try:
            seen: Seen = operation.perform(attempt, self._user.retry, self._arrival.rng)
            return seen
        finally:
            self._desk.telemetry.step.record(
                operation.duration_s,
                (operation.phase, self._desk.workload, operation.name, operation.error_type),
            )

    def _naive(self, operation: Operation, message: str, expected: Expected, tried: Try) -> Seen:
        """Send it, and take the next message for the answer, whatever was sent before."""
        if self._socket is None and operation.name != RESET:
            raise Broken("connection_closed", "the session went with its connection", retry=False)
        try:
            return self._exchange(message, expected, tried)
        except Broken as failure:
            if failure.error_type == "timeout" and self._socket is not None:
                raise  # on the same socket, again
            self.close(politely=False)
            failure.retry = operation.name == RESET and failure.error_type != "environment_error"
            raise

    def _careful(self, operation: Operation, message: str, expected: Expected, tried: Try) -> Seen:
        """Send it on a connection on which nothing is outstanding."""
        try:
            if self._socket is None:
                self._connect(tried)
                for step, sent in enumerate(self._sent):
                    self._replay(operation, step, sent)
            seen = self._exchange(message, expected, tried)
            if self._options.check_nonce and tried.reply_nonce != f"{operation.subject.nonce:016x}":
                raise Broken(MISPAIRED, f"the reply echoes {tried.reply_nonce}")
            if self._player.strict:
                self._compare(expected, seen)
            return seen
        except (Broken, Unfinished) as failure:
            self.close(politely=False)
            if isinstance(failure, Broken) and self._options.resume == "never" and self._sent:
                failure.retry = False
            raise

    def _compare(self, expected: Expected, seen: Seen) -> None:
        """Raises Broken when a reply says otherwise than is known."""
        found = None if expected.digest is None else digest(seen.observation, self._player.ignore)
        mismatch = expected.mismatch(seen, found, TOLERANCE)
        if mismatch is not None:
            raise Broken(MISMATCH, mismatch, retry=False)

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

    def _exchange(self, message: str, expected: Expected, tried: Try) -> Seen:
        if self._socket is None:
            self._connect(tried)
        seen = self._roundtrip(message, tried)
        tried.expected = expected.reward
        if tried.expected is None and seen.done:
            tried.expected = expected.at_end
        return seen

    def _connect(self, tried: Try) -> None:
        headers = [(b"traceparent", self._arrival.traceparent().encode())]
        self._socket = WebSocket(
            self._user.address, self._options.path, headers, self._options.connect_timeout
        )
        connection = self._socket.connection
        tried.connection = connection.ordinal
        tried.sent, tried.received = connection.sent, connection.received

    def _roundtrip(self, message: str, tried: Try) -> Seen:
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
        reply = understood(text, self._user.nonce_field)
        seen = reply.seen
        tried.reply_nonce, tried.reward, tried.done = reply.nonce, seen.reward, seen.done
        return seen

    def _record(self) -> None:
        """Keep an episode in which nothing had to be tried twice."""
        recorder = self._user.recorder
        if recorder is None or not self._smooth or len(self._seen) < 2:
            return
        (reset, opening), *played = self._seen
        try:
            recorder.record(reset, opening, played)
        except OSError as error:
            _LOG.error("record: %s", error)
            self._user.recorder = None


def understood(text: str, nonce_field: str | None) -> Reply:
    """An observation. Raises Broken: the environment says it failed, or what came is no reply at all."""
    try:
        message = json.loads(text)
        kind, data = message["type"], message["data"]
        if kind == "observation":
            observation = data["observation"]
            nonce = observation.get(nonce_field)
            reward, done = data.get("reward"), data.get("done")
            return Reply(
                str(nonce) if nonce not in (None, "") else None,
                Seen(
                    observation,
                    None if reward is None else float(reward),
                    None if done is None else bool(done),
                ),
            )
        if kind == "error":
            code = data.get("code") if isinstance(data, dict) else None
            raise Broken("environment_error", str(data)[:200], retry=code not in _REFUSED)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Broken("protocol_error", f"expected an observation, got {text[:80]!r}") from error
    raise Broken("protocol_error", f"expected an observation, got a message of type {kind!r}")
