"""The suite `layer4`, whole, through the command line: the same verdicts from both proxies."""

from __future__ import annotations

import json
import urllib.request

import pytest

from tests.live.suites import BothProxies, Ran, told

SUITE = "layer4"

EXPECTED = {
    "env-half-open": ("fail", 1),
    "env-half-open-reaped": ("pass", 0),
    "env-paused": ("fail", 1),
    "env-paused-careful": ("pass", 0),
    "eval-bandwidth-squeeze": ("fail", 1),
    "eval-service-killed": ("pass", 0),
}
BREACHED = {
    "env-half-open": {"env-sessions-held"},
    "env-paused": {"reply-pairing", "reward-known"},
    "eval-bandwidth-squeeze": {"chat-latency", "first-chunk"},
}
"""What may fail in each, and nothing else: of the squeeze that is latency, never a completion or a stream."""
RUNBOOKS = {
    "env-half-open": "slots-held",
    "env-paused": "process-paused",
    "eval-bandwidth-squeeze": "bandwidth",
}


def check(ran: Ran) -> None:
    code, verdicts, shown = ran.code, ran.verdicts, told(ran.verdicts, ran.log)
    assert {v.experiment: (str(v.outcome), v.exit_code) for v in verdicts} == EXPECTED, shown
    assert code == 0, shown
    for verdict in verdicts:
        assert not verdict.left_behind
        assert all(fault.healed for fault in verdict.faults), shown
        failed = [f for f in verdict.findings if f.outcome == "fail"]
        assert {f.objective for f in failed} <= BREACHED.get(verdict.experiment, set()), shown
        if verdict.experiment in RUNBOOKS:
            assert RUNBOOKS[verdict.experiment] in {f.runbook for f in failed}, shown


@pytest.mark.timeout(900)
def test_with_the_embedded_proxy(both_proxies: BothProxies) -> None:
    """Half-open sockets, a squeeze, a pause and a crash end as the suite expects, and name their runbooks."""
    check(both_proxies.embedded())


@pytest.mark.toxiproxy
@pytest.mark.timeout(900)
def test_with_a_real_toxiproxy(both_proxies: BothProxies, toxiproxy_api: str) -> None:
    """The same experiments give the same verdicts through Toxiproxy itself, and leave it empty."""
    check(both_proxies.toxiproxy())
    with urllib.request.urlopen(f"{toxiproxy_api}/proxies") as reply:
        assert json.load(reply) == {}
