"""Retries of chat completions as the providers' own SDKs do them.

Taken from `_base_client.py` and `_constants.py` of openai 3.52 and anthropic 2.11. Both try again after the
statuses 408, 409, 429, 500 and above, lost connections and time-outs, unless `x-should-retry` says otherwise,
and pause for half a second that doubles up to eight, each less up to a quarter. They differ in Retry-After:
OpenAI's heeds up to two minutes, and does not try again where more is asked for; Anthropic's waits however
long it is told.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from loadtests.users.connect import Broken
from loadtests.users.operation import Backoff
from loadtests.users.retries import status_failure

LONGEST_BACKOFF_S: Final = 8.0
JITTER: Final = 0.25
LONGEST_HEEDED_S: Final[dict[str, float]] = {"openai": 120.0, "anthropic": 4_294_967.0}
"""The longest Retry-After that is waited for, by SDK (`MAX_RETRY_AFTER_DELAY`, and what sleep can bear)."""


@dataclass(frozen=True, slots=True)
class SdkRetry:
    """When a chat completion is tried again. Without `heed` the service has no say in it."""

    api: Literal["openai", "anthropic"]
    most: int
    first_s: float
    heed: bool

    def pause_s(self, number: int, failure: Broken, rng: random.Random) -> float | None:
        """The pause after try `number` (from 0); None: give up."""
        if number >= self.most or not failure.retry:
            return None
        asked, longest = failure.retry_after_s, LONGEST_HEEDED_S[self.api]
        if self.heed and asked is not None and asked > 0:
            if asked <= longest:
                return asked
            return None if self.api == "openai" else longest
        backoff = Backoff(self.most, self.first_s, LONGEST_BACKOFF_S, JITTER, heed=False)
        return backoff.pause_s(number, failure, rng)

    def refusal(self, status: int, headers: Mapping[str, str], detail: str) -> Broken:
        """What a response with a bad status is; `x-should-retry` goes before the status, if it is heeded."""
        failure = status_failure(status, headers, detail)
        said = headers.get("x-should-retry") if self.heed else None
        if said in ("true", "false"):
            failure.retry = said == "true"
        return failure
