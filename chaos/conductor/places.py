"""The places of a run: the proxy server (embedded or by URL) and one proxy before each service.

On a server that is not ours, a proxy that stands there already (same name, same upstream) is used and left; a
proxy that we create is named after the run, journalled before it is created, and deleted at the end.
"""

from __future__ import annotations

import socket
import sys
import time
import urllib.parse
from pathlib import Path

from chaos.conductor.faults import held_as
from chaos.conductor.ready import ready_line
from chaos.conductor.stage import Stage
from chaos.faults.heal import heal as perform_undo
from chaos.faults.toxiproxy import Lease, ToxiproxyServer
from chaos.faults.undo import DeleteProxy
from chaos.journal import (
    FaultHealed,
    HealFailed,
    Journal,
    ProxyPending,
    ProxyReady,
    ProxyRemoved,
    ProxyServerReady,
    outstanding,
)
from chaos.plan import Plan, PlannedProxy

PROXY = "proxy"
START_WITHIN_S = 15.0
LOOPBACK = ("127.0.0.1", "localhost", "::1")


class Places:
    """Where faults can be injected. `names` maps a place to the proxy server's name for its proxy."""

    def __init__(self, plan: Plan, run: str, stage: Stage, journal: Journal, logs: Path) -> None:
        self._plan = plan
        self._run = run
        self._stage = stage
        self._journal = journal
        self._logs = logs
        self._ours = plan.toxiproxy is None
        self._server: ToxiproxyServer | None = None
        self._created: dict[str, DeleteProxy] = {}
        self._listens: dict[str, str] = {}
        self._renewed = time.monotonic()
        self.names: dict[str, str] = {}
        self.upstreams: dict[str, str] = {}

    @property
    def server(self) -> ToxiproxyServer:
        """The proxy server. Raises RuntimeError before `start_server`."""
        if self._server is None:
            raise RuntimeError("the proxy server has not been started")
        return self._server

    def start_server(self) -> None:
        """Start the embedded proxy, or reach the one that the target names. Raises NotReady, OSError."""
        if self._ours:
            argv = [sys.executable, "-m", "chaos.proxy", "--port", "0", "--seed", str(self._plan.seed)]
            self._stage.spawn(PROXY, argv, None, self._logs)
            line = ready_line(PROXY, self._logs, lambda: self._stage.lives(PROXY), within_s=START_WITHIN_S)
            url = line["api"]
        else:
            url = str(self._plan.toxiproxy)
        self._server = ToxiproxyServer(url)
        self._journal.record(ProxyServerReady(api=url, server=self._server.describe(), ours=self._ours))

    def open(self) -> None:
        """Put every proxy of the plan in place; `upstreams` must hold the address of each service."""
        standing = {} if self._ours else self.server.proxies()
        for planned in self._plan.proxies:
            upstream = planned.upstream or self.upstreams[planned.service or planned.name]
            there = standing.get(planned.name)
            if there is not None and there.upstream == upstream and there.enabled:
                name, listen = there.name, there.listen
            else:
                name, listen = self._create(planned, upstream)
            self.names[planned.name] = name
            self._listens[planned.name] = self._reachable(listen)
            self._journal.record(
                ProxyReady(
                    place=planned.name, name=name, listen=self._listens[planned.name], upstream=upstream
                )
            )

    def address(self, place: str) -> str:
        """host:port where clients reach the proxy of `place`."""
        return self._listens[place]

    def renew(self) -> bool:
        """Renew the lease of our faults, often enough; False when the proxy holds none of ours any more.

        Raises:
            ProxyUnreachable: the proxy does not answer. (A stock Toxiproxy keeps no leases and is not asked.)
        """
        if self._server is None or time.monotonic() - self._renewed < self._plan.lease_s / 4:
            return True
        self._renewed = time.monotonic()
        return self._server.renew(self._run, round(self._plan.lease_s * 1000))

    def close(self) -> None:
        """Delete the proxies that we created, and end the server if it is ours."""
        done: list[HealFailed | ProxyRemoved | FaultHealed] = []
        for name, undo in reversed(list(self._created.items())):
            try:
                perform_undo(undo)
                self._stage.keeper.release(name)
            except (OSError, ValueError) as error:
                done.append(HealFailed(subject=name, reason=str(error)))
                continue
            done.append(ProxyRemoved(name=name))
        if self._server is not None:
            self._server.disconnect()
        if self._ours:
            self._stage.stop(PROXY)
            done += self._gone_with_it()
        for event in done:
            self._journal.record(event)  # last: a journal that cannot be written prevents nothing

    def _gone_with_it(self) -> list[FaultHealed | ProxyRemoved]:
        """What our own server still carried went with its process, once nothing listens there any more."""
        left = outstanding(self._journal.events) if self._server is not None else []
        if not left or not _refuses(self.server.url):
            return []
        for item in left:
            self._stage.keeper.release(held_as(self._run, item.key))
        return [item.done for item in left]

    def _create(self, planned: PlannedProxy, upstream: str) -> tuple[str, str]:
        name = planned.name if self._ours else f"brownout-{self._run}-{planned.name}"
        undo = DeleteProxy(api=self.server.url, proxy=name)
        if not self._ours:
            self._journal.record(ProxyPending(name=name, undo=undo))
            self._stage.keeper.hold(name, undo, self._journal.path, ProxyRemoved(name=name))
            self._created[name] = undo
        listen = planned.listen
        if listen == "127.0.0.1:0" and self._api_host() not in LOOPBACK:
            listen = "0.0.0.0:0"
        lease = Lease(holder=self._run, ttl_ms=round(self._plan.lease_s * 1000))
        info = self.server.create_proxy(name, listen, upstream, lease=None if self._ours else lease)
        return name, info.listen

    def _reachable(self, listen: str) -> str:
        """A listen address as a client here can connect to it."""
        parts = urllib.parse.urlsplit(f"//{listen}")
        host = parts.hostname or ""
        if host in ("", "0.0.0.0", "::"):  # noqa: S104 - compared, not bound
            host = self._api_host()
        return f"[{host}]:{parts.port}" if ":" in host else f"{host}:{parts.port}"

    def _api_host(self) -> str:
        return urllib.parse.urlsplit(self.server.url).hostname or ""


def _refuses(url: str) -> bool:
    """Whether connections to a loopback `url` are refused: nothing listens there."""
    parts = urllib.parse.urlsplit(url)
    try:
        socket.create_connection((parts.hostname or "", parts.port or 80), timeout=1.0).close()
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    return False
