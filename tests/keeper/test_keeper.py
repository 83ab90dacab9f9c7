"""The keeper's promises, with real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import psutil
import pytest

from chaos.faults.undo import EndsWithRun, RemoveToxic
from chaos.journal import FaultHealed, FaultPending, Journal, outstanding, read_events
from chaos.keeper.handle import Keeper, KeeperLost
from chaos.registry import MARKER, processes_of
from tests.keeper.conftest import STAGE, wait_for

ECHO = [sys.executable, "-c", "import sys\nfor line in sys.stdin: print(line, end='', flush=True)"]
SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]


def test_a_process_is_started_with_its_output_in_files(keeper: Keeper, tmp_path: Path) -> None:
    """A child's stdout goes to NAME.out, and its stdin is the keeper's to write to."""
    keeper.spawn("echo", ECHO, logs=tmp_path)
    keeper.write("echo", "hello\n")
    wait_for(lambda: (tmp_path / "echo.out").read_text() == "hello\n")
    assert keeper.stop("echo") is not None


def test_an_end_that_nobody_asked_for_is_reported(keeper: Keeper, tmp_path: Path) -> None:
    """A process that ends by itself is told of, with its exit code."""
    keeper.spawn("short", [sys.executable, "-c", "raise SystemExit(7)"], logs=tmp_path)
    assert keeper.exited.get(timeout=20) == ("short", 7)


def test_what_cannot_be_started_is_an_error(keeper: Keeper, tmp_path: Path) -> None:
    """A program that does not exist is an error with its name, and the keeper lives on."""
    with pytest.raises(KeeperLost, match="no-such-program"):
        keeper.spawn("x", ["no-such-program"], logs=tmp_path)
    keeper.spawn("sleep", SLEEP, logs=tmp_path)
    assert keeper.stop("sleep", grace_s=5) == -signal.SIGTERM


def test_a_process_that_ignores_sigterm_is_killed(keeper: Keeper, tmp_path: Path) -> None:
    """Stopping means stopped: SIGTERM, then SIGKILL."""
    code = "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('up', flush=True)\ntime.sleep(600)"
    keeper.spawn("deaf", [sys.executable, "-c", code], logs=tmp_path)
    wait_for(lambda: (tmp_path / "deaf.out").read_text())
    assert keeper.stop("deaf", grace_s=0.1) == -signal.SIGKILL


def test_closing_ends_every_process(tmp_path: Path) -> None:
    """Nothing that the keeper started outlives it, grandchildren included."""
    mark = f"close-{tmp_path.name}"
    keeper = Keeper(60.0, environment={MARKER: mark})
    code = "import subprocess, sys, time\nsubprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\nprint('up', flush=True)\ntime.sleep(600)"
    keeper.spawn("parent", [sys.executable, "-c", code], logs=tmp_path)
    wait_for(lambda: (tmp_path / "parent.out").read_text())
    wait_for(lambda: len(processes_of(mark)) == 3)
    keeper.close()
    assert processes_of(mark) == []


CONDUCTOR = """
    import os, sys, time
    from pathlib import Path
    from chaos.keeper.handle import Keeper
    keeper = Keeper(float(sys.argv[2]), environment={"BROWNOUT_STAGE": sys.argv[1]})
    for n in range(2):
        keeper.spawn(f"sleep{n}", [sys.executable, "-c", "import time; time.sleep(600)"], logs=Path(sys.argv[3]))
    print("up", flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize(("number", "lease_s"), [(signal.SIGKILL, 60.0), (signal.SIGSTOP, 5.0)])
def test_a_conductor_that_dies_or_hangs_leaves_no_process(
    tmp_path: Path, number: signal.Signals, lease_s: float
) -> None:
    """Killed: at once. Stopped: when its lease has run out. Either way no process of the run is left."""
    mark = f"{number.name}-{tmp_path.name}"
    code = textwrap.dedent(CONDUCTOR)
    conductor = subprocess.Popen(
        [sys.executable, "-c", code, mark, str(lease_s), str(tmp_path)], stdout=subprocess.PIPE
    )
    assert conductor.stdout is not None
    assert conductor.stdout.readline() == b"up\n"
    wait_for(lambda: len(processes_of(mark)) == 3)  # one in the midst of its exec shows no environment yet
    os.kill(conductor.pid, number)
    wait_for(lambda: processes_of(mark) == [])
    conductor.kill()
    conductor.wait()
    conductor.stdout.close()


def test_a_lost_keeper_is_noticed(tmp_path: Path) -> None:
    """When the keeper itself is killed, its handle says so instead of waiting."""
    mark = f"lost-{tmp_path.name}"
    keeper = Keeper(60.0, environment={MARKER: mark})
    keeper.spawn("sleep", SLEEP, logs=tmp_path)
    os.kill(keeper.pid, signal.SIGKILL)
    assert keeper.lost.wait(20)
    with pytest.raises(KeeperLost):
        keeper.spawn("more", SLEEP, logs=tmp_path)
    keeper.close()
    (orphan,) = processes_of(mark)
    orphan.kill()
    psutil.wait_procs([orphan], timeout=20)


def test_ending_a_process_does_not_cost_the_lease(tmp_path: Path) -> None:
    """A keeper that was busy for longer than its lease reads the renewals that came in meanwhile."""
    keeper = Keeper(2.0, environment={MARKER: f"busy-{tmp_path.name}"})
    code = "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('up', flush=True)\ntime.sleep(600)"
    keeper.spawn("deaf", [sys.executable, "-c", code], logs=tmp_path)
    wait_for(lambda: (tmp_path / "deaf.out").read_text())
    try:
        keeper.stop("deaf", grace_s=3.0)
        keeper.spawn("next", SLEEP, logs=tmp_path)
        assert not keeper.lost.is_set()
    finally:
        keeper.close()


def test_what_a_dead_process_had_started_goes_with_it(keeper: Keeper, tmp_path: Path) -> None:
    """When a process ends by itself the rest of its group is ended too."""
    code = "import subprocess, sys\nsubprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])"
    keeper.spawn("parent", [sys.executable, "-c", code], logs=tmp_path)
    assert keeper.exited.get(timeout=20) == ("parent", 0)
    mark = f"{STAGE}-{tmp_path.name}"
    wait_for(lambda: [p.pid for p in processes_of(mark)] == [keeper.pid])


STOPPED = """
    import sys
    from pathlib import Path
    from chaos.keeper.handle import Keeper, KeeperLost
    keeper = Keeper(float(sys.argv[2]), environment={"BROWNOUT_STAGE": sys.argv[1]})
    keeper.assure()
    print("up", flush=True)
    sys.stdin.readline()
    try:
        keeper.assure()
        print("assured", flush=True)
    except KeeperLost:
        print("lost", flush=True)
    keeper.close()
"""


def test_a_conductor_that_was_stopped_for_longer_than_its_lease_is_not_assured(tmp_path: Path) -> None:
    """The first thing that it asks after it is continued is refused: its keeper has healed, and is gone."""
    mark = f"stopped-{tmp_path.name}"
    conductor = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(STOPPED), mark, "5"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert conductor.stdin is not None
    assert conductor.stdout is not None
    assert conductor.stdout.readline() == b"up\n"
    wait_for(lambda: len(processes_of(mark)) == 1)
    os.kill(conductor.pid, signal.SIGSTOP)
    wait_for(lambda: processes_of(mark) == [], 60)
    conductor.stdin.write(b"go on\n")
    conductor.stdin.flush()
    os.kill(conductor.pid, signal.SIGCONT)
    assert conductor.stdout.readline() == b"lost\n"
    conductor.wait()
    conductor.stdin.close()
    conductor.stdout.close()


def test_what_goes_with_a_process_is_healed_by_its_end(tmp_path: Path) -> None:
    """A fault on a proxy that the keeper started needs no answer from it once that has ended."""
    journal = Journal(tmp_path / "events.jsonl")
    undo = RemoveToxic(api="http://127.0.0.1:1", proxy="web", toxic="late")
    journal.record(FaultPending(fault="late", undo=undo))
    keeper = Keeper(60.0, environment={MARKER: f"carried-{tmp_path.name}"})
    keeper.spawn("proxy", SLEEP, logs=tmp_path)
    keeper.hold("run/late", undo, journal.path, FaultHealed(fault="late"), carrier="proxy")
    keeper.answered("run/late")
    keeper.close()
    assert outstanding(read_events(journal.path)) == []
    journal.close()


def test_what_is_healed_already_is_not_written_down_again(tmp_path: Path) -> None:
    """A keeper that heals once more what its conductor has healed leaves the journal as it is."""
    journal = Journal(tmp_path / "events.jsonl")
    undo = EndsWithRun(name="demo")
    journal.record(FaultPending(fault="killed", undo=undo))
    keeper = Keeper(60.0, environment={MARKER: f"twice-{tmp_path.name}"})
    keeper.hold("run/killed", undo, journal.path, FaultHealed(fault="killed"))
    journal.record(FaultHealed(fault="killed"))
    keeper.close()
    journal.close()
    assert [event.event for event in read_events(journal.path)] == ["fault-pending", "fault-healed"]
