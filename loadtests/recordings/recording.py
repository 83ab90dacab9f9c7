"""A recording as a whole: which of its requests are wanted, when each was made, and where it stands.

Invariant: memory does not depend on how long the requests are: of each only its time and place in the file
are kept (22 bytes), and the request is read again when its turn comes. What is left out is counted by why.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from loadtests import patterns
from loadtests.recordings.accesslog import COMBINED, AccessLog
from loadtests.recordings.entry import BadEntry, NoRequest, Recorded
from loadtests.recordings.har import MOST_BYTES, Archive, NotAnArchive, places
from loadtests.recordings.jsonlines import JsonLines
from loadtests.tables import BadLine

Format = Literal["common", "combined", "har", "jsonl"]
SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that ask for nothing to be changed (RFC 9110, section 9.2.1); TRACE is left out."""
MOST_TOLD: Final = 5
MOST_LINE: Final = 4 * 1024 * 1024
_BATCH: Final = 50_000
_SNIFFED: Final = 65536
_MOST_METHODS: Final = 20
"""Names of operations are few, whatever a recording holds."""


class Unusable(ValueError):
    """A file that is no recording at all. `line` and `column` are 0 where it is the file itself."""

    def __init__(self, message: str, line: int = 0, column: int = 0) -> None:
        super().__init__(message)
        self.line = line
        self.column = column


class Wanted(NamedTuple):
    """Which requests of which file."""

    path: str
    format: Format | Literal["auto"] = "auto"
    methods: frozenset[str] | None = SAFE
    """None: all."""
    paths: str | None = None
    skip: str | None = None
    operations: tuple[tuple[str, str], ...] = ()
    """Names, each with the pattern of its targets; the first that fits. Others are named by their method."""


@dataclass(slots=True)
class Counts:
    """What became of a recording's lines (of an archive: entries)."""

    lines: int = 0
    requests: int = 0
    bad: int = 0
    no_request: int = 0
    other_method: int = 0
    other_path: int = 0
    timeless: int = 0
    """Requests without a time; they are among `requests`."""


class _Reader(Protocol):
    def scan(self, line: bytes) -> tuple[float, str, str]:
        """Time, method and target of a line. Raises BadEntry, NoRequest."""

    def read(self, line: bytes) -> Recorded:
        """The request of a line. Raises BadEntry, NoRequest."""


