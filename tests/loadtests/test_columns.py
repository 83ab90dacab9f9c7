from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from loadtests.columns import BATCH_ROWS, SCHEMA, read_table, write_parquet
from loadtests.history import ROW, Has, Header, HistoryWriter, NotAHistory


def _history(folder: Path, worker: str, intended: list[float]) -> None:
    with HistoryWriter(folder, Header("run-1", "control", worker)) as writer:
        workload, operation = writer.intern("env"), writer.intern("step")
        for user, due in enumerate(intended):
            flags = int(Has.FINAL | Has.NONCE | Has.REPLY_NONCE)
            writer.append(
                workload, user, 0, 0, operation, 0, 0, flags, user, user, 0, due, due, due + 1, 0, 0, 0, 0.0, 0.0,
                0, 0, user.to_bytes(16, "big"),
            )  # fmt: skip


def test_a_row_belongs_to_the_phase_that_had_begun_when_it_was_due(tmp_path: Path) -> None:
    """An operation's phase is that of its intended start, the start of a phase included."""
    _history(tmp_path, "w", [9.9, 10.0, 19.999, 20.0, 31.0])
    phases = [("recovery", 30.0), ("baseline", 10.0), ("fault", 20.0)]
    assert read_table(tmp_path, phases)["phase"].to_pylist() == [
        "before",
        "baseline",
        "baseline",
        "fault",
        "recovery",
    ]


def test_all_workers_of_a_run_are_one_table(tmp_path: Path) -> None:
    """The files of several workers are read together, and each row says whose it is."""
    _history(tmp_path, "a", [1.0, 2.0])
    _history(tmp_path, "b", [3.0])
    table = read_table(tmp_path, [])
    assert table["worker"].to_pylist() == ["a", "a", "b"]
    assert set(table["arm"].to_pylist()) == {"control"}


def test_parquet_holds_the_same_table(tmp_path: Path) -> None:
    """The columnar file says what the history says, and is compressed with zstd."""
    _history(tmp_path, "w", [float(n) for n in range(500)])
    path = write_parquet(tmp_path, [("baseline", 100.0)])
    assert path == tmp_path / "history.parquet"
    assert pq.read_table(path).to_pylist() == read_table(tmp_path, [("baseline", 100.0)]).to_pylist()
    assert pq.ParquetFile(path).metadata.row_group(0).column(0).compression == "ZSTD"


def test_no_history_is_an_empty_table(tmp_path: Path) -> None:
    """A run that never got to its load has a history without rows, with all columns."""
    for folder in (tmp_path, tmp_path / "absent"):
        table = read_table(folder, [("baseline", 1.0)])
        assert table.num_rows == 0
        assert table.schema.equals(SCHEMA)


def test_a_long_history_is_the_same_in_parts(tmp_path: Path) -> None:
    """Past what is in memory at a time, of several workers, Parquet has the same rows; a user's are together."""
    flags = int(Has.FINAL | Has.STEP)
    for worker, count in (("a", BATCH_ROWS + 1000), ("b", 1000)):
        with HistoryWriter(tmp_path, Header("run-1", "fault", worker)) as writer:
            workload, operation = writer.intern("env"), writer.intern("step")
            for number in range(count):
                row = ROW.pack(
                    workload, number % 7, 0, 0, operation, number, 0, flags, 0, 0, 0, 1.0, 1.0, 2.0, 0, 0, 0, 0.0, 0.0,
                    0, 0, bytes(16),
                )  # fmt: skip
                writer.append_packed(row)
    phases = [("baseline", 0.0)]
    written = pq.read_table(write_parquet(tmp_path, phases))
    assert written.schema.equals(SCHEMA)
    assert _ordered(written).equals(_ordered(read_table(tmp_path, phases)))
    first = written.slice(0, BATCH_ROWS)["user"].to_pylist()
    assert first == sorted(first)
    assert [path.name for path in tmp_path.glob("*parquet*")] == ["history.parquet"]


def _ordered(table: pa.Table) -> pa.Table:
    """With plain texts, by worker and step."""
    plain = [
        (field.name, pa.string() if pa.types.is_dictionary(field.type) else field.type) for field in SCHEMA
    ]
    order = [("worker", "ascending"), ("step", "ascending")]
    return table.cast(pa.schema(plain)).sort_by(order).combine_chunks()


def test_what_cannot_be_read_leaves_no_parquet(tmp_path: Path) -> None:
    """A file that is no history is an error, and nothing is left that looks like a finished conversion."""
    _history(tmp_path, "a", [1.0])
    (tmp_path / "b.history").write_bytes(b"something else")
    with pytest.raises(NotAHistory):
        write_parquet(tmp_path, [])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.history", "b.history"]
