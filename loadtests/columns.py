"""The history as a table: all workers' files together, with each row's phase.

Invariant: a row's phase is that of its operation's intended start, by the recorded starts of the phases: the
last phase that had begun by then, or `before`. So the same history gives the same table whenever it is read.

Columns, one row per attempt on the wire (nullable ones marked ?):

| column | type | meaning |
|---|---|---|
| run, arm, worker, workload, phase | text | whose row it is; arm is `fault` or `control` |
| user | int64 | the arrival's ordinal in its workload and worker, from 0 |
| episode? | int64 | the arrival's ordinal where it is an episode; with workload and worker its identity |
| item? | text | the task or question, the same in every run |
| step? | int32 | 0 is an episode's reset, then 1, 2, …; of plain HTTP its ordinal; of a sample its epoch |
| attempt | int32 | 0 is the first try of an operation |
| final | bool | this was the operation's last attempt: one row of each operation has it |
| nonce?, reply_nonce? | text | what the request carried, and what its reply echoed |
| operation | text | `reset`, `step`, `replay`, `chat`, `executions`, a tool's or a request's name |
| connection? | int64 | ordinal of the connection in its worker; null: none came about |
| intended_start, start, end | float64 | Unix seconds: the operation was due, the attempt began, it ended |
| outcome | text | `ok`, `error`, `unfinished` |
| error_type? | text | as in `loadtests.metrics` |
| status? | int32 | the HTTP status; the exit code of a program, where it is not 0 |
| reward? | float64 | the reward of the reply; on an episode's last row the reward the client took for it |
| expected? | float64 | on the row where a client takes the reward: what its actions are known to earn |
| done? | bool | the reply said that the episode is over |
| bytes_sent, bytes_received | int64 | on the connection, during the attempt |
| trace_id | text | 32 hexadecimal digits, as sent in `traceparent` |

Of `executions`, where a server is asked how often a tool call was executed, the reward is that number, and
`done` says whether the client took the call for done.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from loadtests.history import OUTCOMES, SUFFIX, Has, Recorded, read_batches

BEFORE: Final = "before"
"""The phase of what was due before the first one began."""
FILE: Final = "history.parquet"

_TEXT = pa.dictionary(pa.int32(), pa.string())
SCHEMA: Final = pa.schema(
    [
        ("run", _TEXT),
        ("arm", _TEXT),
        ("worker", _TEXT),
        ("workload", _TEXT),
        ("phase", _TEXT),
        ("user", pa.int64()),
        ("episode", pa.int64()),
        ("item", _TEXT),
        ("step", pa.int32()),
        ("attempt", pa.int32()),
        ("final", pa.bool_()),
        ("nonce", pa.string()),
        ("reply_nonce", pa.string()),
        ("operation", _TEXT),
        ("connection", pa.int64()),
        ("intended_start", pa.float64()),
        ("start", pa.float64()),
        ("end", pa.float64()),
        ("outcome", _TEXT),
        ("error_type", _TEXT),
        ("status", pa.int32()),
        ("reward", pa.float64()),
        ("expected", pa.float64()),
        ("done", pa.bool_()),
        ("bytes_sent", pa.int64()),
        ("bytes_received", pa.int64()),
        ("trace_id", pa.string()),
    ]
)

_REPEATED: Final = [field.name for field in SCHEMA if field.type == _TEXT]
_ENCODINGS: Final = {
    **dict.fromkeys(("intended_start", "start", "end"), "BYTE_STREAM_SPLIT"),
    **dict.fromkeys(("nonce", "reply_nonce", "trace_id"), "DELTA_LENGTH_BYTE_ARRAY"),
    **dict.fromkeys(
        ("user", "episode", "step", "attempt", "connection", "status", "bytes_sent", "bytes_received"),
        "DELTA_BINARY_PACKED",
    ),
}
"""What makes columns small before zstd: times share their upper bytes, texts of one length need none."""
BATCH_ROWS: Final = 1 << 18
"""Rows that are in memory at a time, and the size of a row group."""

_HEX = np.frombuffer(b"".join(b"%02x" % byte for byte in range(256)), dtype="<u2")

Mask = npt.NDArray[np.bool_]


def read_table(folder: Path, phases: Sequence[tuple[str, float]]) -> pa.Table:
    """The history of all workers in `folder`, with the columns of `SCHEMA`, in each worker's order.

    `phases` are names with their starts (Unix seconds). A folder that is not there, or holds no
    history, is an empty table.

    Raises:
        NotAHistory: a file that ends in `.history` and is none.
        OSError: a file cannot be read.
    """
    tables = [_table(recorded, phases) for recorded in _recorded(folder)]
    if not tables:
        return SCHEMA.empty_table()
    return pa.concat_tables(tables).unify_dictionaries()


def write_parquet(folder: Path, phases: Sequence[tuple[str, float]]) -> Path:
    """Write `history.parquet` (zstd) beside the history files, and return its path.

    A part of the history (`BATCH_ROWS`) is in memory at a time, however long it is. Within such a part the
    rows of a user stand together, in their order, which takes a fifth less room than that of the history.
    What is not finished has another name, so what has this one is whole. Raises as `read_table`.
    """
    path = folder / FILE
    unfinished = path.with_suffix(".parquet.new")
    try:
        with pq.ParquetWriter(
            unfinished, SCHEMA, compression="zstd", use_dictionary=_REPEATED, column_encoding=_ENCODINGS
        ) as writer:
            for recorded in _recorded(folder):
                writer.write_table(_table(_by_user(recorded), phases))
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    return path


def _recorded(folder: Path) -> Iterator[Recorded]:
    """The history of all workers, so many rows at a time."""
    for path in sorted(folder.glob(f"*{SUFFIX}")) if folder.is_dir() else ():
        yield from read_batches(path, BATCH_ROWS)


def _by_user(recorded: Recorded) -> Recorded:
    rows = recorded.rows
    return Recorded(recorded.header, recorded.strings, rows[np.lexsort((rows["user"], rows["workload"]))])


def _table(recorded: Recorded, phases: Sequence[tuple[str, float]]) -> pa.Table:
    rows, header = recorded.rows, recorded.header
    flags = rows["flags"]

    def has(flag: Has) -> Mask:
        mask: Mask = (flags & int(flag)) != 0
        return mask

    def text(name: str) -> pa.Array:
        return _texts(rows[name], recorded.strings)

    def number(name: str, present: Mask | None, kind: pa.DataType) -> pa.Array:
        values = np.ascontiguousarray(rows[name])
        return pa.array(values, mask=None if present is None else ~present).cast(kind)

    columns: dict[str, Any] = {
        "run": _constant(header.run, len(rows)),
        "arm": _constant(header.arm, len(rows)),
        "worker": _constant(header.worker, len(rows)),
        "workload": text("workload"),
        "phase": _phases(rows["intended_start"], phases),
        "user": number("user", None, pa.int64()),
        "episode": number("episode", has(Has.EPISODE), pa.int64()),
        "item": text("item"),
        "step": number("step", has(Has.STEP), pa.int32()),
        "attempt": number("attempt", None, pa.int32()),
        "final": pa.array(has(Has.FINAL)),
        "nonce": _nonces(recorded, "nonce", has(Has.NONCE), has(Has.NONCE_TEXT)),
        "reply_nonce": _nonces(recorded, "reply_nonce", has(Has.REPLY_NONCE), has(Has.REPLY_TEXT)),
        "operation": text("operation"),
        "connection": number("connection", has(Has.CONNECTION), pa.int64()),
        "intended_start": number("intended_start", None, pa.float64()),
        "start": number("start", None, pa.float64()),
        "end": number("end", None, pa.float64()),
        "outcome": _dictionary(rows["outcome"].astype(np.int32), OUTCOMES),
        "error_type": text("error_type"),
        "status": number("status", rows["status"] != 0, pa.int32()),
        "reward": number("reward", has(Has.REWARD), pa.float64()),
        "expected": number("expected", has(Has.EXPECTED), pa.float64()),
        "done": pa.array(has(Has.DONE), mask=~has(Has.DONE_KNOWN)),
        "bytes_sent": number("bytes_sent", None, pa.int64()),
        "bytes_received": number("bytes_received", None, pa.int64()),
        "trace_id": _hexadecimal(np.ascontiguousarray(rows["trace_id"]).view("u1"), 16, None),
    }
    return pa.table(columns, schema=SCHEMA)


def _dictionary(indices: npt.NDArray[np.int32], values: Sequence[str], mask: Mask | None = None) -> pa.Array:
    return pa.DictionaryArray.from_arrays(
        pa.array(indices, pa.int32(), mask=mask), pa.array(values, pa.string())
    )


def _constant(value: str, count: int) -> pa.Array:
    return _dictionary(np.zeros(count, np.int32), (value,))


def _texts(ids: npt.NDArray[np.uint32], strings: tuple[str | None, ...]) -> pa.Array:
    """A column of the strings it uses, not of all that the file defines."""
    used = np.flatnonzero(np.bincount(ids)) if len(ids) else np.zeros(0, np.intp)
    places = np.zeros(int(used[-1]) + 1 if len(used) else 0, np.int32)
    places[used] = np.arange(len(used), dtype=np.int32)
    where = places[ids]
    values = [strings[i] if i < len(strings) else None for i in used]
    missing = np.array([value is None for value in values], bool)
    mask = missing[where] if len(values) else np.zeros(0, bool)
    return _dictionary(where.astype(np.int32), [value or "" for value in values], mask)


def _phases(intended: npt.NDArray[np.float64], phases: Sequence[tuple[str, float]]) -> pa.Array:
    ordered = sorted(phases, key=lambda phase: phase[1])
    starts = np.array([start for _, start in ordered], float)
    names = [BEFORE, *(name for name, _ in ordered)]
    return _dictionary(np.searchsorted(starts, intended, side="right").astype(np.int32), names)


def _nonces(recorded: Recorded, name: str, present: Mask, text: Mask) -> pa.Array:
    """Nonces: numbers as hexadecimal text; an item's name, or what a server made up, word for word."""
    values = recorded.rows[name]
    column = _hexadecimal(np.ascontiguousarray(values).astype(">u8").view("u1"), 8, present)
    if not text.any():
        return column
    ids = np.where(text, values, 0).astype(np.uint32)
    words = _texts(ids, recorded.strings).cast(pa.string())
    return pc.if_else(pa.array(text), words, column)


def _hexadecimal(octets: npt.NDArray[np.uint8], width: int, present: Mask | None) -> pa.Array:
    """Values of `width` bytes each as lower-case hexadecimal text, without a Python object for each."""
    count = len(octets) // width
    digits = width * 2
    if count * digits > 0x7FFF_FFFF:  # past what 32-bit offsets reach
        half = count // 2
        mask = (None, None) if present is None else (present[:half], present[half:])
        parts = (octets[: half * width], mask[0]), (octets[half * width :], mask[1])
        return pa.chunked_array([_hexadecimal(part, width, shown) for part, shown in parts])
    offsets = pa.py_buffer(np.arange(0, (count + 1) * digits, digits, dtype=np.int32))
    validity = None
    if present is not None:
        validity = pa.py_buffer(np.packbits(present, bitorder="little"))
    return pa.StringArray.from_buffers(count, offsets, pa.py_buffer(_HEX[octets]), validity)
