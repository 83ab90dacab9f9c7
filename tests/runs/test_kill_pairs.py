"""Any one or two of a run's processes killed at any moment: nothing is left, and nobody is told that all is well.

By SIGKILL, to conductor, keeper, proxy and Locust, alone and in pairs, with faults of the network and of
processes in the run; behind the run's own proxy, a long-lived embedded one and a real Toxiproxy.
"""

from __future__ import annotations

import itertools
import os
import random
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from chaos.journal import Event, LoadStopped, outstanding, read_events
from tests.runs.conftest import LEASE_S, OBJECTIVE, PROFILE, Started, brownout, living, wait_for
from tests.runs.servers import ProxyServer, Web

KILLS = int(os.environ.get("BROWNOUT_KILLS", "24"))
AT_ONCE = 3
SEED = int(os.environ.get("BROWNOUT_KILL_SEED", "20261121"))
SECOND_WITHIN_S = 0.3
MARGIN_S = 30.0
"""Beyond the lease: how long a busy machine may take to heal."""

PARTS = ("conductor", "keeper", "proxy", "locust")
VICTIMS = [pair for size in (1, 2) for pair in itertools.combinations(PARTS, size)]
MOMENTS = {"set-up": 2.5, "baseline": 1.0, "fault": 3.0, "recovery": 1.0}
"""After the beginning of each part of the run the first kill comes within so many seconds."""
KINDS = ("own", "embedded", "toxiproxy")

EXPERIMENT = """\
apiVersion: brownout/v1
kind: Experiment
metadata: {name: all}
spec:
  target: web
  load: {profile: web, arrivals: 20/s}
  phases: {baseline: 1s, fault: 3s, recovery: 1s}
  faults:
    - {name: late, place: web, type: latency, latency: 80ms}
    - {name: gone, place: web, type: down, at: 500ms, for: 500ms}
    - {name: held, place: web, type: pause, at: 1200ms, for: 600ms}
    - {name: slowed, place: web, type: slow, stopped: 60%, period: 300ms, at: 2s, for: 800ms}
    - {name: beside, place: helper, type: pause, at: 300ms}
  objectives:
    - {ref: web-good, phases: [baseline], runbook: env-slow}
"""
TARGET = """\
apiVersion: brownout/v1
kind: Target
metadata: {{name: web}}
spec:
  services: {{web: {{url: "http://{address}", health: /}}}}
  processes:
    web: {{pid_file: {pid_file}}}
    helper: {{command: [sleep, "600"]}}
{toxiproxy}"""


@dataclass(frozen=True)
class Case:
    """Who is killed, when in the run, and how long after each other."""

    number: int
    victims: tuple[str, ...]
    phase: str
    offset_s: float
    between_s: float

    def __str__(self) -> str:
        return (
            f"kill {self.number}: {' then '.join(self.victims)}, {self.offset_s:.2f} s into {self.phase}, "
            f"{self.between_s * 1000:.0f} ms apart"
        )


def cases(kind: str) -> list[Case]:
    """Every set of victims as often, at moments over the whole run, drawn from the seed."""
    draw = random.Random(f"{SEED}/{kind}")
    victims: list[tuple[str, ...]] = []
    phases: list[str] = []
    count = KILLS // len(KINDS)
    while len(victims) < count:
        victims += draw.sample(VICTIMS, len(VICTIMS))
    while len(phases) < count:
        phases += draw.sample(list(MOMENTS), len(MOMENTS))
    return [
        Case(
            number,
            tuple(draw.sample(victims[number], len(victims[number]))),
            phases[number],
            draw.uniform(0.0, MOMENTS[phases[number]]),
            draw.uniform(0.0, SECOND_WITHIN_S),
        )
        for number in range(count)
    ]


