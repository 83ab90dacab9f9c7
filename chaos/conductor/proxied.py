"""Faults of proxies: toxics, and proxies that go down, on a server that speaks Toxiproxy's API."""

from __future__ import annotations

from chaos.faults.heal import heal as perform_undo
from chaos.faults.toxiproxy import Lease, ToxiproxyServer
from chaos.faults.undo import EnableProxy, RemoveToxic, Undo
from chaos.plan import PlannedFault

DOWN = "down"


class ProxyFaults:
    """`names` maps places to what the proxy server calls the proxy there.

    Toxics are named after the run, so that heal never touches another's.
    """

    def __init__(self, server: ToxiproxyServer, *, run: str, names: dict[str, str], lease: Lease) -> None:
        self._server = server
        self._run = run
        self._names = names
        self._lease = lease

    def undo(self, fault: PlannedFault) -> Undo:
        """Delete the toxic, or enable the proxy."""
        proxy = self._names[fault.place]
        if fault.type == DOWN:
            return EnableProxy(api=self._server.url, proxy=proxy)
        return RemoveToxic(api=self._server.url, proxy=proxy, toxic=self._toxic(fault))

    def ready(self, fault: PlannedFault) -> None:
        """Open the connection that the injection will use. Raises ProxyUnreachable."""
        self._server.connect()

    def inject(self, fault: PlannedFault, undo: Undo) -> None:
        """Inject with the run's lease. Raises OSError or ValueError as the proxy answers."""
        proxy = self._names[fault.place]
        if fault.type == DOWN:
            self._server.set_enabled(proxy, False, lease=self._lease)
            return
        self._server.add_toxic(
            proxy,
            self._toxic(fault),
            fault.type,
            fault.stream,
            fault.toxicity,
            fault.attributes,
            lease=self._lease,
        )

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

    def _toxic(self, fault: PlannedFault) -> str:
        return f"brownout-{self._run}-{fault.name}"
