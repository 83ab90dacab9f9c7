"""Clients of a TLS listener, until TLS is agreed on with them: only then are they the proxy's."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from chaos.proxy.tls import Tls

if TYPE_CHECKING:
    import asyncio
    import ssl

    from chaos.proxy.log import Log


class Greetings:
    """Those of one proxy. `admits` says whether there are descriptors left for another one."""

    def __init__(self, proxy: str, log: Log, admits: Callable[[int], bool]) -> None:
        self.failures = 0
        """Connections with which TLS could not be agreed on, or failed later, on either side."""
        self._proxy = proxy
        self._log = log
        self._admits = admits
        self._open: set[Tls] = set()

    def greet(self, client: asyncio.Protocol, context: ssl.SSLContext) -> Tls:
        """What speaks TLS with a client that is about to be accepted."""
        return Tls(client, context, begun=self._begin, over=self._end, broken=self.failed)

    def _begin(self, tls: Tls) -> None:
        if self._admits(tls.get_extra_info("socket").fileno()):
            self._open.add(tls)
        else:
            tls.abort()

    def _end(self, tls: Tls, error: OSError | None) -> None:
        if tls in self._open:
            self._open.discard(tls)
            if error is not None:
                self.failed(error)

    def failed(self, error: OSError) -> None:
        """TLS failed on a connection, which has ended so: tell it the first time, and every thousandth."""
        if self.failures % 1000 == 0:
            self._log.warning("tls-failed", proxy=self._proxy, failures=self.failures + 1, reason=str(error))
        self.failures += 1

    def drop(self) -> None:
        """End all that are under way."""
        under_way, self._open = self._open, set()
        for tls in under_way:
            tls.abort()
