from __future__ import annotations

import random
import time
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.users.connect import Broken
from loadtests.users.operation import Backoff
from loadtests.users.retries import retry_after_s, status_failure


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "2"}, 2.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "9"}, 9.0),
        ({"retry-after": "later"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "Fri, 99 Foo 2026"}, None),
        ({}, None),
    ],
)
def test_retry_after_is_read_as_the_sdks_read_it(headers: dict[str, str], seconds: float | None) -> None:
    """Milliseconds go first, then seconds; what cannot be read is as if it were not there."""
    assert retry_after_s(headers) == seconds


def test_retry_after_may_be_a_date() -> None:
    """A date is a wait from now on."""
    seconds = retry_after_s({"retry-after": formatdate(time.time() + 100, usegmt=True)})
    assert seconds is not None
    assert 90 < seconds <= 100


@pytest.mark.parametrize(
    ("status", "again"), [(400, False), (401, False), (404, False), (408, True), (409, True), (429, True), (500, True), (529, True)]
)  # fmt: skip
def test_only_some_statuses_are_tried_again(status: int, again: bool) -> None:
    """Those that the SDKs try again: 408, 409, 429 and whatever the server failed at."""
    failure = status_failure(status, {}, "")
    assert (failure.error_type, failure.retry) == (str(status), again)


@given(st.integers(0, 30), st.integers(0, 2**32))
def test_pauses_double_up_to_a_cap_and_end(number: int, seed: int) -> None:
    """Half a second doubling to eight, at most a quarter less, and none after the last try."""
    backoff = Backoff(most=10, first_s=0.5, cap_s=8.0, jitter=0.25, heed=False)
    pause = backoff.pause_s(number, Broken("timeout"), random.Random(seed))
    if number >= 10:
        assert pause is None
    else:
        full = min(0.5 * 2**number, 8.0)
        assert pause is not None
        assert full * 0.75 <= pause <= full


def test_a_service_that_asks_for_too_much_is_not_heeded() -> None:
    """More than a minute, or less than nothing, is not waited for; the backoff holds instead."""
    heeding = Backoff(most=2, first_s=0.5, cap_s=8.0, jitter=0.0, heed=True)
    rng = random.Random(1)
    assert heeding.pause_s(0, Broken("429", retry_after_s=7.0), rng) == 7.0
    assert heeding.pause_s(0, Broken("429", retry_after_s=3600.0), rng) == 0.5
    assert heeding.pause_s(0, Broken("429", retry_after_s=-1.0), rng) == 0.5
    assert heeding.pause_s(0, Broken("protocol_error", retry=False), rng) is None
