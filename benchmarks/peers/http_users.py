"""A locustfile of Locust's own users: GET requests in a closed loop, or paced. One line of JSON at the end.

It is given by environment variables, as Locust has it: BENCH_CLIENT is `http` or `fast`, BENCH_PATH what to
get, BENCH_PACE how many requests a second each user makes (0: as many as it can).
"""

from __future__ import annotations

import json
import os
from typing import Any

from locust import FastHttpUser, HttpUser, constant_throughput, events

_PATH = os.environ["BENCH_PATH"]
_PACE = float(os.environ["BENCH_PACE"])


def _get(user: Any) -> None:
    user.client.get(_PATH)


class Getter(FastHttpUser if os.environ["BENCH_CLIENT"] == "fast" else HttpUser):  # type: ignore[misc]
    """Gets one path again and again."""

    tasks = (_get,)
    if _PACE:
        wait_time = constant_throughput(_PACE)


def _tell(environment: Any, **_: Any) -> None:
    """What Locust's own statistics say; it keeps response times rounded, to 2 digits from 100 ms on."""
    total = environment.stats.total
    figures = {"requests": total.num_requests, "failed": total.num_failures, "dropped": 0}
    for name, part in (("p50", 0.5), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99), ("p999", 0.999)):
        figures[name] = total.get_response_time_percentile(part)
    print(json.dumps(figures), flush=True)


events.quitting.add_listener(_tell)
