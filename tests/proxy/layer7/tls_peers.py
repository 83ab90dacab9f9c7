"""What speaks TLS on either side of the proxy: a CA of the tests' own, servers, and a client that half-closes."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import trustme
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

WAIT_S = 30.0


class Authority:
    """A CA; `path` is what trusts it."""

    def __init__(self, folder: Path) -> None:
        self.ca = trustme.CA()
        self.path = str(folder / "ca.pem")
        self.folder = folder
        self.ca.cert_pem.write_to_path(self.path)

    def server(self, *names: str, alpn: tuple[str, ...] = ()) -> ssl.SSLContext:
        """For a server of these names."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.ca.issue_cert(*names).configure_cert(context)
        if alpn:
            context.set_alpn_protocols(list(alpn))
        return context

    def files(self, *names: str) -> tuple[str, str]:
        """A certificate and its key, in files."""
        leaf = self.ca.issue_cert(*names)
        certificate, key = self.folder / "server.pem", self.folder / "server.key"
        leaf.cert_chain_pems[0].write_to_path(str(certificate))
        leaf.private_key_pem.write_to_path(str(key))
        return str(certificate), str(key)


def over_tls(
    context: ssl.SSLContext, serve: Callable[[ssl.SSLSocket], None]
) -> Callable[[socket.socket], None]:
    """What serves by TLS, for conftest's `Upstream`."""

    def run(sock: socket.socket) -> None:
        with context.wrap_socket(sock, server_side=True) as tls:
            serve(tls)

    return run


def raw_ending(sock: ssl.SSLSocket) -> str:
    """How the connection below TLS ends: `FIN` or `RST`. (`ssl` shows an RST as an end.)"""
    try:
        while socket.socket.recv(sock, 65536):
            pass
    except ConnectionResetError:
        return "RST"
    return "FIN"


async def _echo(request: Request) -> Response:
    return Response(await request.body(), media_type="application/octet-stream")


async def _headers(request: Request) -> Response:
    return JSONResponse({"headers": request.headers.items(), "scheme": request.url.scheme})


@contextlib.contextmanager
def app(certificate: tuple[str, str] | None = None) -> Iterator[int]:
    """A real service (uvicorn), by TLS with a certificate; its port. `/echo` and `/headers` say what came."""
    routes = [Route("/echo", _echo, methods=["POST"]), Route("/headers", _headers)]
    certfile, keyfile = certificate or (None, None)
    server = uvicorn.Server(
        uvicorn.Config(
            Starlette(routes=routes),
            port=0,
            log_level="critical",
            ssl_certfile=certfile,
            ssl_keyfile=keyfile,
            timeout_graceful_shutdown=5,
        )
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        end = time.monotonic() + WAIT_S
        while not server.started:
            assert thread.is_alive() and time.monotonic() < end, "uvicorn did not start"
            time.sleep(0.01)
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()


class HalfCloser:
    """A TLS client that can send its end and read on, which `ssl.SSLSocket` cannot."""

    def __init__(self, sock: socket.socket, ca: str, name: str = "localhost") -> None:
        self.sock = sock
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = ssl.create_default_context(cafile=ca)
        self._tls = context.wrap_bio(self._in, self._out, server_hostname=name)
        while not self._done(self._tls.do_handshake):
            assert self._more(), "the end came during the handshake"

    def __enter__(self) -> HalfCloser:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def _done(self, step: Callable[[], object]) -> bool:
        try:
            step()
            return True
        except ssl.SSLWantReadError:
            return False
        finally:
            self.sock.sendall(self._out.read())

    def _more(self) -> bool:
        data = self.sock.recv(65536)
        self._in.write(data)
        return bool(data)

    def send(self, data: bytes) -> None:
        """Send data."""
        left = memoryview(data)
        while left:
            left = left[self._tls.write(left) :]
            self.sock.sendall(self._out.read())

    def end(self) -> None:
        """Send close_notify, and then no more."""
        self._done(self._tls.unwrap)
        self.sock.shutdown(socket.SHUT_WR)

    def read_all(self) -> tuple[bytes, bool]:
        """What comes until the end, and whether close_notify came before it."""
        got = bytearray()
        while True:
            try:
                while data := self._tls.read(1 << 20):
                    got += data
                return bytes(got), True
            except ssl.SSLZeroReturnError:
                return bytes(got), True
            except ssl.SSLWantReadError:
                if not self._more():
                    return bytes(got), False
