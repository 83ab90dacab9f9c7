"""`python -m benchmarks.history`: what it costs to keep a history, as it happens and at the end of a run.

Rows are made as runs make them: episodes of a reset and ten steps that overlap, with a nonce in each row and
one trace for each episode; or plain HTTP requests, each with a trace of its own. Nothing in them repeats that
would not in a run. Exit codes: 0 all bars met, 1 one missed, 2 a binary is missing, 3
the measurement failed.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from benchmarks.bars import Bar, report
from benchmarks.killed import kills
from benchmarks.machine import ROOT, MissingError
from loadtests.columns import FILE, write_parquet
from loadtests.history import DTYPE, ROW, Ended, Has, Header, HistoryWriter

APPEND_MOST_US: Final = 2.0
MOST_MIB: Final = 300.0
BAR_ROWS: Final = 10_000_000
MEMORY_MOST_MIB: Final = 512.0
"""For the whole process: of ten million rows, the history alone is more than twice that."""
_MIB: Final = 1024 * 1024
_STEPS: Final = 11
_RATE: Final = 500.0
"""Episodes, or HTTP requests by the tenfold, that begin each second."""
_GOLDEN: Final = 0x9E37_79B9_7F4A_7C15
_BEGIN: Final = 1_790_000_000.0
_CHUNK: Final = 400

Rows = npt.NDArray[np.void]


def episodes(rng: np.random.Generator, ids: dict[str, int], first: int, count: int) -> Rows:
    """Episodes that begin one after the other, their rows in the order in which they ended."""
    shape = (count, _STEPS)
    ordinals = np.arange(first, first + count)[:, None]
    rows = np.zeros(shape, DTYPE)
    took = rng.lognormal(np.log(0.02), 0.6, shape)
    ends = _BEGIN + ordinals / _RATE + np.cumsum(took, axis=1) + 0.0005
    rows["end"] = ends
    rows["start"] = ends - took
    rows["intended_start"] = rows["start"] - rng.exponential(0.0002, shape)
    rows["intended_start"][:, 0] = _BEGIN + ordinals[:, 0] / _RATE
    rows["user"] = rows["episode"] = ordinals
    rows["step"] = np.arange(_STEPS)
    rows["operation"] = np.where(np.arange(_STEPS) == 0, ids["reset"], ids["step"])
    rows["item"] = ids["task-0"] + rng.integers(0, 50, (count, 1))
    rows["workload"] = ids["bench"]
    rows["connection"] = ordinals
    nonces = rng.integers(0, 1 << 64, (count, 1), np.uint64)
    rows["nonce"] = rows["reply_nonce"] = nonces + np.arange(_STEPS, dtype=np.uint64) * np.uint64(_GOLDEN)
    rows["trace_id"] = _traces(rng, count)[:, None]
    rows["bytes_sent"] = rng.integers(110, 210, shape)
    rows["bytes_received"] = rng.integers(250, 900, shape)
    flags = Has.FINAL | Has.EPISODE | Has.STEP | Has.NONCE | Has.REPLY_NONCE | Has.REWARD
    rows["flags"] = int(flags | Has.DONE_KNOWN | Has.CONNECTION)
    rows["flags"][:, -1] |= int(Has.DONE | Has.EXPECTED)
    rows["reward"][:, -1] = rows["expected"][:, -1] = 1.0
    return _with_failures(rng, rows.reshape(-1), ids)


def requests(rng: np.random.Generator, ids: dict[str, int], first: int, count: int) -> Rows:
    """Plain HTTP requests, as many rows as so many episodes have."""
    size = count * _STEPS
    ordinals = np.arange(first * _STEPS, first * _STEPS + size)
    rows = np.zeros(size, DTYPE)
    rows["intended_start"] = _BEGIN + ordinals / (_RATE * 10)
    rows["start"] = rows["intended_start"] + rng.exponential(0.0003, size)
    rows["end"] = rows["start"] + rng.lognormal(np.log(0.005), 0.6, size)
    rows["user"] = ordinals
    rows["operation"] = ids["step"]
    rows["workload"] = ids["bench"]
    rows["connection"] = rng.integers(0, 50, size)
    rows["trace_id"] = _traces(rng, size)
    rows["bytes_sent"] = 180
    rows["bytes_received"] = rng.integers(430, 440, size)
    rows["status"] = 200
    rows["flags"] = int(Has.FINAL | Has.STEP | Has.CONNECTION)
    return _with_failures(rng, rows, ids)


def _traces(rng: np.random.Generator, count: int) -> npt.NDArray[np.void]:
    """As the generator makes them: one half is the workload's, the other differs in all its bits."""
    octets = np.frombuffer(rng.bytes(16 * count), "u1").reshape(count, 16).copy()
    octets[:, :8] = octets[0, :8]
    return octets.reshape(-1).view("V16")


def _with_failures(rng: np.random.Generator, rows: Rows, ids: dict[str, int]) -> Rows:
    failed = rng.random(len(rows)) < 0.005
    rows["outcome"][failed] = Ended.ERROR.value
    rows["error_type"][failed] = ids["timeout"]
    return rows[np.argsort(rows["end"], kind="stable")]


KINDS: Final[dict[str, Callable[[np.random.Generator, dict[str, int], int, int], Rows]]] = {
    "episodes": episodes,
    "requests": requests,
}


