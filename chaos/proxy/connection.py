"""One connection of an API client: its requests, one after the other.

It shares the loop with the data path, so it is a plain Protocol: no framework, nothing that blocks.
Invariant: it ends, whatever its client does, and its client gets an answer where there is one to give.
"""

from __future__ import annotations

import asyncio
from collections import deque
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, cast

from chaos.proxy.http import Reader, Request, Response

if TYPE_CHECKING:
    from chaos.proxy.clients import Clients, Reason

_WAITING_MAX: Final = 64
_TEXT: Final = {"Content-Type": "text/plain; charset=utf-8"}


class Connection(asyncio.Protocol):
    """What cannot be read is refused after the requests before it have been answered.

    What the client still sends then is read and dropped, for a while: to close at once would be a reset,
    which overtakes the reply.
    """

    def __init__(self, clients: Clients) -> None:
        self._clients = clients
        self._limits = clients.limits
        self._loop = asyncio.get_running_loop()
        self._reader = Reader(clients.limits)
        self._transport: asyncio.Transport | None = None
        self._over = False
        """Nothing more is read from this client."""
        self._ended = False
        """The client sends no more."""
        self._waiting: deque[tuple[Request | Response, bool]] = deque()
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._untaken: asyncio.TimerHandle | None = None
        self._taking = asyncio.Event()
        """The client takes its replies."""
        self._taking.set()

    @property
    def busy(self) -> bool:
        """Whether a request is being answered."""
        return self._task is not None

    # --- called by the loop ---------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has come."""
        self._transport = cast(asyncio.Transport, transport)
        self._wait(self._limits.idle_s, "idle")
        self._clients.came(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """It has gone; what it asked for completely is done to the end."""
        self._clients.went(self)
        self._transport = None
        self._stop_waiting()
        self.resume_writing()

    def pause_writing(self) -> None:
        """The client does not take its replies: make no more of them."""
        self._taking.clear()
        self._untaken = self._loop.call_later(self._limits.request_s, self._clients.drop, self, "unread")

    def resume_writing(self) -> None:
        """It does again, or is gone."""
        self._taking.set()
        if self._untaken is not None:
            self._untaken.cancel()
            self._untaken = None

    def eof_received(self) -> bool:
        """The client sends no more; what it has asked for is answered."""
        self._ended = True
        return self.busy

    def data_received(self, data: bytes) -> None:
        """Part of a request, or several."""
        if self._over:
            return
        began_before = self._reader.begun
        requests = self._reader.feed(data)
        for request, keep_alive in requests:
            self._answer(request, keep_alive)
            if not keep_alive:
                return
        if self._reader.refused is not None:
            self._refuse(self._reader.refused, self._reader.reason)
        elif self._reader.begun and (requests or not began_before):
            self._wait(self._limits.request_s, "slow")
        if self._reader.take_expectation() and self._transport is not None and not self.busy:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    # --- the end --------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Close it, after what has been answered."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close it now."""
        if self._transport is not None:
            self._transport.abort()

    def _wait(self, seconds: float, reason: Reason) -> None:
        self._stop_waiting()
        self._timer = self._loop.call_later(seconds, self._too_long, reason)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_long(self, reason: Reason) -> None:
        self._timer = None
        if reason == "slow" and not self._over:
            self._clients.dropped[reason] += 1
            self._refuse(
                HTTPStatus.REQUEST_TIMEOUT, f"expected all of it within {self._limits.request_s:g} s"
            )
        else:
            self._clients.drop(self, reason)

    def _finish(self) -> None:
        """All has been said: send the end, and close when the client has closed, or after a while."""
        self._over = True
        if self._transport is None:
            return
        if self._ended:
            self._transport.close()
            return
        self._transport.resume_reading()
        self._transport.write_eof()
        self._wait(self._limits.request_s, "idle")

    # --- answers --------------------------------------------------------------------------------------------

    def _refuse(self, status: HTTPStatus, reason: str) -> None:
        text = f"{status.value} {status.phrase}" + (f": {reason}" if reason else "")
        self._answer(Response(status.value, text.encode(), dict(_TEXT)), False)

    def _answer(self, item: Request | Response, keep_alive: bool) -> None:
        """Answer a request, or send a reply, after what waits before it; the last one if it says so."""
        self._stop_waiting()
        self._over = self._over or not keep_alive
        self._waiting.append((item, keep_alive))
        if self._transport is not None and len(self._waiting) > _WAITING_MAX:
            self._transport.pause_reading()
        if self._task is None:
            self._task = self._loop.create_task(self._serve())

    async def _serve(self) -> None:
        try:
            while self._waiting:
                await self._taking.wait()
                item, keep_alive = self._waiting.popleft()
                response = item if isinstance(item, Response) else await self._made(item)
                self._clients.replies[response.status] += 1
                if self._transport is None:
                    continue
                head = isinstance(item, Request) and item.method == "HEAD"
                self._transport.write(response.encode(head=head, keep_alive=keep_alive))
                if not keep_alive:
                    self._finish()
                elif len(self._waiting) <= _WAITING_MAX:
                    self._transport.resume_reading()
        finally:
            self._task = None
            self._rest()

    async def _made(self, request: Request) -> Response:
        """The answer; 500 where making it went wrong, which is a defect and is told as one."""
        try:
            return await self._clients.answer(request)
        except Exception as error:
            self._loop.call_exception_handler({"message": "an API request failed", "exception": error})
            return Response(500, b'{"error":"internal error","status":500}\n', dict(_TEXT))

    def _rest(self) -> None:
        """Everything has been answered: wait for more, if more can come."""
        self._clients.asked(self)
        if self._transport is None or self._over:
            return
        if self._ended:
            self._transport.close()
        elif self._timer is None:
            self._wait(self._limits.idle_s, "idle")
