"""A user that sends one recorded request again: the n-th arrival the n-th of the recording.

Invariant: what a recording may hold of secrets (headers, queries) goes to the service alone: telemetry and
history know the operation's name, and the arrival's ordinal tells which request it was.
"""

from __future__ import annotations

import logging
from functools import partial

from loadtests.options.replay import ReplayOptions, ReplayProfile, expected_of
from loadtests.recordings.recording import Unusable
from loadtests.users.arrival import Arrival
from loadtests.users.chat import JITTER, LONGEST_BACKOFF_S
from loadtests.users.compiled import Client, Compiled, compiled
from loadtests.users.connect import Address, Broken
from loadtests.users.operation import Backoff, Desk, Operation, Subject, Try
from loadtests.users.retries import status_failure
from loadtests.users.wire import Pool

_LOG = logging.getLogger(__name__)


class ReplayUser:
    """Sends the recording's requests, one for each arrival."""

    def __init__(self, desk: Desk, url: str, profile: ReplayProfile) -> None:
        """Raises BadUrl; Unusable: the recording cannot be read, or holds nothing that is wanted."""
        self.desk = desk
        self._options: ReplayOptions = profile.with_
        options = self._options
        self._address = Address.of(url)
        pool = Pool(
            self._address, keep=options.connection == "pooled", connect_timeout_s=options.connect_timeout
        )
        self._client = Client(desk, pool, options.timeout)
        self._retry = Backoff(
            options.retries, options.backoff, LONGEST_BACKOFF_S, JITTER, heed=options.client == "careful"
        )
        self._recording = profile.recording()
        if not len(self._recording):
            raise Unusable(f"{options.file}: no request that is wanted")
        self._kept = {name.lower() for name in options.headers}
        for note in profile.notes() if self._recording.counts.bad else ():
            _LOG.warning("%s: %s", desk.workload, note)

    def __call__(self, arrival: Arrival) -> None:
        """Send it, and count how it went."""
        name = self._recording.operation(arrival.ordinal)
        operation = Operation(self.desk, arrival, name, arrival.due, Subject())
        try:
            operation.perform(partial(self._attempt, operation), self._retry, arrival.rng)
        except Broken:
            pass  # it is in the history and in the metrics: that is what a user is for
        finally:
            self.desk.telemetry.http_operation.record(
                operation.duration_s,
                (operation.phase, self.desk.workload, operation.name, operation.error_type),
            )

    def request(self, ordinal: int) -> Compiled:
        """The `ordinal`-th request as bytes, to this service. Raises Unusable: the file has been changed."""
        recorded = self._recording.request(ordinal)
        headers = {name: value for name, value in recorded.headers.items() if name.lower() in self._kept}
        return compiled(
            self._address,
            self._recording.operation(ordinal),
            recorded.method,
            recorded.target,
            headers,
            recorded.body,
            expected_of(recorded.status, self._options.expect),
        )

    def _attempt(self, operation: Operation, tried: Try) -> None:
        try:
            request = self.request(operation.arrival.ordinal)
        except Unusable as error:
            raise Broken("generator_error", str(error), retry=False) from error
        answer = self._client.send(operation, tried, request)
        if answer.status not in request.expected:
            raise status_failure(answer.status, answer.headers, "")