def fill(folder: Path, kind: str, count: int) -> None:
    """Write a history of about `count` rows. Raises OSError."""
    rng = np.random.default_rng(7)
    with HistoryWriter(folder, Header("bench", "fault", "worker-1")) as writer:
        names = ["bench", "reset", "step", "timeout", *(f"task-{n}" for n in range(50))]
        ids = {name: writer.intern(name) for name in names}
        every, total = 20_000, -(-count // _STEPS)
        for first in range(0, total, every):
            data = KINDS[kind](rng, ids, first, min(every, total - first)).tobytes()
            step = _CHUNK * ROW.size
            for at in range(0, len(data), step):
                writer.append_packed(data[at : at + step])


def convert(folder: Path) -> dict[str, float]:
    """Turn it into Parquet here and now: seconds, and the most memory that this process ever had."""
    phases = [("baseline", _BEGIN), ("fault", _BEGIN + 60), ("recovery", _BEGIN + 120)]
    begin, cpu = time.perf_counter(), time.process_time()
    write_parquet(folder, phases)
    took, used = time.perf_counter() - begin, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"seconds": took, "cpu_s": used, "peak_mib": peak}


def _append(options: argparse.Namespace) -> list[Bar]:
    """In a process of its own: it imports gevent, which this one need not have."""
    argv = [sys.executable, "-m", "benchmarks.appending", str(min(options.rows, 300_000))]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"appending: exit {done.returncode}: {done.stderr[-2000:]}")
    found: dict[str, float] = json.loads(done.stdout)
    print("\nµs of CPU for each row, flushed to a file; least of five")
    for what, cost in found.items():
        print(f"  {what:64}{cost:8.2f}")
    return [
        Bar(f"{what}: at most {APPEND_MOST_US:g} µs a row", f"{cost:.2f} µs", cost <= APPEND_MOST_US)
        for what, cost in found.items()
    ]


def _parquet(options: argparse.Namespace) -> list[Bar]:
    bars = []
    print(f"\n{options.rows:,} rows to Parquet")
    print(
        f"  {'':12}{'history MiB':>12}{'Parquet MiB':>12}{'bytes/row':>10}{'s':>7}{'CPU s':>7}{'peak MiB':>9}"
    )
    for kind in options.kinds:
        with tempfile.TemporaryDirectory(prefix="brownout-bench-") as name:
            folder = Path(name)
            fill(folder, kind, options.rows)
            before = sum(path.stat().st_size for path in folder.iterdir()) / _MIB
            argv = [sys.executable, "-m", "benchmarks.history", "--convert", name]
            done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
            if done.returncode:
                raise OSError(f"converting: exit {done.returncode}: {done.stderr[-2000:]}")
            told: dict[str, float] = json.loads(done.stdout)
            size = (folder / FILE).stat().st_size
            if options.columns:
                _columns(folder / FILE)
        print(
            f"  {kind:12}{before:12.0f}{size / _MIB:12.1f}{size / options.rows:10.1f}{told['seconds']:7.1f}"
            f"{told['cpu_s']:7.1f}{told['peak_mib']:9.0f}",
            flush=True,
        )
        mib = size / _MIB * BAR_ROWS / options.rows
        exact = "" if options.rows == BAR_ROWS else f" (from {options.rows:,})"
        bars += [
            Bar(
                f"{kind}: 10,000,000 rows in at most {MOST_MIB:g} MiB",
                f"{mib:.0f} MiB{exact}",
                mib <= MOST_MIB,
            ),
            Bar(
                f"{kind}: converted within {MEMORY_MOST_MIB:g} MiB of memory",
                f"{told['peak_mib']:.0f} MiB",
                told["peak_mib"] <= MEMORY_MOST_MIB,
            ),
        ]
    return bars


def _killed(options: argparse.Namespace) -> list[Bar]:
    lines, bars = kills(options.kills)
    print("\nA worker killed in mid-run, at 1,000 requests a second")
    for line in lines:
        print(f"  {line}", flush=True)
    return bars


def _columns(path: Path) -> None:
    """What each column takes."""
    import pyarrow.parquet as pq

    sizes: dict[str, int] = {}
    about: Any = pq.ParquetFile(path).metadata
    for group in range(about.num_row_groups):
        for number in range(about.num_columns):
            column = about.row_group(group).column(number)
            sizes[column.path_in_schema] = sizes.get(column.path_in_schema, 0) + column.total_compressed_size
    for name, size in sorted(sizes.items(), key=lambda each: -each[1]):
        print(f"    {name:18}{size / about.num_rows:8.2f} bytes a row")


_PARTS: Final[dict[str, Callable[[argparse.Namespace], list[Bar]]]] = {
    "append": _append,
    "parquet": _parquet,
    "killed": _killed,
}


def _options(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.history", description=__doc__)
    parser.add_argument("--rows", type=int, default=BAR_ROWS, help="of each kind (default 10,000,000)")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS), help="default: all")
    parser.add_argument("--parts", nargs="+", choices=_PARTS, default=list(_PARTS), help="default: all")
    parser.add_argument("--kills", type=int, default=3, help="of a worker in mid-run (default 3)")
    parser.add_argument("--columns", action="store_true", help="tell what each column takes")
    parser.add_argument("--convert", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def main() -> int:
    """Measure, print, and judge."""
    options = _options()
    if options.convert is not None:
        print(json.dumps(convert(options.convert)))
        return 0
    print(f"load average {os.getloadavg()[0]:.2f}; rows of {ROW.size} bytes")
    try:
        bars = [bar for part in options.parts for bar in _PARTS[part](options)]
    except MissingError as error:
        print(error, file=sys.stderr)
        return 2
    except (OSError, ValueError) as error:
        print(f"the measurement failed: {error}", file=sys.stderr)
        return 3
    return report(bars)


if __name__ == "__main__":
    sys.exit(main())
