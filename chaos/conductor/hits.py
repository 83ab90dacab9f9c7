"""The record of what the faults at layer 7 of a run struck: read from its proxies, kept in the run's folder.

The proxy keeps the latest hits only, so they are read as they come. What a toxic does to a message may come
long after it was struck: a hit is written once that is known, or at the end.
"""

from __future__ import annotations

import errno
import json
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chaos.faults.toxiproxy import ToxiproxyServer
from chaos.journal import HitsMissed, Journal

READ_EVERY_S = 1.0


@dataclass(slots=True)
class _Followed:
    """A proxy whose hits have been read up to number `after`; `open` are those that may yet do something."""

    place: str
    name: str
    after: int = 0
    missed: int = 0
    failed: str = ""
    open: dict[int, dict[str, Any]] = field(default_factory=dict)


class HitRecord:
    """Hits of the proxies of `names` (by place), of toxics named in `faults` (by toxic), appended to `path`.

    Reads in a thread of its own, from `begin` to `close`; `close` reads once more, and then, and only then,
    journals what is missing.
    """

    def __init__(
        self,
        path: Path,
        server: ToxiproxyServer,
        *,
        names: Mapping[str, str],
        faults: Mapping[str, str],
        journal: Journal,
    ) -> None:
        self._file = path.open("ab", buffering=0)
        self._torn = False
        self._server = server
        self._faults = faults
        self._journal = journal
        self._proxies = [_Followed(place, name) for place, name in names.items()]
        self._closing = threading.Event()
        self._reader = threading.Thread(target=self._follow, name="hits", daemon=True)

    def begin(self) -> None:
        """Pass over what others struck on a proxy that stood there before; then follow. Raises OSError."""
        for proxy in self._proxies:
            while page := self._page(proxy):
                proxy.after = page[-1]["number"]
            proxy.missed = 0
        self._reader.start()

    def close(self) -> None:
        """Read what is left, and close the file. What could not be had is journalled."""
        self._closing.set()
        if self._reader.ident is not None:
            self._reader.join()
        for proxy in self._proxies:
            why = ""
            try:
                self._read(proxy)
                self._settle(proxy)
            except (OSError, ValueError, KeyError) as error:
                why = str(error)
            why = why or proxy.failed
            if proxy.missed or why:
                self._journal.record(HitsMissed(place=proxy.place, missed=proxy.missed, reason=why))
        self._file.close()

    def _follow(self) -> None:
        while not self._closing.wait(READ_EVERY_S):
            for proxy in self._proxies:
                try:
                    self._read(proxy)
                except OSError:
                    continue  # the last reading says so, should it fail too

    def _read(self, proxy: _Followed) -> None:
        """Write the new hits of which it is known what came of them; remember the others. Raises OSError."""
        while page := self._page(proxy):
            proxy.after = page[-1]["number"]
            ours = [hit for hit in page if hit["toxic"] in self._faults]
            proxy.open.update((hit["number"], hit) for hit in ours if not hit.get("applied"))
            self._write(proxy, [hit for hit in ours if hit.get("applied")])

    def _settle(self, proxy: _Followed) -> None:
        """Write those that were remembered, as they are by now. Raises OSError."""
        while proxy.open:
            first = min(proxy.open)
            hits, _ = self._server.hits(proxy.name, first - 1)
            now = {hit["number"]: hit for hit in hits}
            last = max(now, default=proxy.after)
            settled = [number for number in proxy.open if number <= last]
            self._write(proxy, [now.get(number, proxy.open[number]) for number in sorted(settled)])
            for number in settled:
                del proxy.open[number]

    def _page(self, proxy: _Followed) -> list[dict[str, Any]]:
        hits, missed = self._server.hits(proxy.name, proxy.after)
        proxy.missed += missed
        return hits

    def _write(self, proxy: _Followed, hits: list[dict[str, Any]]) -> None:
        """Append; what does not fit on the disk counts as missed."""
        lines = [
            {"fault": self._faults[hit["toxic"]], "place": proxy.place}
            | {key: value for key, value in hit.items() if key != "toxic"}
            for hit in hits
        ]
        data = ("\n" if self._torn else "").encode()
        data += "".join(json.dumps(line) + "\n" for line in lines).encode()
        try:
            self._torn = self._file.write(data) != len(data)
            if self._torn:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            proxy.missed += len(hits)
            proxy.failed = f"the record could not be written: {error}"