class Recording:
    """The wanted requests of a file, in the order of their times."""

    def __init__(self, wanted: Wanted) -> None:
        """Raises Unusable."""
        self.counts = Counts()
        self.bad: list[BadLine] = []
        """The first bad lines."""
        self._wanted = wanted
        try:
            self._file = os.open(wanted.path, os.O_RDONLY | os.O_NONBLOCK)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            raise Unusable(f"cannot be read: {reason.lower()}") from error
        weakref.finalize(self, os.close, self._file)
        self.format: Format = self._recognised()
        self._reader = _reader(self.format)
        index = _Index(self, wanted)
        for start, line in self._lines():
            index.take(start, line)
        self._names = index.names
        times, self._starts, self._lengths, self._operations = index.sorted()
        self.first_timeless = index.first_timeless
        self.offsets: npt.NDArray[np.float64] = _offsets(times)
        """Seconds from the first request, in order."""

    def __len__(self) -> int:
        return len(self._starts)

    @property
    def span_s(self) -> float:
        """Seconds from the first request to the last."""
        return float(self.offsets[-1]) if len(self.offsets) else 0.0

    @property
    def period_s(self) -> float:
        """After how long it may begin anew: its span, and a mean gap; a second where it has no span."""
        return self.span_s * (1 + 1 / (len(self) - 1)) if self.span_s > 0 else 1.0

    def offset(self, ordinal: int) -> float:
        """When the `ordinal`-th request comes, in seconds; behind the last one it begins anew."""
        rounds, index = divmod(ordinal, len(self))
        return rounds * self.period_s + float(self.offsets[index])

    def request(self, ordinal: int) -> Recorded:
        """The `ordinal`-th request, over and over. Raises Unusable: the file has been changed meanwhile."""
        index = ordinal % len(self)
        line = os.pread(self._file, int(self._lengths[index]), int(self._starts[index]))
        try:
            return self._reader.read(line)
        except (BadEntry, NoRequest) as error:
            raise Unusable(f"{self._wanted.path} has been changed since it was read: {error}") from error

    def operation(self, ordinal: int) -> str:
        """What the `ordinal`-th request is called in telemetry: a name from the profile, or its method."""
        return self._names[int(self._operations[ordinal % len(self)])]

    def line(self, ordinal: int) -> int:
        """The line that the `ordinal`-th request stands in, from 1."""
        return self._line_at(int(self._starts[ordinal % len(self)]))[0]

    def _line_at(self, place: int) -> tuple[int, int]:
        line, before, at = 1, 0, 0
        while at < place and (block := os.pread(self._file, min(1 << 20, place - at), at)):
            line += block.count(b"\n")
            if (newline := block.rfind(b"\n")) >= 0:
                before = at + newline + 1
            at += len(block)
        return line, place - before + 1

    def _recognised(self) -> Format:
        if not Path(self._wanted.path).is_file():
            raise Unusable("expected a file")
        head = os.pread(self._file, _SNIFFED, 0)
        if not head.strip():
            raise Unusable("expected requests, got an empty file")
        if head.startswith((b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"BZh", b"\xfd7zXZ")):
            raise Unusable("expected text, got a compressed file; unpack it first")
        return recognised(head) if self._wanted.format == "auto" else self._wanted.format

    def _lines(self) -> Iterator[tuple[int, bytes]]:
        if self.format == "har":
            yield from self._archived()
            return
        with os.fdopen(os.dup(self._file), "rb", buffering=1 << 20) as file:
            file.seek(0)
            start = 0
            while line := file.readline(MOST_LINE):
                yield start, line
                start += len(line)

    def _archived(self) -> Iterator[tuple[int, bytes]]:
        size = os.fstat(self._file).st_size
        if size > MOST_BYTES:
            raise Unusable(f"expected an archive of at most {MOST_BYTES >> 20} MiB, got {size >> 20} MiB")
        data = Path(self._wanted.path).read_bytes()
        try:
            for start, end in places(data):
                yield start, data[start:end]
        except NotAnArchive as error:
            raise Unusable(str(error), *self._line_at(error.at)) from error


