"""`make bench-injection`: how late a fault takes effect, under full load, by the journal of a performance.

The conductor's own code performs a plan of many short faults on an embedded proxy that wrk keeps at full
rate. The journal says when each took effect, by the proxy's own word: after it was on every connection.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path

from benchmarks.machine import MissingError, cores
from benchmarks.nginx import nginx
from benchmarks.precision import percentile
from benchmarks.servers import embedded, renewing
from benchmarks.wrk import Load, background
from chaos.conductor.faults import KeptFaults
from chaos.conductor.perform import Performance
from chaos.conductor.ports import WallClock
from chaos.conductor.proxied import ProxyFaults
from chaos.faults.toxiproxy import Lease, ToxiproxyServer
from chaos.journal import FaultFailed, FaultInjected, Journal
from chaos.keeper.handle import Keeper
from chaos.plan import Plan, PlannedFault
from chaos.planning import cues_of
from chaos.testing import FakeLoad

LATE_MOST_MS = 10.0
BODY_BYTES = 200
_EVERY_S = 0.8
_CONNECTIONS = 50


def _plan(count: int) -> Plan:
    """`count` faults, one after the other, each in place for a quarter of its turn."""
    phases = {"baseline": 0.5, "fault": count * _EVERY_S + 1.0, "recovery": 0.5}
    faults = tuple(
        PlannedFault(
            name=f"fault-{number}",
            place="web",
            type="latency",
            attributes={"latency": 1},
            inject_at_s=round(1.0 + number * _EVERY_S, 3),
            heal_at_s=round(1.0 + number * _EVERY_S + _EVERY_S / 4, 3),
            effects=(),
        )
        for number in range(count)
    )
    return Plan.model_validate(
        {
            "experiment": "injection",
            "target": "nginx",
            "seed": 1,
            "lease_s": 10,
            "deadline_s": 3600,
            "phases": phases,
            "services": (),
            "proxies": (),
            "workloads": (),
            "boundaries": {},
            "requirements": (),
            "faults": faults,
            "cues": cues_of(phases, faults),  # type: ignore[arg-type]  # its keys are the three phases
        }
    )


def _perform(plan: Plan, api: str, folder: Path) -> list[float]:
    """How late each fault was, in milliseconds, in order. Raises OSError."""
    server, clock = ToxiproxyServer(api), WallClock()
    journal = Journal(folder / "events.jsonl", clock.now)
    keeper = Keeper(plan.lease_s, environment={})
    lease = Lease(holder="bench", ttl_ms=60_000)
    proxied = ProxyFaults(server, run="bench", names={"web": "web"}, lease=lease, seed=plan.seed)
    performance = Performance(
        plan,
        clock=clock,
        faults=KeptFaults(lambda _: proxied, keeper, run="bench", journal=journal.path),
        load=FakeLoad(),
        journal=journal,
        look=lambda _: None,
        judge_baseline=lambda _: (True, ()),
        wake=threading.Event(),
    )
    try:
        performance.perform()
    finally:
        server.disconnect()
        keeper.close()
        journal.close()
    due = {fault.name: performance.started + fault.inject_at_s for fault in plan.faults}
    late = [(e.t - due[e.fault]) * 1000 for e in journal.events if isinstance(e, FaultInjected)]
    refused = [e.reason for e in journal.events if isinstance(e, FaultFailed)]
    if len(late) != len(plan.faults):
        raise OSError(
            f"{len(plan.faults) - len(late)} of {len(plan.faults)} faults were not injected: {refused}"
        )
    return sorted(late)


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0 when the bar is met, 1 when it is missed, 2 when a binary is missing."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--faults", type=int, default=200)
    count = parser.parse_args(argv).faults
    core_of_load, core_of_proxy = cores()
    try:
        with (
            tempfile.TemporaryDirectory() as folder,
            nginx(core_of_load, (BODY_BYTES,)) as upstream,
            embedded(core_of_proxy) as server,
        ):
            url = f"http://{server.proxy('web', upstream.address)}/{BODY_BYTES}"
            seconds = int(count * _EVERY_S) + 60
            load = Load(connections=_CONNECTIONS, seconds=seconds)
            with renewing(server), background(url, load, core_of_load):
                late = _perform(_plan(count), server.api, Path(folder))
    except MissingError as error:
        print(error, file=sys.stderr)
        return 2
    p50, p99 = percentile(late, 50), percentile(late, 99)
    print(f"{len(late)} faults, {_CONNECTIONS} connections at full rate")
    print(f"from its time to the proxy's word: p50 {p50:.2f} ms, p99 {p99:.2f} ms, most {late[-1]:.2f} ms")
    met = p99 <= LATE_MOST_MS
    print(
        f"{'met   ' if met else 'MISSED'}  a fault takes effect within {LATE_MOST_MS:g} ms of its time at p99"
    )
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
