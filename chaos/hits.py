"""What faults at layer 7 struck: the record in a run's folder, and the offending rows that it explains.

The record may be far larger than the history: it is read line by line, once, and never held.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from slo.finding import Finding

FILE = "hits.jsonl"
STRUCK_BY = "struck_by"
"""The key of an offending row that names the faults that struck it."""


class Hit(NamedTuple):
    """One message that `fault` struck (see `chaos.proxy.layer7.hits`). `applied`: what it did to it."""

    fault: str
    at_s: float
    what: str
    id: str = ""
    trace: str = ""
    applied: str = ""

    @property
    def of_http(self) -> bool:
        """Whether it is an exchange (`POST /v1/messages`), not a message on a WebSocket (`text message`)."""
        return self.what.partition(" ")[2].startswith(("/", "*", "http"))


@dataclass(frozen=True, slots=True)
class Hits:
    """The hits in a file, if there is one. Iterating reads it; a line that is no hit is None."""

    path: Path

    def __iter__(self) -> Iterator[Hit | None]:
        """Each line, as it is read."""
        try:
            file = self.path.open("rb")
        except FileNotFoundError:
            return
        with file:
            for line in file:
                yield _hit(line)


def _hit(line: bytes) -> Hit | None:
    try:
        found = json.loads(line)
        told = (str(found.get(key, "")) for key in ("what", "id", "trace", "applied"))
        return Hit(str(found["fault"]), float(found["at_ms"]) / 1000, *told)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None  # cut short by a kill, or by a full disk


@dataclass(slots=True)
class _Cause:
    """What struck one offending row: itself, or, on its WebSocket, an earlier message."""

    row: dict[str, Any]
    itself: dict[str, None] = field(default_factory=dict)
    earlier: dict[str, None] = field(default_factory=dict)

    def told(self) -> dict[str, Any]:
        """The row, which says what struck it, if anything did."""
        names = [
            *self.itself,
            *(f"{name} (earlier on its connection)" for name in self.earlier if name not in self.itself),
        ]
        return {STRUCK_BY: ", ".join(names), **self.row} if names else self.row


@dataclass(frozen=True, slots=True)
class Explained:
    """Findings whose rows say what struck them; how many messages each fault struck in vain, as there was
    nothing for it to do; and how many lines could not be read.
    """

    findings: tuple[Finding, ...]
    in_vain: Counter[str]
    unreadable: int


def explained(findings: Iterable[Finding], hits: Iterable[Hit | None]) -> Explained:
    """Join the offending rows of `findings` to the hits that caused them, in one pass over `hits`.

    A row and a hit belong together by their trace; on a WebSocket, whose messages share one, by the nonce
    too. Where a hit bears no trace its id has to be the row's nonce. A hit that did nothing explains nothing.
    """
    findings = tuple(findings)
    causes = [[_Cause(dict(row)) for row in finding.rows] for finding in findings]
    by_trace: dict[str, list[_Cause]] = {}
    by_nonce: dict[str, list[_Cause]] = {}
    for cause in (cause for of_finding in causes for cause in of_finding):
        by_trace.setdefault(str(cause.row.get("trace_id", "")), []).append(cause)
        by_nonce.setdefault(str(cause.row.get("nonce", "")), []).append(cause)
    in_vain: Counter[str] = Counter()
    unreadable = 0
    for hit in hits:
        if hit is None:
            unreadable += 1
            continue
        if not hit.applied:
            in_vain[hit.fault] += 1
            continue
        if not (hit.trace or hit.id):
            continue
        for cause in by_trace.get(hit.trace, ()) if hit.trace else by_nonce.get(hit.id, ()):
            if hit.of_http or hit.id == str(cause.row.get("nonce", "")):
                cause.itself[hit.fault] = None
            elif hit.at_s <= float(cause.row.get("end", 0.0)):
                cause.earlier[hit.fault] = None
    told = tuple(
        finding.model_copy(update={"rows": tuple(cause.told() for cause in of_finding)})
        if of_finding
        else finding
        for finding, of_finding in zip(findings, causes, strict=True)
    )
    return Explained(told, in_vain, unreadable)