class Lane:
    """One of several lanes in which runs are killed one after another: all that a run touches is the lane's."""

    def __init__(self, folder: Path, kind: str, toxiproxy: Path | None) -> None:
        folder.mkdir()
        self.folder = folder
        self.state = folder / "state"
        self.mark = f"BROWNOUT_STATE_DIR={self.state}"
        self.hits = 0
        self.cut = 0
        """Runs that were struck between their first and their last arrival."""
        self.web = Web(folder)
        self.server: ProxyServer | None = None
        if kind != "own":
            self.server = ProxyServer("embedded" if kind == "embedded" else "toxiproxy", toxiproxy, folder)
            self.server.put_theirs()
        for name in ("chaos/experiments", "chaos/targets", "loadtests/profiles", "slo/objectives"):
            (folder / name).mkdir(parents=True)
        config = f"apiVersion: brownout/v1\nkind: Project\nlease: {LEASE_S:g}s\nallow_commands: [sleep]\n"
        (folder / "brownout.yaml").write_text(config)
        (folder / "loadtests/profiles/web.yaml").write_text(PROFILE)
        (folder / "slo/objectives/web-good.yaml").write_text(OBJECTIVE)
        (folder / "chaos/experiments/all.yaml").write_text(EXPERIMENT)
        by_url = f"  toxiproxy: {self.server.api}\n" if self.server else ""
        target = TARGET.format(address=self.web.address, pid_file=self.web.pid_file, toxiproxy=by_url)
        (folder / "chaos/targets/web.yaml").write_text(target)

    def close(self) -> None:
        """End what belongs to the lane, and whatever a defect left."""
        for process in living(self.mark):
            process.kill()
        self.web.close()
        if self.server is not None:
            self.server.kill()

    def perform(self, case: Case) -> None:
        """One run, killed; then everything that must hold."""
        out = self.folder / f"runs-{case.number}"
        self.hits = 0
        run = brownout(self.folder, "run", "all", "--out", str(out), state=self.state, name="run")
        try:
            self._await(case, run, out)
            for victim in case.victims:
                self._kill(victim, run)
                time.sleep(case.between_s)
            last = [event.event for event in self._events(out)]
            self.cut += bool(self.hits) and "phase-started" in last and "arrivals-ended" not in last
            if "conductor" in case.victims:
                run.wait()
            else:
                self._check_ending(run, last, out)
            self._check_healing(case, out)
        finally:
            run.process.kill()
            run.process.wait()

    def _await(self, case: Case, run: Started, out: Path) -> None:
        """Until the drawn moment. (The sleep is the draw, not a synchronisation.)"""

        def begun() -> bool:
            phases = [
                getattr(event, "phase", "") for event in self._events(out) if event.event == "phase-started"
            ]
            return case.phase == "set-up" or case.phase in phases or run.process.poll() is not None

        wait_for(begun, 90, f"{case.phase} began; {run.told()}")
        time.sleep(case.offset_s)

    def _kill(self, victim: str, run: Started) -> None:
        """SIGKILL; somebody who is not there (yet, or any more) is not killed."""
        if victim == "conductor":
            self.hits += run.process.poll() is None
            run.process.kill()
        elif victim == "proxy" and self.server is not None:
            self.server.kill()
            self.hits += 1
        else:
            wanted = {"keeper": "chaos.keeper", "proxy": "chaos.proxy", "locust": "locust"}[victim]
            for process in living(self.mark):
                try:
                    if any(wanted in word for word in process.cmdline()):
                        process.kill()
                        self.hits += 1
                except psutil.NoSuchProcess:
                    continue

    def _check_ending(self, run: Started, events: list[str], out: Path) -> None:
        """The conductor lived: it ends, and says that it knows nothing where a part of the run was killed."""
        code = run.wait(120)
        assert code in (0, 3, 5), run.told()
        if "proxy-server-ready" in events and "arrivals-ended" not in events and self.hits:
            assert code != 0, f"a part was killed in mid-run, and the run passes: {run.told()}"
            said = {"part-died", "setup-failed"} & {event.event for event in self._events(out)}
            said |= {e.event for e in self._events(out) if isinstance(e, LoadStopped) and not e.complete}
            assert said, f"a part was killed in mid-run, and nobody says so: {run.told()}"

    def _check_healing(self, case: Case, out: Path) -> None:
        both_dead = {"conductor", "keeper"} <= set(case.victims)
        unreachable = self.server is not None and "proxy" in case.victims
        if not both_dead:
            wait_for(
                lambda: not self.stopped(), LEASE_S + MARGIN_S, "no process is held once the lease is over"
            )
        if not (both_dead or unreachable):
            wait_for(lambda: not living(self.mark), LEASE_S + MARGIN_S, "no process of the run is alive")
        if (
            self.server is not None
            and not unreachable
            and not (both_dead and "toxiproxy" in self.folder.name)
        ):
            server = self.server
            wait_for(server.has_theirs_only, LEASE_S + MARGIN_S, f"nothing but theirs on {server.api}")
        left = outstanding(self._events(out))
        named = [item.key for item in left if item.undo.server is not None] if unreachable else []
        healed = self._heal()
        assert healed[0] == (5 if named else 0), healed
        for key in named:
            assert self.server is not None
            assert f"{key} at {self.server.api}" in healed[1], healed
        if unreachable and self.server is not None:
            self.server.start()
            self.server.put_theirs()
            healed = self._heal()
            assert healed[0] == 0, healed
        assert "clean" in healed[1], healed
        again = self._heal()
        assert again[0] == 0, again
        assert "healed" not in again[1], f"the second heal found something: {again}"
        self._check_nothing_is_left(out)

    def _check_nothing_is_left(self, out: Path) -> None:
        assert living(self.mark) == []
        assert not self.stopped()
        assert self.web.process.poll() is None, "a process of somebody else's has ended"
        assert outstanding(self._events(out)) == []
        assert not list((self.state / "stages").glob("*.json"))
        if self.server is not None:
            assert self.server.has_theirs_only(), self.server.proxies()

    def stopped(self) -> bool:
        """Whether the web service is stopped by a signal, or something alive keeps stopping it."""
        throttled = any("throttle" in word for process in living(self.mark) for word in _words(process))
        return throttled or psutil.Process(self.web.process.pid).status() == psutil.STATUS_STOPPED

    def _heal(self) -> tuple[int, str]:
        healed = brownout(self.folder, "heal", state=self.state, name="heal")
        return healed.wait(120), healed.told()

    @staticmethod
    def _events(out: Path) -> list[Event]:
        """Every journal of a run can be read at any moment."""
        paths = out.glob("*/events.jsonl") if out.is_dir() else ()
        return [event for path in paths for event in read_events(path)]


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


