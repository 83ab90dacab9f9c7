"""A stage: what serves all runs of one `brownout run`, started once and ended with it.

The registry entry is written before the keeper starts, and the keeper starts before anything else: from then
on everything that is started has an owner that outlives the conductor by a lease at most.
"""

from __future__ import annotations

import queue
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from chaos.conductor.perform import Stopped
from chaos.conductor.ready import healthy, ready_line, wait_until
from chaos.healing import end_processes
from chaos.journal import PartDied, outstanding, read_events
from chaos.keeper.handle import Keeper
from chaos.plan import PlannedDemo
from chaos.registry import MARKER, Registration, StateUnusable, processes_of
from probes.otlp import Receiver

DEMO_WITHIN_S = 60.0


@dataclass
class _Spawn:
    """How a process was started; a demo service's argv ends in its port."""

    argv: list[str]
    env: dict[str, str] | None
    logs: Path
    cwd: str | None


class Stage:
    """The receiver, the keeper and the demo services of one invocation."""

    def __init__(self, lease_s: float, otlp_port: int = 0) -> None:
        """Starts receiver and keeper.

        Raises:
            StateUnusable: the registry cannot be written.
            OSError: `otlp_port` (0: any) cannot be had.
        """
        self.receiver = Receiver(port=otlp_port)
        self.receiver.start()
        try:
            self.registration = Registration()
        except OSError as error:
            self.receiver.stop()
            raise StateUnusable(str(error)) from error
        name = self.registration.stage.stage
        environment = {MARKER: name, "OTEL_EXPORTER_OTLP_ENDPOINT": self.receiver.endpoint}
        self.keeper = Keeper(lease_s, environment=environment, pass_fds=[self.registration.keeper_fd])
        self._logs = self.registration.stage.logs
        self._expected: set[str] = set()
        self._gone: dict[str, int] = {}
        self._demos: dict[str, str] = {}
        self._started: dict[str, _Spawn] = {}
        self._pids: dict[str, int] = {}
        self.unhealed: list[Path] = []
        """The journals that say that something may still be in place."""

    def __enter__(self) -> Stage:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.keeper.close()
        self.receiver.stop()
        name = self.registration.stage.stage
        survivors = end_processes(processes_of(name))  # none, unless the keeper itself was killed
        # The keeper has tried once more by now; what is still open stays registered for `brownout heal`.
        self.unhealed = [path for path in self.unhealed if _is_open(path)]
        self.registration.close(clean=not survivors and not self.unhealed)

    def start_demo(self, demo: PlannedDemo) -> None:
        """Start a demo service in the background, unless it runs already; one that died is started anew."""
        name = demo.process
        if name not in self._expected or not self.lives(name):
            self._demos.pop(name, None)
            argv = [sys.executable, "-m", "chaos.demo", *demo.arguments, "--exit-with-stdin", "--port", "0"]
            self.spawn(name, argv, None, self._logs)

    def demo_address(self, demo: PlannedDemo, check: Callable[[], None]) -> str:
        """host:port of a demo service, once it is healthy; `check` is called on the way. Raises NotReady."""
        self.start_demo(demo)
        name = demo.process
        if name not in self._demos:

            def lives() -> bool:
                check()
                return self.lives(name)

            address = ready_line(name, self._logs, lives, within_s=DEMO_WITHIN_S)["address"]
            wait_until(f"demo {name}", lambda: healthy(address, "/healthz"), within_s=DEMO_WITHIN_S)
            self._demos[name] = address
            # Started again, it has to be where it was: a proxy stands before it.
            self._started[name].argv[-1] = address.rpartition(":")[2]
        return self._demos[name]

    def spawn(
        self,
        name: str,
        argv: list[str],
        env: dict[str, str] | None,
        logs: Path,
        *,
        cwd: str | None = None,
    ) -> None:
        """Start a process that runs are to notice the end of. Raises KeeperLost."""
        self._drain()  # that the last one of this name ended may not have been read yet
        self._gone.pop(name, None)
        for stale in (logs / f"{name}.out", logs / f"{name}.err"):
            stale.unlink(missing_ok=True)  # the ready line of one that died is not this one's
        self._pids[name] = self.keeper.spawn(name, argv, env=env, logs=logs, cwd=cwd)
        self._started[name] = _Spawn(argv, env, logs, cwd)
        self._expected.add(name)

    def start_again(self, name: str) -> None:
        """Start a process that has ended, as it was started before. Raises KeeperLost."""
        was = self._started[name]
        self.spawn(name, was.argv, was.env, was.logs, cwd=was.cwd)

    def pid(self, name: str) -> int:
        """The pid of a process that `spawn` started."""
        return self._pids[name]

    def await_end(self, name: str, within_s: float) -> None:
        """Wait until the keeper has told that a process ended. Raises NotReady."""
        wait_until(f"the end of {name}", lambda: not self.lives(name), within_s=within_s)

    def expect_end(self, name: str) -> None:
        """From here on the end of this process is no surprise."""
        self._expected.discard(name)

    def stop(self, name: str) -> None:
        """End a process that `spawn` started."""
        self.expect_end(name)
        self.keeper.stop(name)

    def lives(self, name: str) -> bool:
        """Whether a process that `spawn` started is still running."""
        self._drain()
        return name not in self._gone and not self.keeper.lost.is_set()

    def how_ended(self, name: str) -> str:
        """How a process that `spawn` started has ended."""
        code = self._gone.get(name)
        if code is None:
            return "the keeper that it belonged to ended"
        return f"killed by signal {-code}" if code < 0 else f"ended with exit code {code}"

    def check(self) -> None:
        """Raise Stopped when the keeper or a process that runs depend on has ended."""
        self._drain()
        if self.keeper.lost.is_set():
            raise Stopped("part-died", PartDied(part="keeper", reason="the keeper process ended"))
        for name in self._expected & self._gone.keys():
            raise Stopped("part-died", PartDied(part=name, reason=self.how_ended(name)))

    def _drain(self) -> None:
        while True:
            try:
                name, code = self.keeper.exited.get_nowait()
            except queue.Empty:
                return
            self._gone[name] = code


def _is_open(journal: Path) -> bool:
    """Whether something is still to be undone; of a journal that cannot be read that is not known."""
    try:
        return bool(outstanding(read_events(journal)))
    except (OSError, ValueError):
        return True
