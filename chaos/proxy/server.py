"""The proxy's process: the API's listener, the ready line, signals, and an orderly end.

One line of JSON goes to stdout when the API can be used, nothing else ever does; the log goes to stderr.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import resource
import secrets
import signal
import sys
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

from chaos.proxy.address import BACKLOG, begin_listening, bind, join, resolve
from chaos.proxy.api import Api, Refused, wanted_of
from chaos.proxy.body import BodyError, decode
from chaos.proxy.clients import Clients, Limits
from chaos.proxy.collection import Collection
from chaos.proxy.connection import Connection
from chaos.proxy.gate import Gate
from chaos.proxy.log import Log

_GRACE_TURNS: Final = 20
_SWEEP_S: Final = 1.0
"""How often connections that are not read are asked whether they are still there."""


class SettingsError(ValueError):
    """Settings with which the proxy does not start."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How the proxy runs. `port` 0 takes any free port; `seed` None draws one, which the log tells."""

    host: str = "127.0.0.1"
    port: int = 8474
    seed: int | None = None
    metrics: bool = False
    config: Path | None = None
    token: str | None = None
    limits: Limits = field(default_factory=Limits)


class Server:
    """A running proxy. `start`, then `stop`; `api` is its address in between."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.seed = secrets.randbits(63) if settings.seed is None else settings.seed
        self.log = Log()
        self.api = ""
        self.collection = Collection(seed=self.seed, loop=asyncio.get_running_loop(), log=self.log)
        self._clients = Clients(settings.limits)
        self._loop = asyncio.get_running_loop()
        self._loop.set_exception_handler(self._defect)
        self._sweeper: asyncio.TimerHandle | None = None
        self._server: asyncio.AbstractServer | None = None

    async def start(self) -> None:
        """Populate from the config file, then listen.

        Raises:
            SettingsError: a host beyond loopback without a token, or a config that cannot be used.
            OSError: the address is taken, or the config cannot be read.
        """
        settings = self.settings
        family, host, port = await resolve(join(settings.host, settings.port))
        if not ip_address(host.partition("%")[0]).is_loopback and not settings.token:
            raise SettingsError(
                f"--host {settings.host}: this is not a loopback address, so anybody on the network could "
                "inject faults; expected a token (--token-env NAME), or --host 127.0.0.1"
            )
        await self._populate()
        metrics = None
        if settings.metrics:
            from chaos.proxy.metrics import exposition  # prometheus-client is loaded only when asked for

            metrics = exposition(self.collection, self._clients, self.log)
        gate = Gate(settings.token, settings.host)
        self._clients.answer = Api(self.collection, self.log, gate=gate, metrics=metrics).answer
        sock = bind(family, host, port)
        bound = join(*sock.getsockname()[:2])
        begin_listening(sock)
        self._server = await self._loop.create_server(
            lambda: Connection(self._clients), sock=sock, backlog=BACKLOG
        )
        self.api = f"http://{bound}"
        self.collection.leases.expired = self._lease_expired
        self._sweep()

    def _sweep(self) -> None:
        self.collection.sweep()
        self._sweeper = self._loop.call_later(_SWEEP_S, self._sweep)

    def _defect(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """What nobody has caught: the proxy goes on, and says so."""
        self.log.defect(str(context.get("message")), context.get("exception"))

    async def _populate(self) -> None:
        if self.settings.config is None:
            return
        raw = self.settings.config.read_bytes()
        try:
            await self.collection.populate(wanted_of(decode(raw)))
        except (BodyError, Refused) as error:
            raise SettingsError(f"{self.settings.config}: {error}") from error

    def _lease_expired(self, holder: str, healed: bool) -> None:
        if healed:
            self.log.warning("lease-expired", holder=holder)
        else:
            self.log.warning("lease-not-healed", holder=holder, remedy="tried again until it can be")

    async def stop(self) -> None:
        """Heal, close everything, and let what has been sent leave."""
        if self._server is not None:
            self._server.close()
        if self._sweeper is not None:
            self._sweeper.cancel()
        self.collection.close()
        for connection in list(self._clients.open):
            connection.close()
        for _ in range(_GRACE_TURNS):  # transports close over some turns of the loop
            await asyncio.sleep(0)


async def _serve(settings: Settings) -> None:
    server = Server(settings)
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    try:
        await server.start()
        gc.freeze()  # what stays for ever is not looked at again: collections were pauses of 60 ms
        sys.stdout.write(json.dumps({"ready": True, "api": server.api}) + "\n")
        sys.stdout.flush()
        server.log.start()
        server.log.info("ready", api=server.api, seed=server.seed)
        await stopping.wait()
        server.log.info("stopping")
    finally:
        await server.stop()
        server.log.close()


def _raise_descriptor_limit() -> None:
    """Two descriptors go with each connection, so the usual soft limit of 1,024 ends at 500 of them."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # macOS has a hard limit that it does not grant
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def run(settings: Settings) -> None:
    """Run the proxy until SIGTERM or SIGINT.

    Raises:
        SettingsError: see `Server.start`.
        OSError: see `Server.start`.
    """
    import uvloop

    _raise_descriptor_limit()
    uvloop.run(_serve(settings))