class _Index:
    """What is kept of each wanted request, while a file is read."""

    def __init__(self, recording: Recording, wanted: Wanted) -> None:
        self.names = [name for name, _ in wanted.operations]
        self.first_timeless: int | None = None
        """The line of the first request without a time."""
        self._recording = recording
        self._methods = wanted.methods
        self._paths = None if wanted.paths is None else patterns.parse(wanted.paths)
        self._skip = None if wanted.skip is None else patterns.parse(wanted.skip)
        self._operations = [patterns.parse(pattern) for _, pattern in wanted.operations]
        self._numbers: dict[str, int] = {}
        self._scan = recording._reader.scan
        self._batch: list[tuple[float, int, int, str, str]] = []
        self._kept: list[tuple[npt.NDArray[Any], ...]] = []

    def take(self, start: int, line: bytes) -> None:
        """Take in one line."""
        counts = self._recording.counts
        counts.lines += 1
        try:
            at, method, target = self._scan(line)
        except NoRequest:
            counts.no_request += 1
            return
        except BadEntry as error:
            self._bad(start, line, error)
            return
        if self._methods is not None and method not in self._methods:
            counts.other_method += 1
            return
        if at != at:
            if not counts.timeless:
                self.first_timeless = counts.lines
            counts.timeless += 1
        self._batch.append((at, start, len(line), method, target))
        if len(self._batch) >= _BATCH:
            self._keep()

    def _bad(self, start: int, line: bytes, error: BadEntry) -> None:
        counts, recording = self._recording.counts, self._recording
        if not line.strip() or line.startswith(b"#"):
            counts.lines -= 1  # a blank line or a comment is none
            return
        counts.bad += 1
        if len(recording.bad) < MOST_TOLD:
            number, column = recording._line_at(start)
            recording.bad.append(BadLine(str(error), number, column + error.column - 1))

    def _keep(self) -> None:
        """Sort out a batch: patterns are quicker on many texts at once."""
        batch, self._batch = self._batch, []
        targets = [target for *_, target in batch]
        keep = np.ones(len(batch), bool)
        if self._paths is not None:
            keep &= np.array(self._paths.among(targets), bool)
        if self._skip is not None:
            keep &= ~np.array(self._skip.among(targets), bool)
        numbers = np.full(len(batch), -1, np.int16)
        for number, pattern in reversed(list(enumerate(self._operations))):
            numbers[np.array(pattern.among(targets), bool)] = number
        for at in np.flatnonzero(numbers < 0):
            numbers[at] = self._number(batch[at][3])
        times, starts, lengths, _, _ = zip(*batch, strict=True)
        columns = (np.array(times, np.float64), np.array(starts, np.int64), np.array(lengths, np.int32))
        self._kept.append((*(column[keep] for column in columns), numbers[keep]))
        self._recording.counts.other_path += int(len(batch) - keep.sum())
        self._recording.counts.requests += int(keep.sum())

    def _number(self, method: str) -> int:
        if method not in self._numbers and len(self._numbers) >= _MOST_METHODS:
            method = "other"
        if method not in self._numbers:
            self._numbers[method] = len(self.names)
            self.names.append(method)
        return self._numbers[method]

    def sorted(self) -> tuple[npt.NDArray[Any], ...]:
        """Times, starts, lengths and operations, by time; what has none comes last, in the file's order."""
        if self._batch:
            self._keep()
        if not self._kept:
            return tuple(np.array([], kind) for kind in (np.float64, np.int64, np.int32, np.int16))
        columns = [np.concatenate(column) for column in zip(*self._kept, strict=True)]
        order = np.argsort(columns[0], kind="stable")
        return tuple(column[order] for column in columns)


def _offsets(times: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Seconds from the first; whole seconds, as access logs have, are spread over theirs."""
    if not len(times) or np.isnan(times[-1]):
        return np.zeros(len(times), np.float64)
    offsets: npt.NDArray[np.float64] = times - times[0]
    if np.all(offsets == np.floor(offsets)) and np.all(times == np.floor(times)):
        _, first, counts = np.unique(offsets, return_index=True, return_counts=True)
        within = np.arange(len(offsets)) - np.repeat(first, counts)
        offsets = offsets + within / np.repeat(counts, counts)
    return offsets


def recognised(head: bytes) -> Format:
    """The format of a file that begins so; what is none is called a common log, and its lines will tell."""
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text.startswith(b"{"):
        first = text.split(b"\n", 1)[0]
        try:
            JsonLines().read(first)
        except (BadEntry, NoRequest):
            return "har" if b'"log"' in text[:1000] or not first.rstrip().endswith(b"}") else "jsonl"
        return "jsonl"
    lines = [line for line in text.split(b"\n")[:-1] if line.strip()] or [text.strip()]
    fitting = sum(COMBINED.fullmatch(line) is not None for line in lines)
    return "combined" if fitting * 2 > len(lines) else "common"


def _reader(of: Format) -> _Reader:
    if of == "har":
        return Archive()
    return JsonLines() if of == "jsonl" else AccessLog(combined=of == "combined")


def recording(wanted: Wanted) -> Recording:
    """The recording, read once until the file changes. Raises Unusable."""
    try:
        status = os.stat(wanted.path)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise Unusable(f"cannot be read: {reason.lower()}") from error
    return _recording(wanted, status.st_mtime_ns, status.st_size, status.st_ino)


@lru_cache(maxsize=4)
def _recording(wanted: Wanted, changed: int, size: int, number: int) -> Recording:
    del changed, size, number
    return Recording(wanted)
