"""The faults port on a proxy that speaks Toxiproxy's API: toxics, and proxies that go down."""

from __future__ import annotations

from pathlib import Path

from chaos.faults.toxiproxy import Lease, ToxiproxyServer
from chaos.faults.toxiproxy import heal as perform_undo
from chaos.faults.undo import EnableProxy, RemoveToxic, Undo
from chaos.journal import FaultHealed
from chaos.keeper.handle import Keeper
from chaos.plan import PlannedFault

DOWN = "down"


def held_as(run: str, fault: str) -> str:
    """The keeper's key: runs of one suite may use the same names, and one of them may be unhealed."""
    return f"{run}/{fault}"


class ProxyFaults:
    """Faults of one run. `names` maps places to what the proxy server calls the proxy there.

    Toxics are named after the run, so that heal never touches another's.
    """

    def __init__(
        self,
        server: ToxiproxyServer,
        keeper: Keeper,
        *,
        run: str,
        journal: Path,
        names: dict[str, str],
        lease: Lease,
    ) -> None:
        self._server = server
        self._keeper = keeper
        self._run = run
        self._journal = journal
        self._names = names
        self._lease = lease

    def undo(self, fault: PlannedFault) -> Undo:
        """Delete the toxic, or enable the proxy."""
        proxy = self._names[fault.place]
        if fault.type == DOWN:
            return EnableProxy(api=self._server.url, proxy=proxy)
        return RemoveToxic(api=self._server.url, proxy=proxy, toxic=self._toxic(fault))

    def inject(self, fault: PlannedFault, undo: Undo) -> None:
        """Have the keeper hold the undo, then inject. Raises OSError or ValueError as the proxy answers."""
        self._keeper.hold(held_as(self._run, fault.name), undo, self._journal, FaultHealed(fault=fault.name))
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

    def in_place(self, fault: PlannedFault) -> bool:
        """Whether the toxic is there, or the proxy still disabled. Raises OSError as the proxy answers."""
        proxy = self._names[fault.place]
        if fault.type == DOWN:
            found = self._server.proxy(proxy)
            return found is not None and not found.enabled
        return self._server.toxic(proxy, self._toxic(fault)) is not None

    def heal(self, fault: str, undo: Undo) -> None:
        """Undo and verify. Raises OSError when the fault may still be in place."""
        perform_undo(undo)
        self._keeper.release(held_as(self._run, fault))

    def counts(self, fault: PlannedFault) -> dict[str, int]:
        """The proxy's own counters of the toxic; empty for a stock Toxiproxy and for `down`."""
        if fault.type == DOWN:
            return {}
        return self._server.counts(self._names[fault.place], self._toxic(fault))

    def _toxic(self, fault: PlannedFault) -> str:
        return f"brownout-{self._run}-{fault.name}"
