"""However a worker ends, what it did is on disk."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from loadtests import metrics, runner
from tests.loadtests.locusts import Load, locust, wait_until, workload
from tests.loadtests.unruly import Request, http

ENDS_WITHIN_S = 60.0
LONG_DRAIN_S = 300.0

ENDINGS: dict[str, Callable[[Load], None]] = {
    "end of stdin": Load.hang_up,
    "SIGTERM": lambda load: load.process.send_signal(signal.SIGTERM),
    "SIGINT": lambda load: load.process.send_signal(signal.SIGINT),
    "SIGINT, in the background": lambda load: load.process.send_signal(signal.SIGINT),
}

IN_THE_BACKGROUND = ("sh", "-c", "trap '' INT; exec \"$@\"", "sh")
"""As a shell without job control starts what ends in `&`: it ignores SIGINT."""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A server that answers /good at once, and anything else never."""
    over = threading.Event()

    def answer(request: Request) -> None:
        if not request.head.startswith("GET /good "):
            over.wait()
        request.reply(200, b"ok")

    with http(answer) as url:
        yield url
        over.set()


@contextlib.contextmanager
def _loads(folder: Path, url: str, names: list[str]) -> Iterator[dict[str, Load]]:
    """Processes with users that are answered and users that never are; started together, since each takes a while."""
    requests = [{"name": "good", "path": "/good"}, {"name": "mute", "path": "/mute"}]
    plan = {
        "workloads": [workload("w", url, "http", arrivals="20/s", timeout="600s", steps=requests)],
        "drain_s": LONG_DRAIN_S,
    }
    with contextlib.ExitStack() as stack:
        loads: dict[str, Load] = {}

        def start(name: str) -> None:
            by = IN_THE_BACKGROUND if "background" in name else ()
            loads[name] = stack.enter_context(locust(folder / name, by, **plan))

        with ThreadPoolExecutor(len(names)) as pool:
            list(pool.map(start, names))
        yield loads


def test_a_worker_ends_soon_when_nobody_holds_it(tmp_path: Path, url: str) -> None:
    """At the end of stdin or by a signal it ends at once, with exit 0 and everything written down.

    That holds for SIGINT too where whoever started it ignores SIGINT, and where its receiver is gone.
    """
    with _loads(tmp_path, url, [*ENDINGS, "nobody hears it"]) as loads:
        for load in loads.values():
            load.begin("baseline")
        for load in loads.values():
            wait_until(lambda load=load: load.receiver.count(metrics.ARRIVALS) >= 10, "arrivals")
        begun = time.monotonic()
        loads["nobody hears it"].receiver.stop()
        loads["nobody hears it"].hang_up()
        for name, end in ENDINGS.items():
            end(loads[name])
        for name, load in loads.items():
            assert load.ended() == 0, (name, load.log)
        assert time.monotonic() - begun < ENDS_WITHIN_S
        for name, load in loads.items():
            unfinished = load.rows(outcome="unfinished")
            # On a machine that stands still even a request that is answered at once may be open at the end.
            assert sum(row["operation"] == "mute" for row in unfinished) >= 9, name
            assert all(row["final"] for row in unfinished)
        for name in ENDINGS:
            assert loads[name].receiver.heard(runner.FINAL_METRIC), name
            assert loads[name].receiver.count(metrics.ATTEMPTS) == len(loads[name].rows()), name
            assert "KeyboardInterrupt" not in loads[name].log, name


def test_a_killed_worker_leaves_a_readable_history(tmp_path: Path, url: str) -> None:
    """After SIGKILL the history holds what was flushed, and reads without an error."""
    with _loads(tmp_path, url, ["killed"]) as loads:
        load = loads["killed"]
        load.begin("baseline")
        wait_until(lambda: len(load.rows(operation="good")) >= 20, "rows on disk while it lives")
        os.kill(load.process.pid, signal.SIGKILL)
        assert load.ended() == -signal.SIGKILL
        rows = load.rows()
        assert len(rows) >= 20
        assert {row["outcome"] for row in rows} == {"ok"}
        assert not load.receiver.heard(runner.FINAL_METRIC)


def test_a_worker_that_never_began_ends_in_order(
    tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lines that it cannot read are ignored; a stop before the first phase ends it, with an empty history.

    A `locust.conf` where it is started, which would end it or open its web page, changes nothing.
    """
    (tmp_path / "locust.conf").write_text("run-time = 1s\nheadless = false\nautostart = true\n")
    monkeypatch.chdir(tmp_path)
    with _loads(tmp_path, url, ["unbegun"]) as loads:
        load = loads["unbegun"]
        assert load.process.stdin is not None
        load.process.stdin.write(b"\n[]\n{\n{}\nnull\n\xff\n" + b'{"phase": "x", "from": "y"}\n')
        assert load.stop() == 0, load.log
        assert load.rows() == []
        assert load.receiver.heard(runner.FINAL_METRIC)
        assert load.receiver.count(metrics.ARRIVALS) == 0
