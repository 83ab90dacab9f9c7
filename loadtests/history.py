"""The history: what each simulated user did, one row per attempt on the wire, on disk as it happens.

Invariant: whatever was flushed stays readable. A file is only ever appended to, in records that say their
length, and a reader stops quietly at the first record that is not whole: the writer may have been killed at
any moment. Strings are written before the rows that refer to them.

Layout (little-endian). A record is `kind: u8, length: u32` and so many bytes:

- `1` header, once, first: JSON with `format`, `run`, `arm`, `worker`, `row_bytes`.
- `2` string: `id: u32` and UTF-8. Ids count up from 1; 0 is none. A string is defined once and used by id.
- `3` rows: any number of rows of `ROW`, back to back. Of a torn one the whole rows are kept.

Rows carry no phase: which phase an operation belongs to follows from its intended start, at reading.
"""

from __future__ import annotations

import json
import mmap
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Literal

import numpy as np
import numpy.typing as npt

FORMAT: Final = 1
SUFFIX: Final = ".history"
FLUSH_BYTES: Final = 64 * 1024
FLUSH_S: Final = 0.2
"""How often whoever owns a writer has to flush it: a kill loses no more than this."""

_RECORD = struct.Struct("<BI")
_ID = struct.Struct("<I")
_HEADER, _STRING, _ROWS = 1, 2, 3


class Has(IntFlag):
    """Which of a row's nullable columns hold a value, and its booleans."""

    FINAL = 1
    EPISODE = 2
    STEP = 4
    NONCE = 8
    REPLY_NONCE = 16
    REPLY_TEXT = 32
    """The reply's nonce was no 16 hexadecimal digits: its column holds a string's id."""
    REWARD = 64
    EXPECTED = 128
    DONE_KNOWN = 256
    DONE = 512
    CONNECTION = 1024
    NONCE_TEXT = 2048
    """The nonce is a text, such as an item's name: its column holds a string's id."""


class Ended(IntEnum):
    """How an attempt ended; the names are the column's values."""

    OK = 0
    ERROR = 1
    UNFINISHED = 2


OUTCOMES: Final = tuple(each.name.lower() for each in Ended)

FIELDS: Final[tuple[tuple[str, str], ...]] = (
    ("workload", "I"),
    ("user", "I"),
    ("episode", "I"),
    ("item", "I"),
    ("operation", "I"),
    ("step", "i"),
    ("attempt", "H"),
    ("flags", "H"),
    ("nonce", "Q"),
    ("reply_nonce", "Q"),
    ("connection", "I"),
    ("intended_start", "d"),
    ("start", "d"),
    ("end", "d"),
    ("outcome", "B"),
    ("error_type", "I"),
    ("status", "H"),
    ("reward", "d"),
    ("expected", "d"),
    ("bytes_sent", "Q"),
    ("bytes_received", "Q"),
    ("trace_id", "16s"),
)
"""A row's fields, in order, each with its code of the module struct. Strings are ids; times are Unix seconds.

float64 keeps Unix seconds to 0.24 µs, and packs in a third of the time that whole nanoseconds take.
"""

ROW: Final = struct.Struct("<" + "".join(code for _, code in FIELDS))
_NUMPY = {"I": "<u4", "i": "<i4", "H": "<u2", "Q": "<u8", "B": "u1", "d": "<f8", "16s": "V16"}
DTYPE: Final = np.dtype([(name, _NUMPY[code]) for name, code in FIELDS])


class NotAHistory(ValueError):
    """A file that does not start like a history, or is of a later format: which, and what it says."""


@dataclass(frozen=True, slots=True)
class Header:
    """Whose history a file is."""

    run: str
    arm: Literal["fault", "control"]
    worker: str


@dataclass(frozen=True, slots=True)
class Recorded:
    """A history file, read: `strings[id]`, and the rows as a structured array of `DTYPE`."""

    header: Header
    strings: tuple[str | None, ...]
    rows: npt.NDArray[np.void]


