"""A place that faults are injected at: a proxy of its own in front of one service, by the product's own client."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from chaos.faults.toxiproxy import ToxiproxyServer
from tests.demo.serving import Running

WITHIN_S = 30.0
"""How long anything that is not to fail may take; a busy machine is slow, and says nothing about a fault."""


@dataclass
class Place:
    """One proxy. Attributes of faults are in Toxiproxy's units (ms; slicer's delay us; rate kB/s)."""

    server: ToxiproxyServer
    name: str
    address: str
    heals: list[Callable[[], None]] = field(default_factory=list)
    """What heals each fault that is in place, oldest first."""

    @property
    def url(self) -> str:
        """Where clients find the service, through the proxy."""
        return f"http://{self.address}"

    def inject(self, type: str, stream: str = "downstream", **attributes: int) -> None:
        """Inject a toxic that strikes every connection, on replies (`downstream`) or requests (`upstream`)."""
        toxic = f"{type}-{stream}"
        self.server.add_toxic(self.name, toxic, type, stream, 1.0, attributes)
        self.heals.append(partial(self.server.remove_toxic, self.name, toxic))

    def refuse(self) -> None:
        """Refuse new connections, and close those that are open."""
        self.server.set_enabled(self.name, False)
        self.heals.append(partial(self.server.set_enabled, self.name, True))

    def heal(self) -> None:
        """Heal all that was injected here, newest first."""
        while self.heals:
            self.heals[-1]()
            self.heals.pop()


Starts = Callable[..., Running]
"""Starts a demo service (`environment` or `evals`, and its options) that ends with the module, if not before."""

Places = Callable[[str], Place]
"""Makes a place in front of an address, for one test."""
