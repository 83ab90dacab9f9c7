"""Which HTTP statuses a client tries again, and how long a service asks it to wait.

Taken from the OpenAI and Anthropic SDKs (`_base_client.py`: `_should_retry`, `_parse_retry_after_header`).
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

from loadtests.users.connect import Broken

RETRIED = frozenset({408, 409, 429})


def status_failure(status: int, headers: Mapping[str, str], detail: str) -> Broken:
    """What a response with a bad status is to its client."""
    return Broken(
        str(status), detail, retry=status in RETRIED or status >= 500, retry_after_s=retry_after_s(headers)
    )


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """The wait that `retry-after-ms` or `Retry-After` (seconds or a date) asks for, in seconds, or None."""
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    text = headers.get("retry-after")
    if text is None:
        return None
    seconds = _number(text)
    if seconds is not None:
        return seconds
    try:
        return parsedate_to_datetime(text).timestamp() - time.time()
    except (ValueError, TypeError, OverflowError):
        return None


def _number(text: str | None) -> float | None:
    try:
        value = float(text) if text is not None else math.nan
    except ValueError:
        return None
    return value if math.isfinite(value) else None
