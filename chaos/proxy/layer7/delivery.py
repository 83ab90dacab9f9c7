"""A request that is delivered once more, on a connection of its own; its reply is read and dropped."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, cast

from chaos.proxy.layer7.framing import BadFraming, Framing, framing
from chaos.proxy.layer7.head import HEAD_MAX, reply_head

if TYPE_CHECKING:
    from chaos.proxy.layer7.strike import Strike
    from chaos.proxy.proxy import Proxy

PATIENCE_S: Final = 30.0
"""How long the upstream may take to answer."""


class _Delivery(asyncio.Protocol):
    """Sends, and reads until the reply is whole."""

    def __init__(self, raw: bytes, struck: Strike) -> None:
        self._method = raw.partition(b" ")[0].decode("latin-1")
        self.over = asyncio.get_running_loop().create_future()
        self._raw = raw
        self._struck = struck
        self._head = b""
        self._body: Framing | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The upstream has accepted: send."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(self._raw)
        self._struck.applied("delivered twice", len(self._raw))

    def data_received(self, data: bytes) -> None:
        """Part of the reply."""
        while self._body is None:
            self._head += data
            end = self._head.find(b"\r\n\r\n") + 4
            if 4 <= end <= HEAD_MAX:
                head = reply_head(self._head[:end], self._method)
            elif end < 4 and len(self._head) <= HEAD_MAX:
                return
            else:
                head = None
            if head is None:
                self._finish()
                return
            data, self._head = self._head[end:], b""
            if head.status >= 200 or head.status == 101:
                self._body = framing(head.length, keep=False)
        try:
            self._body.take(data)
        except BadFraming:
            self._finish()
        else:
            if self._body.done:
                self._finish()

    def connection_lost(self, exc: Exception | None) -> None:
        """The upstream is gone."""
        self._finish()

    def _finish(self) -> None:
        if not self.over.done():
            self.over.set_result(None)
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """End it, whatever the upstream has not taken yet."""
        self._finish()
        if self._transport is not None:
            self._transport.abort()


async def _deliver(proxy: Proxy, raw: bytes, struck: Strike) -> None:
    delivery = _Delivery(raw, struck)
    try:
        async with asyncio.timeout(PATIENCE_S):
            await proxy.dial(lambda: delivery)
            await delivery.over
    except TimeoutError:
        pass
    except OSError as error:
        proxy.unreachable(error)
    finally:
        delivery.abort()


def deliver(proxy: Proxy, raw: bytes, struck: Strike) -> None:
    """Deliver `raw` to the upstream of `proxy`; `struck` counts it once it has been sent."""
    task = proxy.loop.create_task(_deliver(proxy, raw, struck))
    proxy.deliveries.add(task)
    task.add_done_callback(proxy.deliveries.discard)
