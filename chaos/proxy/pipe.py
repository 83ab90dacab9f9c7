"""One direction of a connection: from a socket, through the stages of the toxics that strike it, to another.

Invariant: without stages what the source reads goes straight to the destination's socket; with them it goes
along the chain, and back-pressure comes back along it, from the slower socket to the faster one's reader.
"""

from __future__ import annotations

from random import Random
from time import monotonic
from typing import TYPE_CHECKING

from chaos.proxy import draw
from chaos.proxy.toxics import STAGES
from chaos.proxy.toxics.stage import Next, Previous, Stage

if TYPE_CHECKING:
    from chaos.proxy.layer7.reader import Reader
    from chaos.proxy.link import Link, Side
    from chaos.proxy.toxics.toxic import Stream, Toxic


class Pipe:
    """One direction of a connection, and both ends of its chain: what stages see as next and previous."""

    __slots__ = (
        "chained",
        "closing",
        "dest",
        "done",
        "ended",
        "link",
        "loop",
        "reader",
        "received",
        "sent",
        "source",
        "stages",
        "stream",
    )

    def __init__(self, link: Link, stream: Stream, source: Side, dest: Side) -> None:
        self.link = link
        self.loop = link.proxy.loop
        self.stream = stream
        self.source = source
        self.dest = dest
        self.stages: list[Stage] = []
        self.reader: Reader | None = None
        """What reads this direction as HTTP, a stage of no toxic, where layer 7 is wanted."""
        self.received = 0
        """Bytes read from the source."""
        self.chained = 0
        """Those of them that went into the chain, or nowhere."""
        self.sent = 0
        """Those that came out of the chain."""
        self.ended = False
        """The source has sent its end, or is gone."""
        self.closing = False
        """The end closes the connection instead of half of it."""
        self.done = False
        """The end has reached the destination, or the destination is gone: nothing more is sent."""

    # --- from the source ------------------------------------------------------------------------------------

    def open(self) -> None:
        """Both sockets are open: set the chain up and let data in."""
        self.rebuild()
        self.regulate()

    @property
    def passed_on(self) -> int:
        """Bytes given to the destination: by the short way, and out of the chain."""
        return self.received - self.chained + self.sent

    def receive(self, data: bytes) -> None:
        """Data for the chain."""
        self.chained += len(data)
        self.stages[0].feed(data, monotonic())
        if self.source.reading and self.stages and not self.stages[0].accepting():
            self.source.read(False)

    def drop(self, data: bytes) -> None:
        """Data that nobody gets any more."""
        self.chained += len(data)

    def eof(self) -> None:
        """The source sends no more."""
        if not self.link.open:
            self.link.early_end = True
            return
        if self.ended:
            return
        self.ended = True
        if self.done:
            return
        (self.stages[0] if self.stages else self).end()

    def regulate(self) -> None:
        """Read from the source exactly while there is room."""
        if not self.link.open:
            return
        head: Next = self.stages[0] if self.stages else self
        self.source.read(self.done or head.accepting())

    def room(self) -> None:
        """The destination has room again."""
        last: Previous = self.stages[-1] if self.stages else self
        last.ready()

    # --- as the last stage's next, and the first one's previous ---------------------------------------------

    def feed(self, data: bytes, at: float) -> None:
        """Data for the destination."""
        if not self.done and self.dest.transport is not None:
            self.sent += len(data)
            self.dest.transport.write(data)

    def end(self) -> None:
        """The end for the destination: half a close, or a whole one if nothing can come back any more."""
        if self.done:
            return
        self._finish()
        back = self.link.back(self)
        if self.closing or self.source.lost or back.done:
            self.dest.close()
            if back.done:
                self.source.close()
            else:
                back.eof()
        elif self.dest.transport is not None:
            self.dest.transport.write_eof()

    def accepting(self) -> bool:
        """Whether the destination takes more."""
        return self.done or not self.dest.paused

    def ready(self) -> None:
        """There is room at the head of the chain."""
        self.regulate()

    # --- for the toxics -------------------------------------------------------------------------------------

    def close(self, stage: Stage) -> None:
        """Close the connection after what `stage` has let through."""
        if self.done or stage not in self.stages:
            return
        self.closing = self.ended = True
        self.source.write = self.drop
        position = self.stages.index(stage)
        for earlier in self.stages[: position + 1]:
            earlier.stop()
        self.stages = self.stages[position + 1 :]
        self.source.read(True)
        (self.stages[0] if self.stages else self).end()

    def reset(self) -> None:
        """Reset both ends of the connection."""
        self.link.abort(reset=True)

    def generator(self, toxic: Toxic) -> Random:
        """The seeded generator of this toxic on this stream of this connection."""
        return draw.generator(*self.link.proxy.drawn_by(toxic, self.link.ordinal))

    # --- the chain ------------------------------------------------------------------------------------------

    def rebuild(self) -> None:
        """Make the chain that the proxy's toxics ask for now, keeping the stages that stay.

        Stages whose toxic is gone (or no longer strikes) give on what they hold first.
        """
        proxy, ordinal = self.link.proxy, self.link.ordinal
        wanted = [toxic for toxic in proxy.chain(self.stream) if proxy.strikes(toxic, ordinal)]
        for stage in list(self.stages):
            if stage is not self.reader and stage.toxic not in wanted and stage in self.stages:
                stage.leave()
                if stage in self.stages:  # leaving may have ended the connection, and the chain with it
                    self.stages.remove(stage)
                    self._relink()
        if self.done or self.closing:
            return  # nothing new strikes what is ending
        present = {stage.toxic: stage for stage in self.stages if stage is not self.reader}
        added = [STAGES[toxic.type](toxic, self) for toxic in wanted if toxic not in present]
        present.update((stage.toxic, stage) for stage in added)
        self.stages = [present[toxic] for toxic in wanted]
        if self.reader is not None:  # next to the upstream
            self.stages.insert(len(self.stages) if self.stream == "upstream" else 0, self.reader)
        self._relink()
        for stage in added:
            stage.start()
        self.room()
        self.regulate()

    def rebuild_if_open(self) -> None:
        """The proxy's toxics have changed."""
        if self.link.open:
            self.rebuild()

    def update(self, toxic: Toxic) -> None:
        """The attributes or the toxicity of `toxic` have changed."""
        if not self.link.open:
            return
        self.rebuild()
        for stage in self.stages:
            if stage is not self.reader and stage.toxic is toxic:
                stage.update()
                break
        self.regulate()

    def _relink(self) -> None:
        previous: Previous = self
        following: list[Next] = [*self.stages[1:], self]
        for stage, after in zip(self.stages, following, strict=False):
            stage.prev = previous
            stage.next = after
            previous = stage
        if self.ended or self.done:
            self.source.write = self.drop
        elif self.reader is not None and self.stages == [self.reader] and self.dest.transport is not None:
            self.source.write = self.reader.alone(self.dest.transport.write, self.receive)
        elif self.stages:
            self.source.write = self.receive
        elif self.dest.transport is not None:
            self.source.write = self.dest.transport.write

    def _finish(self) -> None:
        """Nothing more goes to the destination. What still comes is read and dropped: so a close is a FIN."""
        self.done = True
        self.source.write = self.drop
        for stage in self.stages:
            stage.stop()
        self.stages = []
        self.regulate()

    def dest_gone(self) -> None:
        """The destination is gone."""
        if not self.done:
            self._finish()

    def source_gone(self) -> None:
        """The source is gone: its end follows what it sent; then the destination is closed as a whole."""
        if self.done:
            self.dest.close()
        else:
            self.eof()
