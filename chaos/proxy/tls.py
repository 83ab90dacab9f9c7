"""TLS on one socket: the transport of a connection's side, on top of the socket's own transport.

Invariant: what holds for a plain socket holds here. A half-close is passed on as one (close_notify, then
FIN), and data still comes from the other direction; reading stops when asked to; a close follows what has
been written, an abort does not wait, and can be a reset. The loops' own TLS has no half-close: it ends the
connection with the peer's close_notify, and a reply on its way is lost. Hence this, on `ssl.MemoryBIO`.

An end without close_notify (a bare FIN) counts as an end. RFC 8446, section 6.1, has both directions of
close_notify independent of each other, as they are here.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from typing import Any, Final, cast

HANDSHAKE_S: Final = 30.0
"""How long a peer may take to agree on TLS."""
_READ: Final = 256 * 1024
_UNKNOWN: Final = (18, 19, 20, 21)
"""OpenSSL's X509_V_ERR codes for a certificate whose authority is not among those trusted."""


class TlsFailed(OSError):
    """TLS could not be agreed on, or what came was none; the message says why."""


class Tls(asyncio.Transport, asyncio.Protocol):
    """A protocol of the socket's transport, and the transport of `app`, which is told once TLS is agreed on.

    `begun` is called when the socket is open; `over` once: with None when TLS is agreed on, right after
    `app` was told, or with what prevented it (`app` is told nothing then). `broken` is called for TLS that
    fails later.
    """

    def __init__(
        self,
        app: asyncio.Protocol,
        context: ssl.SSLContext,
        *,
        over: Callable[[Tls, OSError | None], None],
        begun: Callable[[Tls], None] | None = None,
        broken: Callable[[OSError], None] | None = None,
        server_hostname: str | None = None,
    ) -> None:
        super().__init__()
        self._app = app
        self._over = over
        self._begun = begun
        self._broken = broken
        self._in = ssl.MemoryBIO()
        self._out = ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._in, self._out, server_side=server_hostname is None, server_hostname=server_hostname
        )
        self._raw: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._agreed = False
        self._settled = False
        self._paused = False
        self._held: list[bytes] = []
        """What was read while the app did not want to."""
        self._end_came = False
        self._end_told = False
        self._end_sent = False
        self._closed = False

    # --- the socket's protocol ------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is open: begin to agree on TLS."""
        self._raw = cast(asyncio.Transport, transport)
        self._timer = asyncio.get_running_loop().call_later(HANDSHAKE_S, self._too_late)
        if self._begun is not None:
            self._begun(self)
        if not self._closed:
            self._handshake()

    def data_received(self, data: bytes) -> None:
        """What came, encrypted."""
        if self._closed:
            return
        self._in.write(data)
        if self._agreed:
            self._read()
        else:
            self._handshake()

    def eof_received(self) -> bool:
        """The peer sends no more. The socket stays open for what is still to be sent to it."""
        if not self._agreed:
            self._fail(TlsFailed("the connection was closed before TLS was agreed on"))
            return False
        self._end_came = True
        self._tell_end()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is gone."""
        self._closed = True
        if self._agreed:
            self._app.connection_lost(exc)
        else:
            reason = "the connection was reset" if exc else "the connection was closed"
            self._settle(TlsFailed(f"{reason} before TLS was agreed on"))

    def pause_writing(self) -> None:
        """The socket's send buffer is full."""
        if self._agreed:
            self._app.pause_writing()

    def resume_writing(self) -> None:
        """The socket's send buffer has room again."""
        if self._agreed:
            self._app.resume_writing()

    # --- agreeing -------------------------------------------------------------------------------------------

    def _handshake(self) -> None:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
        except ssl.SSLError as error:
            self._fail(_refusal(error))
        else:
            self._flush()
            self._agreed = True
            self._app.connection_made(self)
            self._settle(None)
            self._read()

    def _too_late(self) -> None:
        self._fail(TlsFailed(f"TLS was not agreed on within {HANDSHAKE_S:g} s"))

    def _fail(self, error: OSError) -> None:
        """TLS cannot be agreed on: tell the peer why (an alert), and whoever waits; close."""
        self._flush()
        self._closed = True
        if self._raw is not None:
            self._raw.close()
        self._settle(error)

    def _settle(self, error: OSError | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._settled:
            self._settled = True
            self._over(self, error)

    # --- reading --------------------------------------------------------------------------------------------

    def _read(self) -> None:
        """Give the app what has come, in one piece; what TLS itself has to answer goes out."""
        if self._paused or self._closed:
            return
        self._decrypt()
        if self._held:
            data = self._held[0] if len(self._held) == 1 else b"".join(self._held)
            self._held = []
            self._app.data_received(data)
        self._tell_end()

    def _decrypt(self) -> None:
        """Read all that can be; bounded by what one read from the socket brought.

        Nothing is read where nothing is there: the exception for that would cost as much as a read.
        """
        try:
            while self._in.pending or self._tls.pending():
                data = self._tls.read(_READ)
                if not data:
                    self._end_came = True
                    break
                self._held.append(data)
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self._end_came = True
        except ssl.SSLError as error:
            self._break(_refusal(error))
        self._flush()

    def _break(self, error: OSError) -> None:
        """What came is no TLS, or an alert: the end of what could be read, and of the connection."""
        if not self._closed:
            self._flush()
            self._end_came = self._closed = True
            if self._broken is not None:
                self._broken(error)
            if self._raw is not None:
                self._raw.close()

    def _tell_end(self) -> None:
        if self._end_came and not self._end_told and not self._paused and not self._closed:
            self._end_told = True
            if not self._app.eof_received():
                self.close()

    # --- the app's transport --------------------------------------------------------------------------------

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Encrypt and send."""
        if self._closed or self._end_sent:
            return
        try:
            done = self._tls.write(data) if data else 0
            while done < len(data):  # a record is 16 KiB at most
                done += self._tls.write(memoryview(data)[done:])
        except ssl.SSLError as error:
            self._break(_refusal(error))
            return
        self._flush()

    def can_write_eof(self) -> bool:
        """It can."""
        return True

    def write_eof(self) -> None:
        """Send the end; what the peer still sends is read."""
        if self._closed or self._end_sent:
            return
        self._say_end()
        if self._raw is not None:
            self._raw.write_eof()

    def _say_end(self) -> None:
        """Send close_notify. What has come is decrypted first: OpenSSL would mistake it for an answer."""
        self._end_sent = True
        self._decrypt()
        if self._closed:
            return
        with contextlib.suppress(ssl.SSLError):  # the peer's close_notify has not come: it need not have
            self._tls.unwrap()
        self._flush()

    def close(self) -> None:
        """Close after what has been written (FIN)."""
        if self._raw is None or self._closed:
            return
        if self._agreed and not self._end_sent:
            self._say_end()
        self._closed = True
        self._raw.close()

    def abort(self) -> None:
        """Close now."""
        self._closed = True
        if self._raw is not None:
            self._raw.abort()
        if not self._agreed:
            self._settle(TlsFailed("the connection was given up before TLS was agreed on"))

    def is_closing(self) -> bool:
        """Whether it is closed, or about to be."""
        return self._closed

    def pause_reading(self) -> None:
        """Read no more for now."""
        self._paused = True
        if self._raw is not None and not self._closed:
            self._raw.pause_reading()

    def resume_reading(self) -> None:
        """Read on."""
        self._paused = False
        if self._raw is not None and not self._closed:
            self._raw.resume_reading()
            if self._held or self._in.pending or self._end_came:
                asyncio.get_running_loop().call_soon(self._read)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """What the socket's transport knows; `ssl_object` too."""
        if name == "ssl_object":
            return self._tls
        return default if self._raw is None else self._raw.get_extra_info(name, default)

    def _flush(self) -> None:
        if self._out.pending and self._raw is not None and not self._raw.is_closing():
            self._raw.write(self._out.read())


async def dial(
    protocol: Callable[[], asyncio.Protocol],
    context: ssl.SSLContext,
    host: str,
    port: int,
    *,
    broken: Callable[[OSError], None],
) -> None:
    """Connect `protocol` to `host` by TLS; if this is cancelled, the connection is closed.

    Raises:
        OSError: it cannot be reached, or TLS cannot be agreed on (TlsFailed).
        ValueError: a name that cannot be one.
    """
    loop = asyncio.get_running_loop()
    over: asyncio.Future[OSError | None] = loop.create_future()

    def settle(tls: Tls, error: OSError | None) -> None:
        if not over.done():
            over.set_result(error)

    tls = Tls(protocol(), context, over=settle, broken=broken, server_hostname=host)
    try:
        await loop.create_connection(lambda: tls, host, port)
        error = await over
    except BaseException:
        tls.abort()
        raise
    if error is not None:
        raise error


def _refusal(error: ssl.SSLError) -> TlsFailed:
    """What was wrong, in words; OpenSSL's own where there are no better ones."""
    if isinstance(error, ssl.SSLCertVerificationError):
        hint = ": upstream_ca may name a file with its authority" if error.verify_code in _UNKNOWN else ""
        return TlsFailed(f"its certificate is not accepted: {error.verify_message.rstrip('.')}{hint}")
    words = (error.reason or str(error)).lower().replace("_", " ")
    return TlsFailed(f"TLS failed: {words}")
