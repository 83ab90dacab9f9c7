"""Healing what dead runs left: faults and processes of theirs, and of nobody else."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from chaos import registry
from chaos.faults.toxiproxy import ToxiproxyServer
from chaos.faults.undo import DeleteProxy, EnableProxy, RemoveToxic
from chaos.healing import heal_leftovers, heal_run
from chaos.journal import (
    FaultInjected,
    FaultPending,
    Journal,
    ProxyPending,
    ProxyReady,
    outstanding,
    read_events,
)

DEAD_STAGE = """
import sys, subprocess, os
from pathlib import Path
from chaos.registry import MARKER, Registration
registration = Registration()
for run in sys.argv[1:]:
    registration.add_run(Path(run))
env = {**os.environ, MARKER: registration.stage.stage}
sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
child = subprocess.Popen(sleep, env=env, start_new_session=True, stdout=subprocess.DEVNULL)
print(child.pid, flush=True)
os._exit(9)
"""


@pytest.fixture
def server() -> Iterator[ToxiproxyServer]:
    """A shared proxy server with a proxy `web` of somebody's."""
    process = subprocess.Popen(
        [sys.executable, "-m", "chaos.proxy", "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout is not None
    server = ToxiproxyServer(json.loads(process.stdout.readline())["api"])
    server.create_proxy("web", "127.0.0.1:0", "127.0.0.1:9")
    yield server
    process.terminate()
    process.wait(10)
    process.stdout.close()


def dead_run(folder: Path, server: ToxiproxyServer) -> Path:
    """A run that injected a toxic, took a proxy down, created one, and died."""
    folder.mkdir()
    journal = Journal(folder / "events.jsonl")
    for event in (
        ProxyPending(name="ours", undo=DeleteProxy(api=server.url, proxy="ours")),
        FaultPending(fault="late", undo=RemoveToxic(api=server.url, proxy="web", toxic="ours")),
        FaultPending(fault="gone", undo=EnableProxy(api=server.url, proxy="web")),
        ProxyReady(place="ours", name="ours", listen="127.0.0.1:1", upstream="127.0.0.1:9"),
        FaultInjected(fault="late"),
        FaultInjected(fault="gone"),
    ):
        journal.record(event)
    journal.close()
    server.create_proxy("ours", "127.0.0.1:0", "127.0.0.1:9")
    server.add_toxic("web", "theirs", "latency", "downstream", 1.0, {"latency": 1})
    server.add_toxic("web", "ours", "latency", "downstream", 1.0, {"latency": 1})
    server.set_enabled("web", False)
    return folder


def register_and_die(*runs: Path) -> int:
    """Register a stage with these runs in a process that dies; the pid of a process it leaves."""
    done = subprocess.run(
        [sys.executable, "-c", DEAD_STAGE, *map(str, runs)], stdout=subprocess.PIPE, text=True, check=False
    )
    return int(done.stdout)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_the_next_command_heals_a_dead_run(tmp_path: Path, server: ToxiproxyServer) -> None:
    """Its toxic, its downed proxy, its own proxy and its processes are gone; other people's toxic stays."""
    run = dead_run(tmp_path / "run", server)
    left = register_and_die(run)
    assert alive(left)
    report = heal_leftovers()
    assert report.left == []
    assert len(report.done) == 4
    assert not alive(left)
    proxies = server.proxies()
    assert set(proxies) == {"web"}
    assert proxies["web"].enabled
    assert [t.name for t in proxies["web"].toxics] == ["theirs"]
    assert outstanding(read_events(run / "events.jsonl")) == []
    assert list(registry.stages()) == []


def test_healing_twice_finds_nothing(tmp_path: Path, server: ToxiproxyServer) -> None:
    """Healing is idempotent."""
    run = dead_run(tmp_path / "run", server)
    register_and_die(run)
    heal_leftovers()
    report = heal_leftovers()
    assert (report.done, report.left, report.alive) == ([], [], [])
    assert heal_run(run).done == []


def test_an_unreachable_proxy_is_told_and_kept(tmp_path: Path, server: ToxiproxyServer) -> None:
    """What cannot be reached is named, stays registered, and does not keep the rest from being healed."""
    lost = tmp_path / "lost"
    lost.mkdir()
    journal = Journal(lost / "events.jsonl")
    undo = RemoveToxic(api="http://127.0.0.1:1", proxy="web", toxic="t")
    journal.record(FaultPending(fault="far", undo=undo))
    journal.record(FaultInjected(fault="far"))
    journal.close()
    run = dead_run(tmp_path / "run", server)
    register_and_die(lost, run)
    report = heal_leftovers()
    assert len(report.left) == 1
    assert "far at http://127.0.0.1:1" in report.left[0].text
    assert [t.name for t in server.proxies()["web"].toxics] == ["theirs"]
    assert len(list(registry.stages())) == 1
    command = subprocess.run(
        [sys.executable, "-m", "chaos", "heal"], capture_output=True, text=True, check=False
    )
    assert command.returncode == 5
    assert "far at http://127.0.0.1:1" in command.stderr


def test_a_live_run_is_left_alone(tmp_path: Path, server: ToxiproxyServer) -> None:
    """A run whose conductor lives keeps its faults and its processes."""
    run = dead_run(tmp_path / "run", server)
    registration = registry.Registration()
    registration.add_run(run)
    report = heal_leftovers()
    assert report.done == []
    assert "left alone" in report.alive[0]
    assert "ours" in [t.name for t in server.proxies()["web"].toxics]
    registration.close(clean=False)
    assert len(heal_leftovers().done) == 3


def test_a_damaged_journal_is_told(tmp_path: Path) -> None:
    """A journal that cannot be read is never taken for a clean one."""
    run = tmp_path / "run"
    run.mkdir()
    (run / "events.jsonl").write_text('{"event": "from-the-future"}\n{}\n')
    register_and_die(run)
    assert "cannot be read" in heal_leftovers().left[0].text


def test_one_run_at_a_time_holds_a_target() -> None:
    """A second run is refused with the name of the first; a crash of the first frees the target."""
    with (
        registry.target_lock("env", "run-1"),
        pytest.raises(registry.TargetBusy, match="run-1"),
        registry.target_lock("env", "run-2"),
    ):
        pass
    code = "from chaos.registry import *; import os; target_lock('env', 'run-3').__enter__(); os._exit(9)"
    subprocess.run([sys.executable, "-c", code], check=False, env=dict(os.environ))
    with registry.target_lock("env", "run-4"):
        pass


def test_two_who_ask_at_once_do_not_take_each_other_for_the_conductor(
    tmp_path: Path, server: ToxiproxyServer
) -> None:
    """Healing while another command looks at the same dead stage still heals."""
    register_and_die(dead_run(tmp_path / "run", server))
    (stage,) = registry.stages()
    with stage.conductor_lock.open() as other:
        fcntl.flock(other, fcntl.LOCK_SH)
        assert not stage.conductor_alive()
    assert len(heal_leftovers().done) == 4


def test_a_damaged_entry_stops_nothing(tmp_path: Path, server: ToxiproxyServer) -> None:
    """An entry that a power cut emptied is told of, one that vanishes is passed over; others are healed."""
    register_and_die(dead_run(tmp_path / "run", server))
    folder = next(registry.stages()).folder
    (folder / "empty.json").touch()
    (folder / "vanished.json").symlink_to(folder / "nowhere")
    report = heal_leftovers()
    assert len(report.done) == 4
    assert "empty.json is damaged" in report.left[0].text
    assert heal_run(tmp_path / "run").left == []
