from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadtests.columns import SCHEMA, read_table
from loadtests.history import FLUSH_BYTES, ROW, Has, Header, HistoryWriter, NotAHistory, read_history

HEADER = Header("run-1", "fault", "worker-1")

texts = st.text(min_size=1, max_size=12)
maybe_texts = st.none() | texts
u32 = st.integers(0, 2**32 - 1)
u64 = st.integers(0, 2**64 - 1)
times = st.floats(0, 4e9)
numbers = st.floats(allow_nan=False, allow_infinity=False)

rows = st.fixed_dictionaries(
    {
        "workload": texts,
        "user": u32,
        "episode": st.none() | u32,
        "item": maybe_texts,
        "step": st.none() | st.integers(0, 2**31 - 1),
        "attempt": st.integers(0, 2**16 - 1),
        "final": st.booleans(),
        "nonce": st.none() | u64,
        "reply_nonce": st.none() | u64 | texts,
        "operation": texts,
        "connection": st.none() | u32,
        "intended_start": times,
        "start": times,
        "end": times,
        "outcome": st.sampled_from(["ok", "error", "unfinished"]),
        "error_type": maybe_texts,
        "status": st.none() | st.integers(1, 2**16 - 1),
        "reward": st.none() | numbers,
        "expected": st.none() | numbers,
        "done": st.none() | st.booleans(),
        "bytes_sent": st.integers(0, 2**63 - 1),
        "bytes_received": st.integers(0, 2**63 - 1),
        "trace_id": st.binary(min_size=16, max_size=16),
    }
)


def _append(writer: HistoryWriter, row: dict[str, Any]) -> None:
    flags = Has.FINAL if row["final"] else Has(0)
    for column in ("episode", "step", "nonce", "reply_nonce", "reward", "expected", "connection"):
        if row[column] is not None:
            flags |= Has[column.upper()]
    if row["done"] is not None:
        flags |= Has.DONE_KNOWN | (Has.DONE if row["done"] else Has(0))
    reply = row["reply_nonce"]
    if isinstance(reply, str):
        flags |= Has.REPLY_TEXT
        reply = writer.define(reply)
    writer.append(
        writer.intern(row["workload"]),
        row["user"],
        row["episode"] or 0,
        writer.intern(row["item"]),
        writer.intern(row["operation"]),
        row["step"] or 0,
        row["attempt"],
        int(flags),
        row["nonce"] or 0,
        reply or 0,
        row["connection"] or 0,
        row["intended_start"],
        row["start"],
        row["end"],
        ["ok", "error", "unfinished"].index(row["outcome"]),
        writer.intern(row["error_type"]),
        row["status"] or 0,
        row["reward"] or 0.0,
        row["expected"] or 0.0,
        row["bytes_sent"],
        row["bytes_received"],
        row["trace_id"],
    )


def _as_read(row: dict[str, Any]) -> dict[str, Any]:
    def shown(nonce: int | str | None) -> str | None:
        return f"{nonce:016x}" if isinstance(nonce, int) else nonce

    return {
        **row,
        "run": "run-1",
        "arm": "fault",
        "worker": "worker-1",
        "phase": "before",
        "nonce": shown(row["nonce"]),
        "reply_nonce": shown(row["reply_nonce"]),
        "trace_id": row["trace_id"].hex(),
    }


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("history")


@settings(max_examples=60, deadline=None)
@given(st.lists(rows, max_size=12), st.integers(1, 5))
def test_what_is_written_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, written: list[dict[str, Any]], flush_each: int
) -> None:
    """Every column comes back as it was written, nothing where there was nothing, whenever it was flushed."""
    folder = tmp_path_factory.mktemp("history")
    with HistoryWriter(folder, HEADER) as writer:
        for number, row in enumerate(written):
            _append(writer, row)
            if number % flush_each == 0:
                writer.flush()
    table = read_table(folder, [])
    table.validate(full=True)
    assert table.schema.equals(SCHEMA)
    assert table.to_pylist() == [{name: _as_read(row)[name] for name in SCHEMA.names} for row in written]


def _simple(writer: HistoryWriter, count: int) -> None:
    for user in range(count):
        flags = int(Has.FINAL | Has.NONCE)
        operation = writer.intern(f"operation-{user % 3}")
        writer.append(
            1, user, 0, 0, operation, 0, 0, flags, user, 0, 0, 1.0, 1.0, 2.0, 0, 0, 200, 0.0, 0.0, 1, 1, b"t" * 16
        )  # fmt: skip


def test_a_history_cut_anywhere_is_read_up_to_there(folder: Path) -> None:
    """A kill or a crash may end the file at any byte: the rows before that are read, and nothing else is."""
    writer = HistoryWriter(folder, HEADER)
    writer.intern("workload")
    for _ in range(4):
        _simple(writer, 3)
        writer.flush()
    writer.close()
    whole = writer.path.read_bytes()
    complete = read_history(writer.path).rows["user"].tolist()
    assert len(complete) == 12
    beginning = whole.index(b"}") + 1
    counts = []
    for size in range(beginning, len(whole)):
        writer.path.write_bytes(whole[:size])
        users = read_history(writer.path).rows["user"].tolist()
        assert users == complete[: len(users)]
        counts.append(len(users))
    assert counts == sorted(counts)
    assert counts[-1] == 11


def test_flushed_rows_outlive_the_writer(folder: Path) -> None:
    """What was flushed is in the file, whatever becomes of the process; the buffer goes out by its size too."""
    writer = HistoryWriter(folder, HEADER)
    _simple(writer, 10)
    assert len(read_history(writer.path).rows) == 0
    writer.flush()
    assert len(read_history(writer.path).rows) == 10
    _simple(writer, FLUSH_BYTES // ROW.size + 1)
    assert len(read_history(writer.path).rows) > 10
    writer.close()


def test_a_closed_history_refuses_rows(folder: Path) -> None:
    """A row after the end is an error, and not a row that nobody will ever see."""
    writer = HistoryWriter(folder, HEADER)
    writer.close()
    _simple(writer, 1)
    with pytest.raises(OSError, match="closed"):
        writer.flush()


def test_two_workers_never_share_a_file(folder: Path) -> None:
    """A second worker of the same name is refused, instead of mixing its rows with the first one's."""
    with HistoryWriter(folder, HEADER), pytest.raises(FileExistsError):
        HistoryWriter(folder, HEADER)


@pytest.mark.parametrize(
    "content",
    [b"", b"not a history", os.urandom(200), b"\x01\x02\x00\x00\x00{}"],
    ids=["empty", "text", "noise", "header without fields"],
)
def test_a_foreign_file_is_refused(folder: Path, content: bytes) -> None:
    """A file that is no history is named as such, and not read as one with no rows."""
    path = folder / "w.history"
    path.write_bytes(content)
    with pytest.raises(NotAHistory, match=r"w\.history"):
        read_history(path)


def test_a_later_format_is_refused(folder: Path) -> None:
    """A history of another version is refused with what to do, since its rows would be misread."""
    with HistoryWriter(folder, HEADER) as writer:
        pass
    changed = writer.path.read_bytes().replace(b'"format": 1', b'"format": 9')
    writer.path.write_bytes(changed)
    with pytest.raises(NotAHistory, match="version that wrote it"):
        read_history(writer.path)
