"""One demo service's process: its socket, the ready line, signals, and an orderly end.

Invariant: it ends within two seconds of being told to, with exit code 0, whatever its clients and its
telemetry receiver do; and one line of JSON goes to stdout, when it can be used, and nothing else ever does.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
import signal
import socket
import sys
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Final

import structlog
import uvicorn
import uvloop
from starlette.types import ASGIApp

from chaos.demo.log import configure
from chaos.demo.measured import Measured
from chaos.demo.stdin import StdinWatch
from chaos.demo.telemetry import Telemetry

GRACE_S: Final = 0.5
"""How long open requests may take to end by themselves, once the service is told to stop."""

Build = Callable[[Telemetry], ASGIApp]


class AddressRefused(ValueError):
    """A host that the service is not to listen on."""


class CannotListen(OSError):
    """The address is taken, or is none of this machine."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How a service runs. Port 0 takes any free one."""

    service: str
    host: str = "127.0.0.1"
    port: int = 0
    allow_remote: bool = False
    access_log: bool = False


class _Server(uvicorn.Server):
    """uvicorn's server without its signal handlers, which end the process by the signal instead of with 0."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Leave the signals alone."""
        yield

    def stop(self) -> None:
        """Stop accepting, let open requests end, cut off those that have not within the grace."""
        if not self.should_exit:
            self.should_exit = True
            asyncio.get_running_loop().call_later(GRACE_S, self._cut_off)

    def _cut_off(self) -> None:
        for connection in list(self.server_state.connections):
            connection.transport.abort()  # a client that has stopped reading would hold up a mere close
        for task in list(self.server_state.tasks):
            task.cancel()


def serve(settings: Settings, build: Build, stdin: StdinWatch | None) -> None:
    """Serve until SIGTERM or SIGINT, or until stdin has ended where it is watched.

    Raises:
        AddressRefused: a host beyond loopback without `allow_remote`.
        CannotListen: the address cannot be had.
    """
    sock = _bind(settings)
    configure(settings.service, access_log=settings.access_log)
    log = structlog.stdlib.get_logger("chaos.demo")
    telemetry = Telemetry(settings.service)
    try:
        uvloop.run(_serve(settings, build(telemetry), telemetry, sock, stdin))
    finally:
        telemetry.close()
    log.info("stopped")


async def _serve(
    settings: Settings, app: ASGIApp, telemetry: Telemetry, sock: socket.socket, stdin: StdinWatch | None
) -> None:
    log = structlog.stdlib.get_logger("chaos.demo")
    config = uvicorn.Config(
        Measured(app, telemetry),
        http="httptools",
        ws="websockets-sansio",
        ws_per_message_deflate=False,  # faults act on bytes: a message has as many as it says
        lifespan="on",
        log_config=None,
        access_log=settings.access_log,
    )
    server = _Server(config)
    loop = asyncio.get_running_loop()

    def stop(reason: str) -> None:
        log.info("stopping", reason=reason)
        server.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, signal.Signals(number).name)
    if stdin is not None:
        stdin.ended = lambda: loop.call_soon_threadsafe(stop, "stdin ended")
    if settings.allow_remote and not _is_loopback(sock):
        log.warning("listens-beyond-loopback", remedy="no password protects it: keep it off open networks")
    serving = loop.create_task(server.serve(sockets=[sock]))
    while not (server.started or serving.done()):
        await asyncio.sleep(0.005)
    if server.started:
        address = _address(sock)
        line = {"ready": True, "service": settings.service, "address": address}
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()
        log.info("ready", address=address)
    await serving


def _bind(settings: Settings) -> socket.socket:
    try:
        found = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)
        family, _, _, _, address = found[0]
        sock = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise CannotListen(f"--host {settings.host}: {error.strerror or error}") from error
    try:
        if not (settings.allow_remote or ipaddress.ip_address(str(address[0]).split("%")[0]).is_loopback):
            raise AddressRefused(
                f"--host {settings.host}: this is not a loopback address, so anybody on the network could "
                "use the service; expected 127.0.0.1, or --allow-remote beside it"
            )
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
    except OSError as error:
        sock.close()
        raise CannotListen(f"{settings.host}:{settings.port}: {error.strerror or error}") from error
    except AddressRefused:
        sock.close()
        raise
    sock.set_inheritable(False)
    return sock


def _is_loopback(sock: socket.socket) -> bool:
    return ipaddress.ip_address(sock.getsockname()[0].split("%")[0]).is_loopback


def _address(sock: socket.socket) -> str:
    host, port = sock.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
