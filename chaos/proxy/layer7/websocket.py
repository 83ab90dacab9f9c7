"""A connection that has become a WebSocket (RFC 6455): its messages, and the toxics that strike them."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chaos.proxy.layer7.conversation import Conversation
    from chaos.proxy.layer7.head import ReplyHead, RequestHead
    from chaos.proxy.toxics.toxic import Stream, Toxic


class Messages:
    """One direction."""

    def __init__(self, conversation: Conversation, stream: Stream) -> None:
        self._conversation = conversation
        self._stream = stream

    def take(self, data: bytes) -> bytes:
        """Take what has come, and give back what is not yet enough."""
        self._conversation.send(self._stream, data)
        return b""

    def accepting(self) -> bool:
        """Whether there is room for more."""
        return self._conversation.room(self._stream)

    def end(self) -> None:
        """The sender sends no more."""
        self._conversation.end(self._stream)


class WebSocket:
    """Both directions of a WebSocket, from the first byte after its handshake."""

    def __init__(self, conversation: Conversation, request: RequestHead, reply: ReplyHead) -> None:
        self.up = Messages(conversation, "upstream")
        self.down = Messages(conversation, "downstream")

    def toxics_changed(self, acting: AbstractSet[Toxic]) -> None:
        """Let go of what toxics hold that do not act any more."""

    def quiet(self) -> bool:
        """Whether nothing is held and no frame is half read."""
        return True

    def stop(self) -> None:
        """The connection has ended: cancel timers."""
