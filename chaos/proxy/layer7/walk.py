"""One direction of a WebSocket, read frame by frame.

Invariant: what is not held, noted or translated is passed on in the pieces in which it came; only what has
come of a header waits until it is whole. A message that is held passes as the bytes that it came as, the
control frames between its fragments where they were, unless something becomes of it.
"""

from __future__ import annotations

from typing import Final

from chaos.proxy.layer7.courses import (
    BETWEEN,
    HOLD,
    MESSAGE_MAX,
    NOTE,
    PASS,
    TRANSLATE,
    Courses,
)
from chaos.proxy.layer7.deflate import Window
from chaos.proxy.layer7.frames import (
    BAD,
    CLOSE,
    CONTROL,
    CONTROL_MAX,
    FIRST,
    LAST,
    MASKED,
    NO_FRAME,
    RSV1,
    TEXT,
    WHOLE,
    Header,
    header,
    masked,
    steps,
)
from chaos.proxy.layer7.lane import Lane
from chaos.proxy.layer7.said import UNKNOWN, Said

_STEPS: Final = {deflate: steps(deflate=deflate) for deflate in (False, True)}


class Walk(Courses):
    """Takes bytes apart into frames, and puts messages together."""

    def __init__(self, lane: Lane, window: Window | None, *, masks: bool) -> None:
        self.lane = lane
        self.window = window
        self.mask_bit = MASKED if masks else 0
        self.reads = False
        """Whether messages are looked at; else only where they end."""
        self.closed = False
        """The sender has closed: nothing that follows is a message."""
        self.course = PASS
        """What becomes of the message that is under way."""
        self.keeps = False
        """Whether a message that is noted is remembered, too."""
        self.between = bytearray()
        """The control frames in the message that is held."""
        self._raw = bytearray()
        """What has come of it, these included."""
        self.text = self.compressed = False
        """Of which kind it is."""
        self.changed = False
        """The receiver has not been given all that it needs to inflate what follows."""
        self.follows = False
        """Whether something waits for the next message to have passed."""
        self._outside, self._inside = _STEPS[window is not None]
        self._steps_at = self._outside
        self._data = b""
        self._start = 0
        """What is before it in `_data` has been dealt with."""
        self._head = b""
        """What has come of a header."""
        self._left = 0
        """Bytes of the frame's payload that are to come."""
        self._frame = PASS
        """What becomes of the frame."""
        self._ends = False
        """Whether the message ends with it."""
        self._key = b""
        self._offset = 0
        self._payload = bytearray()

    @property
    def taking(self) -> bool:
        """Whether what comes still goes anywhere."""
        return True

    @property
    def amid(self) -> bool:
        """Whether a part of a frame has been passed on."""
        return self._left > 0 and self._frame in (PASS, NOTE)

    @property
    def begun(self) -> bool:
        """Whether anything is held that is not whole yet."""
        return bool(self._head or self._raw)

    # --- bytes ----------------------------------------------------------------------------------------------

    def walk(self, data: bytes) -> None:
        """Read what has come."""
        if self._head:
            data = self._head + data
            self._head = b""
        if self.closed:
            self.lane.put(data)
        elif self.reads:
            self._read(data)
        else:
            self._skip(data)

    def _skip(self, data: bytes) -> None:
        """Only find out where frames end."""
        size = len(data)
        at = self._left
        messages = 0
        steps_at = self._steps_at
        mask_bit = self.mask_bit
        least = 6 if mask_bit else 2
        while size - at >= least:
            length = data[at + 1] ^ mask_bit
            step = steps_at[data[at]]
            end = at + least + length
            if length > CONTROL_MAX:
                found = header(data, at, mask_bit)
                if found is None:
                    break
                if found is not NO_FRAME and step < CONTROL:
                    end = found[0] + found[1]
                else:
                    step = BAD
            if step == WHOLE:
                messages += 1
            elif step == LAST:
                messages += 1
                steps_at = self._outside
            elif step == FIRST:
                steps_at = self._inside
            elif step in (CLOSE, BAD):
                self.counted(messages)
                self._data, self._start = data, 0
                self._stops(at, step)
                return
            at = end
        self._steps_at = steps_at
        self._ends = False
        if messages:
            self.counted(messages)
        self._left = max(0, at - size)
        if at < size:
            self._head = data[at:]
            data = data[:at]
        if data:
            self.lane.put(data)

    def _read(self, data: bytes) -> None:
        """Put messages together."""
        size = len(data)
        at = 0
        self._data, self._start = data, 0
        while at < size:
            if self._left:
                at = self._goes_on(at, min(size, at + self._left))
            else:
                found = header(data, at, self.mask_bit)
                if found is None:
                    self._head = data[at:]
                    break
                step = self._steps_at[data[at]]
                if found is NO_FRAME or step == BAD or (step >= CONTROL and found[1] > CONTROL_MAX):
                    self._stops(at, BAD)
                    return
                if step == CLOSE:
                    self._stops(at, CLOSE)
                    return
                at = self._opens(at, step, found)
            if not self.taking:
                self._data = b""
                return
        self._flush(at)
        self._data = b""

    def _flush(self, to: int) -> None:
        """Pass on what has been read up to there, and not been dealt with."""
        data, start = self._data, self._start
        if start < to:
            self._start = to
            self.lane.put(data if not start and to == len(data) else data[start:to])

    def _stops(self, at: int, step: int) -> None:
        """At `at` there is a close frame, or nothing that can be read."""
        self._flush(at)
        rest, self._data = self._data[at:], b""
        self._left = 0
        self.give_back()
        self.closed = True
        if step == CLOSE:
            self.closes()
            self.lane.put(rest)
        else:
            self.bad(rest)

    # --- frames ---------------------------------------------------------------------------------------------

    def _opens(self, at: int, step: int, found: Header) -> int:
        """A frame begins at `at`; where reading goes on."""
        data = self._data
        body, length, key = found
        if self.course == HOLD and len(self._raw) + length > MESSAGE_MAX:
            self._yields(self.beyond())
        if step == CONTROL:
            self._frame = BETWEEN if self.course == HOLD else PASS
            self._ends = False
        else:
            if step in (WHOLE, FIRST):
                first = data[at]
                self.text = first & 0x0F == TEXT
                self.compressed = first & RSV1 > 0
                if self.compressed and self.window is not None:
                    self.window.begin()
                self.course = self.course_of(length)
            self._frame = self.course
            self._ends = step in (WHOLE, LAST)
            self._steps_at = self._outside if self._ends else self._inside
            end = body + length
            if step == WHOLE and end <= len(data) and not self.compressed and self.course != PASS:
                self._at_once(at, Said(self.text, data[body:end], key, data[at:end]), end)
                return end
        if self._frame >= TRANSLATE:
            self._flush(at)
            self._start = body
            if self._frame >= HOLD:
                self._raw += data[at:body]
            if self._frame == BETWEEN:
                self.between += data[at:body]
        self._key, self._offset, self._left = key, 0, length
        if not length and self._ends:
            if self.compressed and self.course != PASS:
                self._inflate(b"", last=True)
            self._message_is_over(body)
        return body

    def _at_once(self, at: int, said: Said, end: int) -> None:
        """A message has come in one frame, and in one piece with what was before it."""
        follows = self.follows
        if self.course == NOTE:
            self.noted(said)
        else:
            strikes = self.struck(said)
            if strikes:
                self._flush(at)
                self._start = end
                self.deal(said, strikes)
            else:
                self.passed(said)
        self.course = PASS
        if follows and self.taking:
            self._flush(end)
            self.followed()

    def _goes_on(self, at: int, stop: int) -> int:
        """The frame goes on from `at` to `stop`."""
        self._left -= stop - at
        frame = self._frame
        if frame != PASS:
            piece = self._data[at:stop]
            if frame >= TRANSLATE:
                self._start = stop
            if frame >= HOLD:
                self._raw += piece
            if frame == BETWEEN:
                self.between += piece
            else:
                self._add(piece, last=self._ends and not self._left)
        if not self._left and self._ends:
            self._message_is_over(stop)
        return stop

    # --- messages -------------------------------------------------------------------------------------------

    def _add(self, piece: bytes, *, last: bool) -> None:
        """A piece of a message's payload, as it came; `last`: the message ends with it."""
        if self._key:
            turn = self._offset & 3
            self._offset += len(piece)
            piece = masked(piece, self._key[turn:] + self._key[:turn])
        if self.compressed:
            self._inflate(piece, last=last)
        else:
            self._add_plain(piece)

    def _inflate(self, piece: bytes, *, last: bool) -> None:
        if self.window is not None:
            for plain in self.window.pieces(piece, last=last):
                self._add_plain(plain)
            if self.window.lost and self.course in (HOLD, TRANSLATE):
                self._yields(self.beyond())

    def _add_plain(self, plain: bytes) -> None:
        if self.course == HOLD or (self.course == NOTE and self.keeps):
            if len(self._payload) + len(plain) <= MESSAGE_MAX:
                self._payload += plain
                return
            self._yields(self.beyond() if self.course == HOLD else NOTE)
        if self.course == TRANSLATE:
            self.translated(plain, ends=False)

    def _yields(self, course: int) -> None:
        """The message that is held, or noted, is so no more: what has come of it goes on."""
        if self.course == HOLD:
            if course == TRANSLATE:
                if self.between:
                    self.lane.put(bytes(self.between))
                self.translated(bytes(self._payload), ends=False)
            else:
                self.lane.put(bytes(self._raw))
        self.keeps = False
        self._clear()
        self.course = course
        if self._frame in (NOTE, HOLD):
            self._frame = course
        elif self._frame == BETWEEN:
            self._frame = PASS

    def _clear(self) -> None:
        self._raw.clear()
        self.between.clear()
        self._payload.clear()

    def _message_is_over(self, at: int) -> None:
        """The last byte of a message has come, at `at`."""
        self._ends = False
        follows = self.follows
        course, self.course = self.course, PASS
        if course == HOLD:
            said = Said(self.text, bytes(self._payload), b"", bytes(self._raw), self.compressed)
            strikes = self.struck(said)
            self.deal(said, strikes)
        elif course == NOTE:
            lost = self.compressed and self.window is not None and self.window.lost
            self.noted(Said(self.text, bytes(self._payload)) if self.keeps and not lost else UNKNOWN)
        else:
            if course == TRANSLATE:
                self.translated(b"", ends=True)
            self.counted(1)
        self._clear()
        if follows and self.taking:
            self._flush(at)
            self.followed()

    def give_back(self) -> None:
        """What is held of a message that is not whole goes on as it came, where that can be read."""
        if self.course != HOLD:
            return
        if self.compressed and self.changed:
            self.lane.put(bytes(self.between))
            self._clear()
            self.course = self._frame = PASS
        else:
            self._yields(NOTE if self.compressed else PASS)

    def give_back_head(self) -> None:
        """So does what is held of a header."""
        if self._head:
            head, self._head = self._head, b""
            self.lane.put(head)

    def ease(self) -> None:
        """Messages need not be looked at any more."""
        self.give_back()
        if self._left and self._ends:
            self.counted(1)
        self.course = self._frame = PASS

    def forget(self) -> None:
        """Drop what is held."""
        self.course = self._frame = PASS
        self._clear()
        self._head = self._data = b""
