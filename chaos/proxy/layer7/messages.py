"""The messages of one direction of a WebSocket: which are struck, and what is sent in their place."""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Final

from chaos.proxy.layer7.courses import HOLD, MESSAGE_MAX, NOTE, PASS, TRANSLATE
from chaos.proxy.layer7.frames import BINARY, FIN, TEXT, frame
from chaos.proxy.layer7.identity import NONCES, IdFrom, hashed, json_id
from chaos.proxy.layer7.said import UNKNOWN, Said, Unanswered
from chaos.proxy.layer7.strike import Message, Rule, Strike, strike
from chaos.proxy.layer7.toxics.messages import Sending, act
from chaos.proxy.layer7.walk import Walk
from chaos.proxy.layer7.where import json_fits

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from chaos.proxy.layer7.deflate import Window
    from chaos.proxy.layer7.lane import Lane
    from chaos.proxy.layer7.websocket import WebSocket
    from chaos.proxy.toxics.toxic import Stream, Toxic

REPLAY_MAX: Final = 100
"""Messages that are kept while one of them may be sent again; each of 1 MiB at most."""
_CLOSE: Final = FIN | 8


class Messages(Walk):
    """One direction. `other` is the one back."""

    other: Messages

    def __init__(self, socket: WebSocket, stream: Stream, lane: Lane, window: Window | None) -> None:
        super().__init__(lane, window, masks=stream == "upstream")
        self.swallowing: Strike | None = None
        """What swallows all that comes."""
        self._socket = socket
        self._conversation = socket.conversation
        self._proxy = self._conversation.proxy
        self._stream = stream
        self._acting: list[tuple[Toxic, Rule]] = []
        """Those that may strike messages of this direction."""
        self._looks: tuple[list[tuple[Toxic, Rule]], list[tuple[Toxic, Rule]]] = ([], [])
        """Those of them that may strike binary messages, and text."""
        self._unanswered = Unanswered()
        self._kept: deque[Said | None] = deque(maxlen=0)
        self._aside: tuple[list[Said], Strike] | None = None
        self._translating = False
        self._closing = False
        """A close frame is on its way, in the place of all that comes."""
        parent = socket.request.get("traceparent").split("-")
        trace = parent[1][:32] if len(parent) > 2 else ""
        self._now: tuple[Said, Said | None] = UNKNOWN, None
        """The message that is looked at, and what it answers."""
        self._kinds = tuple(
            Message(what, self._conversation.link.ordinal, self._identify, trace)
            for what in ("binary message", "text message")
        )

    # --- whom it concerns -----------------------------------------------------------------------------------

    def fit(self) -> None:
        """Find the toxics that act on this direction of this connection."""
        head = self._socket.request
        method, path = head.method, head.path
        self._acting = [
            (toxic, rule)
            for toxic, rule in self._proxy.layer7
            if toxic.stream == self._stream
            and rule.protocol in ("websocket", "json")
            and rule.where.head_fits(method, path, head.headers if rule.where.header else ())
        ]
        back = REPLAY_MAX if any(toxic.type == "ws_replay" for toxic, _ in self._acting) else 0
        if back != self._kept.maxlen:
            self._kept = deque(self._kept, maxlen=back)
        binary, text = (
            [(toxic, rule) for toxic, rule in self._acting if _may_strike(toxic, rule, text)]
            for text in (False, True)
        )
        self._looks = binary, text
        if not self._acting:
            self._unanswered.forget()

    def watch(self) -> None:
        """Look at messages as long as somebody needs that."""
        window = self.window
        inflates = window is not None and window.keeps
        self.reads = bool(self._acting or self.other._acting or inflates or self.changed)
        if not self.reads:
            self.ease()
        elif not self._acting and not self.changed:
            self.give_back()

    def course_of(self, length: int) -> int:
        """See Courses."""
        window = self.window
        compressed = self.compressed
        lost = compressed and window is not None and window.lost
        if self._looks[self.text] or self._kept.maxlen:
            if length <= MESSAGE_MAX and not lost:
                return HOLD
            return self.beyond()
        if compressed and self.changed:
            return self.beyond() if lost else TRANSLATE if length > MESSAGE_MAX else HOLD
        self.keeps = bool(self.other._acting) and length <= MESSAGE_MAX and not lost
        return (
            NOTE if self.keeps or (compressed and window is not None and window.keeps and not lost) else PASS
        )

    def beyond(self) -> int:
        """See Courses."""
        if self.course != TRANSLATE:  # which has been here before
            for toxic, _ in self._looks[self.text]:
                toxic.counts.unread += 1
            self._keep(None)
        self.keeps = False
        window = self.window
        if not self.compressed or window is None:
            return PASS
        if self.changed:
            if window.lost:  # nobody can read this any more, neither as it is nor inflated
                self._conversation.reset()
                return PASS
            return TRANSLATE
        return NOTE if window.keeps else PASS

    # --- what strikes ---------------------------------------------------------------------------------------

    def struck(self, said: Said) -> list[Strike]:
        """See Courses."""
        answered = self._unanswered.answers()
        self._now = said, answered
        strikes = []
        for toxic, rule in self._looks[said.text]:
            where = rule.where
            if where.needs_body and not where.body_fits(said.json):
                continue
            if where.reply_to:
                if answered is UNKNOWN:
                    toxic.counts.unread += 1
                if answered is None or answered is UNKNOWN or not json_fits(where.reply_to, answered.json):
                    continue
            one = strike(toxic, rule, self._proxy.seed, self._proxy.hits, self._kinds[said.text])
            if one is not None:
                self._conversation.struck_by(toxic)
                strikes.append(one)
        if not strikes:
            self._keep(said)
        return strikes

    def _keep(self, said: Said | None) -> None:
        """Keep a message that came, where an earlier one may be wanted."""
        if self._kept.maxlen:
            self._kept.append(None if said is None else said.again())

    def _identify(self, source: IdFrom) -> tuple[str, int | None]:
        """By what the handshake or the message says; else what it answers; else by the whole of it."""
        said, answered = self._now
        if source.header and (value := self._socket.request.get(source.header)):
            return value[:200], None
        found = _told(said, source)
        if (
            found is None
            and self._stream == "downstream"
            and answered is not None
            and answered is not UNKNOWN
        ):
            found = _told(answered, source) or hashed(answered.payload)
        return found or hashed(said.payload), None

    # --- what is sent ---------------------------------------------------------------------------------------

    def deal(self, said: Said, strikes: list[Strike]) -> None:
        """See Courses."""
        if not strikes:
            if self.between and said.compressed and self.changed:
                self.lane.put(bytes(self.between))
            self._send(said)
            return
        sending = Sending([said], self._kept)
        act(strikes, sending)
        self._keep(said)
        if self._aside is not None:
            sending.aside = None  # one at a time: this one is what the other has waited for
        first = sending.aside is None and sending.items[:1] == [said]
        if said.compressed and not first and self.window is not None and self.window.keeps:
            self.changed = True
        as_it_came = first and not (said.compressed and self.changed)
        if sending.swallowed is not None:
            self.swallowing = sending.swallowed
            return
        if self.between and not as_it_came:
            self.lane.put(bytes(self.between))
            said.raw = b""  # which has them in it, too
        for seconds, toxic in sending.waits:
            self.lane.wait(seconds, toxic)
        if sending.closed is not None:
            self._closing = True
            self.lane.then(partial(self._socket.close, sending.closed))
        elif sending.aside is not None:
            self._aside = sending.items, sending.aside
            self.follows = True
        else:
            for item in sending.items:
                self._send(item)

    def _send(self, said: Said) -> None:
        """Send a message: as it came, unless it was made, or cannot be read like that any more."""
        if said.raw and not (said.compressed and self.changed):
            self.lane.put(said.raw)
        else:
            self.lane.put(frame(FIN | (TEXT if said.text else BINARY), said.payload, self.mask_bit))
        self.passed(said)

    def translated(self, piece: bytes, *, ends: bool) -> None:
        """See Courses."""
        opcode = 0 if self._translating else TEXT if self.text else BINARY
        self._translating = not ends
        self.lane.put(frame(opcode | (FIN if ends else 0), piece, self.mask_bit))

    def followed(self) -> None:
        """See Courses."""
        self.follows = False
        if self._aside is not None:
            (items, struck), self._aside = self._aside, None
            struck.applied("sent after the next one", sum(item.size for item in items))
            for item in items:
                self._send(item)

    # --- what answers what ----------------------------------------------------------------------------------

    def passed(self, said: Said) -> None:
        """See Courses."""
        if self.other._acting:
            self.other._unanswered.asked(said)
        else:
            self.other._unanswered.passed(1)

    def noted(self, said: Said) -> None:
        """See Courses."""
        self._unanswered.answers()
        self.passed(said)

    def counted(self, number: int) -> None:
        """See Courses."""
        self._unanswered.answered(number)
        self.other._unanswered.passed(number)

    # --- the connection -------------------------------------------------------------------------------------

    @property
    def taking(self) -> bool:
        """See Walk."""
        return self.swallowing is None and not self._closing and not self._socket.finishing

    def take(self, data: bytes) -> bytes:
        """Take what has come; nothing is given back."""
        if self.swallowing is not None:
            self.swallowing.saw(len(data))
        elif self.taking:
            self.walk(data)
        return b""

    def accepting(self) -> bool:
        """Whether there is room for more."""
        return self.lane.accepting() and self._conversation.room(self._stream)

    @property
    def quiet(self) -> bool:
        """Whether nothing is held, and nothing needs to be read any more."""
        return not (self.lane or self.begun or self._aside or self.changed) and self.taking

    def closes(self) -> None:
        """See Courses."""
        self._let_go()

    def bad(self, rest: bytes) -> None:
        """See Courses."""
        self._socket.untouched()
        self.lane.put(rest)

    def _let_go(self) -> None:
        """What waits for the next message waits no more."""
        self.follows = False
        if self._aside is not None:
            (items, _), self._aside = self._aside, None
            for item in items:
                self._send(item)

    def healed(self, acting: AbstractSet[Toxic]) -> None:
        """Let go of what toxics hold that do not act any more."""
        if self._aside is not None and self._aside[1].toxic not in acting:
            self._let_go()
        self.lane.healed(acting)

    def release(self) -> None:
        """Let go of all."""
        self.give_back()
        self.give_back_head()
        self._let_go()
        self.lane.release()

    def finish(self, close: bytes) -> None:
        """Send a close frame with this payload after what is held, where one may be sent; then no more."""
        if self.swallowing is None:
            self._let_go()
            self.lane.release()
            if not (self.closed or self.amid):
                self.lane.put(frame(_CLOSE, close, self.mask_bit))
        self.forget()

    def end(self) -> None:
        """The sender sends no more."""
        if self._socket.finishing:
            self._conversation.close()
        elif self.taking:
            self.give_back()
            self.give_back_head()
            self._let_go()
            self.lane.then(partial(self._conversation.end, self._stream))

    def stop(self) -> None:
        """The connection has ended."""
        if self._conversation.reader(self._stream).pipe.done:
            self.lane.stop()
            self.forget()
            self._aside = None
        else:
            self.release()
        self._kept.clear()
        self._unanswered.forget()


def _may_strike(toxic: Toxic, rule: Rule, text: bool) -> bool:
    """Whether a message of this kind is one for the toxic."""
    if rule.where.message and (rule.where.message == "text") is not text:
        return False
    return text or toxic.type != "json_edit"


def _told(said: Said, source: IdFrom) -> str | None:
    """The id that a message bears."""
    if source.json:
        return json_id(said.json, (source.json,))
    return json_id(said.json, NONCES) if b"nonce" in said.payload else None
