from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq

from loadtests.columns import SCHEMA, read_table, write_parquet
from loadtests.history import Has, Header, HistoryWriter


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
