"""The fakes are held to the same contract as the real ports."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chaos.conductor.faults import KeptFaults
from chaos.conductor.ports import Clock, Faults, WallClock
from chaos.conductor.proxied import ProxyFaults
from chaos.faults.toxiproxy import Lease, ToxiproxyServer
from chaos.journal import FaultPending
from chaos.keeper.handle import Keeper
from chaos.plan import PlannedFault
from chaos.testing import FakeClock, FakeFaults

LATE = PlannedFault(
    name="late",
    place="web",
    type="latency",
    attributes={"latency": 10},
    inject_at_s=0,
    heal_at_s=1,
    effects=(),
)
GONE = LATE.model_copy(update={"name": "gone", "type": "down", "attributes": {}})


@pytest.fixture(params=[FakeClock, WallClock])
def clock(request: pytest.FixtureRequest) -> Clock:
    """Each clock."""
    made: Clock = request.param()
    return made


def test_waiting_ends_at_the_time(clock: Clock) -> None:
    """After a wait the time has come, and it never runs backwards."""
    start = clock.now()
    clock.wait(start + 0.05, threading.Event())
    assert clock.now() >= start + 0.049
    clock.wait(start, threading.Event())
    assert clock.now() >= start + 0.049


def test_a_wait_ends_when_woken(clock: Clock) -> None:
    """A set event ends a wait of any length."""
    wake = threading.Event()
    wake.set()
    before = time.monotonic()
    clock.wait(clock.now() + 3600, wake)
    assert time.monotonic() - before < 60


@pytest.fixture
def server() -> Iterator[ToxiproxyServer]:
    """A real embedded proxy with a proxy `web`."""
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


def kept(server: ToxiproxyServer, keeper: Keeper, run: str, journal: Path) -> KeptFaults:
    """The faults port of a run whose every fault is one of the proxy `web`."""
    lease = Lease(holder=run, ttl_ms=60_000)
    proxied = ProxyFaults(server, run=run, names={"web": "web"}, lease=lease, seed=1)
    return KeptFaults(lambda _: proxied, keeper, run=run, journal=journal)


@pytest.fixture(params=["fake", "real"])
def faults(
    request: pytest.FixtureRequest, tmp_path: Path, server: ToxiproxyServer
) -> Iterator[tuple[Faults, Callable[[str], bool]]]:
    """Each faults port, and a way to ask whether a fault is in place."""
    if request.param == "fake":
        fake = FakeFaults()
        yield fake, lambda name: name in fake.present
        return
    keeper = Keeper(60.0, environment={})
    real = kept(server, keeper, "r", tmp_path / "events.jsonl")

    def in_place(name: str) -> bool:
        proxy = server.proxy("web")
        assert proxy is not None
        return not proxy.enabled if name == "gone" else bool(proxy.toxics)

    yield real, in_place
    keeper.close()


@pytest.mark.parametrize("fault", [LATE, GONE], ids=lambda fault: fault.name)
def test_inject_and_heal(faults: tuple[Faults, Callable[[str], bool]], fault: PlannedFault) -> None:
    """What is injected is in place, what is healed is not; the undo is known before anything is done."""
    port, in_place = faults
    undo = port.undo(fault)
    assert not in_place(fault.name)
    port.arm(fault, undo, 0.1)
    port.inject(fault, undo)
    assert in_place(fault.name)
    assert all(isinstance(value, int) for value in port.counts(fault).values())
    port.heal(fault.name, undo)
    assert not in_place(fault.name)


@pytest.mark.parametrize("fault", [LATE, GONE], ids=lambda fault: fault.name)
def test_healing_is_idempotent(faults: tuple[Faults, Callable[[str], bool]], fault: PlannedFault) -> None:
    """Healing what is not in place, or was healed already, is no error."""
    port, in_place = faults
    undo = port.undo(fault)
    port.heal(fault.name, undo)
    port.arm(fault, undo, 0.0)
    port.inject(fault, undo)
    port.heal(fault.name, undo)
    port.heal(fault.name, undo)
    assert not in_place(fault.name)


def test_a_keeper_that_loses_its_conductor_heals_the_fault(tmp_path: Path, server: ToxiproxyServer) -> None:
    """A held fault is healed by the keeper when its conductor goes, and the journal says by whom."""
    journal = tmp_path / "events.jsonl"
    keeper = Keeper(60.0, environment={})
    port = kept(server, keeper, "r", journal)
    undo = port.undo(LATE)
    journal.write_text(FaultPending(fault=LATE.name, undo=undo).model_dump_json() + "\n")
    port.arm(LATE, undo, 0.0)
    port.inject(LATE, undo)
    keeper.close()
    proxy = server.proxy("web")
    assert proxy is not None
    assert proxy.toxics == ()
    assert json.loads(journal.read_text().splitlines()[-1])["by"] == "keeper"


def test_a_journal_that_is_lost_does_not_keep_the_keeper_from_healing(
    tmp_path: Path, server: ToxiproxyServer
) -> None:
    """Faults whose healing cannot be journalled are healed all the same, each of them."""
    keeper = Keeper(60.0, environment={})
    port = kept(server, keeper, "r", tmp_path)  # a folder: no line can be added to it
    for fault in (LATE, GONE):
        undo = port.undo(fault)
        port.arm(fault, undo, 0.0)
        port.inject(fault, undo)
    keeper.close()
    proxy = server.proxy("web")
    assert proxy is not None
    assert proxy.enabled
    assert proxy.toxics == ()


def test_faults_of_one_name_in_two_runs_are_both_held(tmp_path: Path, server: ToxiproxyServer) -> None:
    """A fault of a suite's next run does not make the keeper forget one of the same name."""
    keeper = Keeper(60.0, environment={})
    journal = tmp_path / "events.jsonl"
    journal.touch()
    for run in ("first", "second"):
        port = kept(server, keeper, run, journal)
        undo = port.undo(LATE)
        port.arm(LATE, undo, 0.0)
        port.inject(LATE, undo)
    keeper.close()
    proxy = server.proxy("web")
    assert proxy is not None
    assert proxy.toxics == ()