@pytest.fixture
def lanes(tmp_path: Path, kind: str, request: pytest.FixtureRequest) -> Iterator[list[Lane]]:
    """The lanes of one kind of proxy server."""
    binary = request.getfixturevalue("toxiproxy_binary") if kind == "toxiproxy" else None
    made: list[Lane] = []
    try:
        for number in range(AT_ONCE):
            made.append(Lane(tmp_path / f"{kind}-{number}", kind, binary))
        yield made
    finally:
        for lane in made:
            lane.close()


@pytest.mark.timeout(120 + 30 * KILLS)
@pytest.mark.parametrize("kind", [*KINDS[:2], pytest.param(KINDS[2], marks=pytest.mark.toxiproxy)])
def test_any_one_or_two_killed(lanes: list[Lane], kind: str) -> None:
    """Whoever is killed, and whenever: all is healed within a lease, or by the next command, or is named."""
    todo = iter(cases(kind))
    failed: list[str] = []
    performed: list[Case] = []
    lock = threading.Lock()

    def work(lane: Lane) -> None:
        while not failed:
            with lock:
                case = next(todo, None)
            if case is None:
                return
            try:
                lane.perform(case)
            except Exception as error:
                failed.append(f"seed {SEED}, {kind}, {case}: {error!r}")
            performed.append(case)

    threads = [threading.Thread(target=work, args=(lane,)) for lane in lanes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed, "\n".join(failed)
    assert len(performed) == KILLS // len(KINDS)
    assert sum(lane.cut for lane in lanes), "no kill fell into a run: the test did not test anything"