class HistoryWriter:
    """Appends rows to one file. Cheap: a row is packed into a buffer; `flush` hands that to the system.

    Flushes by itself when the buffer holds 64 KiB; the owner calls `flush` every `FLUSH_S` seconds. After a
    failed write nothing more is written: a record that broke off would hide the ones after it.
    """

    def __init__(self, folder: Path, header: Header) -> None:
        """Create `folder/WORKER.history`. Raises OSError, FileExistsError among them."""
        self.path = folder / f"{header.worker}{SUFFIX}"
        self._fd = os.open(
            self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o644
        )
        self._rows = bytearray()
        self._strings = bytearray()
        self._ids: dict[str, int] = {}
        self._next = 1
        self._pack = ROW.pack
        self.count = 0
        """Rows appended so far."""
        about = {
            "format": FORMAT,
            "run": header.run,
            "arm": header.arm,
            "worker": header.worker,
            "row_bytes": ROW.size,
        }
        self._write(_record(_HEADER, json.dumps(about).encode()))

    def intern(self, text: str | None) -> int:
        """The id of a text that comes again and again (bounded in number: each is kept)."""
        if text is None:
            return 0
        known = self._ids.get(text)
        if known is None:
            known = self._ids[text] = self.define(text)
        return known

    def define(self, text: str) -> int:
        """A new id for a text that only its caller will use again."""
        number = self._next
        self._next += 1
        self._strings += _record(_STRING, _ID.pack(number) + text.encode("utf-8", "replace"))
        return number

    def append(
        self,
        workload: int,
        user: int,
        episode: int,
        item: int,
        operation: int,
        step: int,
        attempt: int,
        flags: int,
        nonce: int,
        reply_nonce: int,
        connection: int,
        intended_start: float,
        start: float,
        end: float,
        outcome: int,
        error_type: int,
        status: int,
        reward: float,
        expected: float,
        bytes_sent: int,
        bytes_received: int,
        trace_id: bytes,
    ) -> None:
        """Append one attempt. Times are Unix seconds; `flags` are of `Has`. Raises OSError (it may flush)."""
        packed = self._pack(
            workload,
            user,
            episode,
            item,
            operation,
            step,
            attempt,
            flags,
            nonce,
            reply_nonce,
            connection,
            intended_start,
            start,
            end,
            outcome,
            error_type,
            status,
            reward,
            expected,
            bytes_sent,
            bytes_received,
            trace_id,
        )
        self.append_packed(packed)

    def append_packed(self, row: bytes) -> None:
        """Append one attempt that is packed by `ROW`. Raises OSError (it may flush)."""
        self._rows += row
        self.count += 1
        if len(self._rows) >= FLUSH_BYTES:
            self.flush()

    def flush(self) -> None:
        """Hand what is buffered to the system, which keeps it when this process is killed. Raises OSError."""
        if self._rows or self._strings:
            rows = _record(_ROWS, bytes(self._rows)) if self._rows else b""
            data = bytes(self._strings) + rows
            self._rows.clear()
            self._strings.clear()
            self._write(data)

    def close(self) -> None:
        """Flush, and close the file. Raises OSError."""
        try:
            self.flush()
        finally:
            if self._fd >= 0:
                os.close(self._fd)
                self._fd = -1

    def __enter__(self) -> HistoryWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _write(self, data: bytes) -> None:
        if self._fd < 0:
            raise OSError(f"{self.path}: the history is closed, or a write to it has failed before")
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._fd, view) :]
        except OSError:
            os.close(self._fd)
            self._fd = -1
            raise


def _record(kind: int, payload: bytes) -> bytes:
    return _RECORD.pack(kind, len(payload)) + payload


def read_history(path: Path) -> Recorded:
    """Read a history file as far as it is whole.

    Raises:
        NotAHistory: it does not begin with a header of this format.
        OSError: it cannot be read.
    """
    records = _records(_mapped(path))
    header = _header(path, next(records, None))
    strings: list[str | None] = [None]
    blocks: list[npt.NDArray[np.void]] = []
    for kind, payload in records:
        if kind == _STRING:
            strings.append(str(payload[_ID.size :], "utf-8", "replace"))
        elif kind == _ROWS:
            blocks.append(np.frombuffer(payload, DTYPE, count=len(payload) // ROW.size))
    rows = np.concatenate(blocks) if blocks else np.empty(0, DTYPE)
    return Recorded(header, tuple(strings), rows)


def read_batches(path: Path, most: int) -> Iterator[Recorded]:
    """The same as `read_history`, about `most` rows at a time and no more in memory; none when it is empty.

    A batch's strings are those that were defined by then, which are all that its rows refer to.

    Raises:
        NotAHistory: it does not begin with a header of this format.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        records = _streamed(file)
        header = _header(path, next(records, None))
        strings: list[str | None] = [None]
        blocks: list[npt.NDArray[np.void]] = []
        held = 0
        for kind, payload in records:
            if kind == _STRING:
                strings.append(str(payload[_ID.size :], "utf-8", "replace"))
            elif kind == _ROWS:
                blocks.append(np.frombuffer(payload, DTYPE, count=len(payload) // ROW.size))
                held += len(blocks[-1])
            if held >= most:
                yield Recorded(header, tuple(strings), np.concatenate(blocks))
                blocks, held = [], 0
        if held:
            yield Recorded(header, tuple(strings), np.concatenate(blocks))


def _streamed(file: BinaryIO) -> Iterator[tuple[int, memoryview]]:
    """As `_records`, of a file that is read as it is needed."""
    while len(head := file.read(_RECORD.size)) == _RECORD.size:
        kind, length = _RECORD.unpack(head)
        payload = file.read(length)
        if len(payload) < length and kind != _ROWS:
            return
        yield kind, memoryview(payload)


def _mapped(path: Path) -> memoryview:
    """The file's bytes, paged in as they are read: a long run's history is larger than what else is kept."""
    with path.open("rb") as file:
        if not os.fstat(file.fileno()).st_size:
            return memoryview(b"")
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def _records(view: memoryview) -> Iterator[tuple[int, memoryview]]:
    """The whole records, and of a torn last one its bytes if it holds rows."""
    at = 0
    while at + _RECORD.size <= len(view):
        kind, length = _RECORD.unpack_from(view, at)
        at += _RECORD.size
        payload = view[at : at + length]
        if len(payload) < length and kind != _ROWS:
            return
        yield kind, payload
        at += length


def _header(path: Path, first: tuple[int, memoryview] | None) -> Header:
    if first is None or first[0] != _HEADER:
        raise NotAHistory(f"{path}: expected a history, found a file that does not begin with its header")
    try:
        about = json.loads(bytes(first[1]))
        found = about["format"], about["row_bytes"]
        header = Header(about["run"], about["arm"], about["worker"])
    except (ValueError, KeyError, TypeError) as error:
        raise NotAHistory(f"{path}: its header is damaged: {error}") from error
    if found != (FORMAT, ROW.size):
        raise NotAHistory(
            f"{path}: expected format {FORMAT} with rows of {ROW.size} bytes, found {found[0]} with "
            f"{found[1]}; read it with the version that wrote it"
        )
    return header
