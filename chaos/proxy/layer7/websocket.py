"""A connection that has become a WebSocket (RFC 6455): its messages, and the toxics that strike them.

Invariant: what nothing strikes passes as the bytes that came, in their order. A message is held until it is
whole only while a toxic acts that may strike it, and at most 1 MiB of it; a longer one streams through and is
counted as unread. What cannot be read passes untouched from there on.

Of messages that permessage-deflate compresses with context takeover the receiver needs each, as it was. So
from the first one on that it does not get like that, all go on inflated, which RFC 7692 (section 6) allows.
Messages that are made here are never compressed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Final

from chaos.proxy.layer7.deflate import Agreed, Window
from chaos.proxy.layer7.lane import Lane
from chaos.proxy.layer7.messages import Messages

if TYPE_CHECKING:
    from chaos.proxy.layer7.conversation import Conversation
    from chaos.proxy.layer7.head import RequestHead
    from chaos.proxy.layer7.strike import Strike
    from chaos.proxy.toxics.toxic import Toxic

CLOSE_S: Final = 2.0
"""How long the peers may take to end a connection after they have been sent a close frame."""


class WebSocket:
    """Both directions of a WebSocket, from the first byte after its handshake."""

    def __init__(self, conversation: Conversation, request: RequestHead, agreed: Agreed) -> None:
        self.conversation = conversation
        self.request = request
        self.finishing = False
        """Both ends have been sent a close frame: nothing more is passed on."""
        self._timer: asyncio.TimerHandle | None = None
        window = Window(keeps=agreed.client_keeps) if agreed.deflate else None
        self.up = Messages(self, "upstream", Lane(conversation, "upstream"), window)
        window = Window(keeps=agreed.server_keeps) if agreed.deflate else None
        self.down = Messages(self, "downstream", Lane(conversation, "downstream"), window)
        self.up.other, self.down.other = self.down, self.up
        self._watch()

    @property
    def stuck(self) -> bool:
        """Whether one direction is swallowed until a toxic is gone."""
        return self.up.swallowing is not None or self.down.swallowing is not None

    def _watch(self) -> None:
        self.up.fit()
        self.down.fit()
        self.up.watch()
        self.down.watch()

    def toxics_changed(self, acting: AbstractSet[Toxic]) -> None:
        """Let go of what toxics hold that do not act any more; close what they have swallowed from."""
        self._watch()
        self.up.healed(acting)
        self.down.healed(acting)
        for one in (self.up, self.down):
            if one.swallowing is not None and one.swallowing.toxic not in acting:
                self.conversation.close()

    def untouched(self) -> None:
        """What has come cannot be read: from here on all passes as it is, after what is held."""
        self.up.release()
        self.down.release()
        self.conversation.pass_untouched()

    def close(self, strike: Strike) -> None:
        """Send a close frame to both ends; close the connection when one of them has, or after a while."""
        conversation = self.conversation
        if self.finishing or conversation.over:
            return
        code, reason = strike.attributes["code"], strike.attributes["reason"]
        strike.applied(f"closed with {code}")
        self.finishing = True
        for one in (self.up, self.down):
            one.finish(code.to_bytes(2) + reason.encode())
        self._timer = conversation.loop.call_later(CLOSE_S, conversation.close)

    def quiet(self) -> bool:
        """Whether nothing is held and nothing needs to be read any more."""
        return not self.finishing and self.up.quiet and self.down.quiet

    def stop(self) -> None:
        """The connection has ended."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.up.stop()
        self.down.stop()
