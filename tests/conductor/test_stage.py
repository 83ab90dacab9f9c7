"""The stage's promises, with a real keeper; and what it and its runs do at odd moments."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from chaos.conductor.ready import NotReady, ready_line
from chaos.conductor.stage import Stage
from chaos.plan import PlannedDemo
from tests.keeper.conftest import wait_for


def test_an_end_of_the_last_run_is_not_taken_for_one_of_the_next(tmp_path: Path) -> None:
    """A process that ended when its run was over does not count against its namesake of the next run."""
    with Stage(60.0) as stage:
        stage.spawn("load", [sys.executable, "-c", ""], None, tmp_path)
        stage.expect_end("load")
        wait_for(lambda: not stage.keeper.exited.empty())
        stage.stop("load")
        stage.spawn("load", [sys.executable, "-c", "import time; time.sleep(600)"], None, tmp_path)
        stage.check()
        assert stage.lives("load")


def test_demos_that_are_planned_alike_share_a_process() -> None:
    """Two targets of one suite that want a demo with different options have one each; equal ones share it."""
    few, many = (PlannedDemo(service="environment", sessions=n) for n in (2, 3))
    with Stage(60.0) as stage:
        addresses = [stage.demo_address(demo, stage.check) for demo in (few, many, few.model_copy())]
        assert addresses[0] == addresses[2] != addresses[1]
        assert stage.pid(few.process) != stage.pid(many.process)


def test_half_a_line_is_no_ready_line(tmp_path: Path) -> None:
    """Output that looks like JSON and is not, or is cut in the middle, is passed over."""
    (tmp_path / "x.out").write_text('{oops}\n{"ready": true, "at": {"port": 1}')
    with pytest.raises(NotReady, match="ended before it was ready"):
        ready_line("x", tmp_path, lambda: False, within_s=1)


def test_a_signal_is_taken_when_stderr_is_gone() -> None:
    """A terminal that has vanished does not turn a signal into an error in the middle of whatever runs."""
    code = (
        "import os, signal\n"
        "from chaos.conductor.interrupts import Interrupts\n"
        "with Interrupts() as interrupts:\n"
        "    os.close(2)\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    assert interrupts.wake.wait(10)\n"
        "    print(interrupts.ending)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "terminated\n"
