"""Faults of proxies: toxics, and proxies that go down, on a server that speaks Toxiproxy's API.

The embedded proxy is told ahead when a fault is to take effect, so that it does on time however busy the
machine is; a stock Toxiproxy is asked at that time, on a connection that is open already.
"""

from __future__ import annotations

import time

from chaos.conductor.ready import wait_until
from chaos.faults.heal import heal as perform_undo
from chaos.faults.toxiproxy import Lease, ProxyRefused, ToxiproxyServer
from chaos.faults.undo import EnableProxy, RemoveToxic, Undo
from chaos.plan import PlannedFault

DOWN = "down"
EFFECT_WITHIN_S = 5.0


class ProxyFaults:
    """`names` maps places to what the proxy server calls the proxy there.

    Toxics are named after the run, so that heal never touches another's; but drawn by the plan's `seed` and
    the fault's name, so that every run of that seed strikes the same.
    """

    def __init__(
        self, server: ToxiproxyServer, *, run: str, names: dict[str, str], lease: Lease, seed: int
    ) -> None:
        self._server = server
        self._run = run
        self._names = names
        self._lease = lease
        self._seed = seed
        self._at_ms: dict[str, float] = {}

    def undo(self, fault: PlannedFault) -> Undo:
        """Delete the toxic, or enable the proxy."""
        proxy = self._names[fault.place]
        if fault.type == DOWN:
            return EnableProxy(api=self._server.url, proxy=proxy)
        return RemoveToxic(api=self._server.url, proxy=proxy, toxic=self._toxic(fault))

    def ready(self, fault: PlannedFault, in_s: float) -> None:
        """Tell the server when, or open the connection for the injection. Raises OSError, ValueError."""
        if not self._server.keeps_time:
            self._server.connect()
            return
        at_ms = (time.time() + in_s) * 1000
        self._ask(fault, at_ms)
        self._at_ms[fault.name] = at_ms

    def inject(self, fault: PlannedFault, undo: Undo) -> float | None:
        """Inject with the run's lease, or see that it has taken effect. Raises OSError, ValueError."""
        at_ms = self._at_ms.pop(fault.name, None)
        if at_ms is None:
            self._ask(fault, None)
            return None
        proxy = self._names[fault.place]
        took: list[float] = []

        def took_effect() -> bool:
            found = (
                self._server.proxy(proxy)
                if fault.type == DOWN
                else self._server.toxic(proxy, self._toxic(fault))
            )
            if found is None:
                raise ProxyRefused(f"{self._server.url}: {fault.name} was to take effect, and is gone", 404)
            took.extend(() if found.since_ms is None else (found.since_ms,))
            return bool(took)

        wait_until(f"the effect of {fault.name}", took_effect, within_s=EFFECT_WITHIN_S)
        return max(0.0, took[0] - at_ms) / 1000

    def in_place(self, fault: PlannedFault, undo: Undo) -> bool:
        """Whether the toxic is there, or the proxy still disabled. Raises OSError as the proxy answers."""
        proxy = self._names[fault.place]
        if fault.type == DOWN:
            found = self._server.proxy(proxy)
            return found is not None and not found.enabled
        return self._server.toxic(proxy, self._toxic(fault)) is not None

    def heal(self, fault: PlannedFault, undo: Undo) -> None:
        """Undo and verify. Raises OSError when the fault may still be in place."""
        perform_undo(undo)

    def counts(self, fault: PlannedFault) -> dict[str, int]:
        """The proxy's own counters of the toxic; empty for a stock Toxiproxy and for `down`."""
        if fault.type == DOWN:
            return {}
        return self._server.counts(self._names[fault.place], self._toxic(fault))

    def _ask(self, fault: PlannedFault, at_ms: float | None) -> None:
        proxy = self._names[fault.place]
        if fault.type == DOWN:
            self._server.set_enabled(proxy, False, lease=self._lease, at_ms=at_ms)
            return
        self._server.add_toxic(
            proxy,
            self._toxic(fault),
            fault.type,
            fault.stream,
            fault.toxicity,
            fault.attributes,
            lease=self._lease,
            at_ms=at_ms,
            where=fault.where,
            id=fault.id,
            persist=fault.persist,
            seed=self._seed,
            draw=fault.name,
        )

    def _toxic(self, fault: PlannedFault) -> str:
        return toxic_of(self._run, fault.name)


def toxic_of(run: str, fault: str) -> str:
    """What a run calls the toxic of a fault."""
    return f"brownout-{run}-{fault}"
