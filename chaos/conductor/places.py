"""The places of a run: the proxy server (embedded or by URL) and one proxy before each service.

On a server that is not ours, a proxy that stands there already (same name, same upstream) is used and left; a
proxy that we create is named after the run, journalled before it is created, and deleted at the end. Where we
create none we put a mark: a proxy that is never enabled. A server that was restarted has lost what we
created, so a restart between two faults is noticed too, and when the server has its own proxies back.
"""

from __future__ import annotations

import socket
import sys
import threading
import time
import urllib.parse
from collections.abc import Iterable
from pathlib import Path

from chaos.conductor.faults import held_as
from chaos.conductor.ready import ready_line
from chaos.conductor.stage import Stage
from chaos.faults.heal import heal as perform_undo
from chaos.faults.toxiproxy import Lease, ProxyFailed, ProxyRefused, ProxyUnreachable, ToxiproxyServer
from chaos.faults.undo import DeleteProxy, EnableProxy, RemoveToxic, Undo
from chaos.journal import (
    FaultHealed,
    HealFailed,
    Journal,
    PartDied,
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
MARK = "mark"
LOOK_EVERY_S = 1.0
CLOSE_PATIENCE_S = 5.0
DELETE_AGAIN_S = 0.5
WHY_GONE = "the server was restarted, our lease ran out, or somebody took it away"
NOWHERE = "127.0.0.1:9"
"""The port of the discard protocol, which nobody serves any more."""


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
        self._looked = time.monotonic()
        self._trouble: OSError | None = None
        self._closing = threading.Event()
        self._renewer: threading.Thread | None = None
        self._stood: set[str] = set()
        self._answered: set[str] = set()
        self.names: dict[str, str] = {}
        self.upstreams: dict[str, str] = {}

    @property
    def server(self) -> ToxiproxyServer:
        """The proxy server. Raises RuntimeError before `start_server`."""
        if self._server is None:
            raise RuntimeError("the proxy server has not been started")
        return self._server

    @property
    def own_process(self) -> str | None:
        """The stage's name for the server's process, where the run starts it."""
        return PROXY if self._ours else None

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
        if self._server.embedded:
            self._renewer = threading.Thread(target=self._renew, name="proxy-renewer", daemon=True)
            self._renewer.start()

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
        if not (self._ours or self._created):
            self._create(PlannedProxy(name=MARK), NOWHERE, enabled=False)

    def address(self, place: str) -> str:
        """host:port where clients reach the proxy of `place`."""
        return self._listens[place]

    def check(self) -> None:
        """Raise ProxyUnreachable when our leases could not be renewed. (A stock Toxiproxy keeps none.)"""
        if self._trouble is not None:
            raise self._trouble

    def _renew(self) -> None:
        """In a thread, so that a fault that takes long to inject or to heal does not cost the lease."""
        server = ToxiproxyServer(self.server.url)  # its own: the other's open connection is for an injection
        while not self._closing.wait(self._plan.lease_s / 4):
            try:
                server.renew(self._run, round(self._plan.lease_s * 1000))
            except OSError as error:
                self._trouble = error

    def lost(self, faults: Iterable[Undo] = (), *, now: bool = False) -> str | None:
        """What the server has not, of our proxies and of `faults`; looks once a second at most, or `now`.

        Raises:
            ProxyUnreachable: the proxy does not answer.
        """
        faults = tuple(faults)
        if self._server is None or not (self._stood or faults):
            return None
        if not now and time.monotonic() - self._looked < LOOK_EVERY_S:
            return None
        self._looked = time.monotonic()
        there = self._server.proxies()
        for name in (*self._stood, *self.names.values()):
            if name not in there:
                return f"proxy {name} is gone: {WHY_GONE}"
        for undo in faults:
            if isinstance(undo, RemoveToxic):
                if not any(toxic.name == undo.toxic for toxic in there[undo.proxy].toxics):
                    return f"toxic {undo.toxic} is gone: {WHY_GONE}"
            elif isinstance(undo, EnableProxy) and there[undo.proxy].enabled:
                return f"proxy {undo.proxy} is enabled again: {WHY_GONE}"
        return None

    def close(self) -> None:
        """Delete the proxies that we created, and end the server if it is ours."""
        done: list[HealFailed | ProxyRemoved | FaultHealed | PartDied] = []
        if (reason := self._ended()) is not None:
            done.append(PartDied(part=PROXY, reason=reason))
        until = time.monotonic() + CLOSE_PATIENCE_S
        for name, undo in reversed(list(self._created.items())):
            error = self._delete(name, undo, until)
            done.append(ProxyRemoved(name=name) if error is None else HealFailed(subject=name, reason=error))
        self._closing.set()
        if self._renewer is not None:
            self._renewer.join()
        if self._server is not None:
            self._server.disconnect()
        if self._ours:
            self._stage.stop(PROXY)
            done += self._gone_with_it()
        for event in done:
            self._journal.record(event)  # last: a journal that cannot be written prevents nothing

    def _ended(self) -> str | None:
        """How the server was lost since we last looked; None where it was not, or the keeper has healed."""
        if self._server is None or self._stage.keeper.lost.is_set():
            return None
        if any(isinstance(event, PartDied) and event.part == PROXY for event in self._journal.events):
            return None  # that has been said
        if self._ours:
            return None if self._stage.lives(PROXY) else "it ended before the run did"
        try:
            return self.lost(now=True)
        except OSError as error:
            return str(error)

    def _delete(self, name: str, undo: DeleteProxy, until: float) -> str | None:
        """Delete a proxy, with patience for a server that is starting anew; what was wrong in the end."""
        while True:
            try:
                perform_undo(undo)
            except (OSError, ValueError) as error:
                if time.monotonic() > until:
                    return str(error)
                time.sleep(DELETE_AGAIN_S)
            else:
                if name in self._answered:  # else the keeper goes on holding it: it may come yet
                    self._stage.keeper.release(name)
                return None

    def took_along(self, undo: Undo) -> bool:
        """Whether it was carried by our own server, and that has ended."""
        return self._ours and undo.server is not None and _refuses(undo.server)

    def _gone_with_it(self) -> list[FaultHealed | ProxyRemoved]:
        """What our own server still carried went with its process, once nothing listens there any more."""
        left = [item for item in outstanding(self._journal.events) if self.took_along(item.undo)]
        for item in left:
            self._stage.keeper.release(held_as(self._run, item.key))
        return [item.done for item in left]

    def _create(self, planned: PlannedProxy, upstream: str, *, enabled: bool = True) -> tuple[str, str]:
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
        try:
            info = self.server.create_proxy(
                name,
                listen,
                upstream,
                lease=None if self._ours else lease,
                enabled=enabled,
                protocol=planned.protocol,
                tls=planned.tls,
                upstream_ca=planned.upstream_ca,
                upstream_verify=planned.upstream_verify,
            )
        except (ProxyFailed, ProxyRefused):
            self._answered.add(name)
            self._stage.keeper.answered(name)
            raise
        except ProxyUnreachable:
            self._stage.keeper.answered(name, known=False)
            raise
        self._answered.add(name)
        if not self._ours:
            self._stage.keeper.answered(name)
            self._stood.add(name)
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
