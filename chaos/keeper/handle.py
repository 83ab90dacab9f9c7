"""The conductor's handle on its keeper: start processes, hold undos, renew the lease."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from chaos.faults.undo import Undo
from chaos.journal import FaultHealed, ProxyRemoved
from chaos.registry import MARKER


class KeeperLost(OSError):
    """The keeper is gone, or does not answer."""


class Keeper:
    """A running keeper. Every method may be called from any thread.

    The lease is renewed by a thread of the conductor, so that a conductor that is stopped or hangs as a
    whole loses it. `on_exit(name, code)` is called from the reading thread when a process ends by itself.
    """

    def __init__(
        self, lease_s: float, *, environment: Mapping[str, str], pass_fds: Sequence[int] = ()
    ) -> None:
        self._marks = {MARKER: environment[MARKER]} if MARKER in environment else {}
        self._environment = {**os.environ, **environment}
        self._ids = itertools.count(1)
        self._waiting: dict[int, queue.SimpleQueue[dict[str, Any] | None]] = {}
        self._lock = threading.Lock()
        self._lease_s = lease_s
        self._assured = time.monotonic()
        self._closing = threading.Event()
        self.exited: queue.SimpleQueue[tuple[str, int]] = queue.SimpleQueue()
        self.lost = threading.Event()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "chaos.keeper", str(lease_s)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **self._marks},  # the rest is for what it starts, not for what its heals run
            start_new_session=True,
            pass_fds=tuple(pass_fds),
        )
        self.pid = self._process.pid
        self._reader = threading.Thread(target=self._read, name="keeper-reader", daemon=True)
        self._reader.start()
        self._renewer = threading.Thread(
            target=self._renew, args=(lease_s / 4,), name="keeper-renewer", daemon=True
        )
        self._renewer.start()

    @property
    def environment(self) -> dict[str, str]:
        """What processes get that are given none of their own."""
        return dict(self._environment)

    def spawn(
        self,
        name: str,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        logs: Path,
        cwd: str | None = None,
    ) -> int:
        """Start a process; its output goes to `NAME.out` and `NAME.err` in `logs`. Returns its pid.

        `env` is its whole environment but for the keeper's mark; None is the keeper's own.

        Raises:
            KeeperLost: the keeper is gone, or could not start the process.
        """
        logs.mkdir(parents=True, exist_ok=True)
        reply = self._ask(
            op="spawn",
            name=name,
            argv=list(argv),
            cwd=cwd,
            env={**(self._environment if env is None else env), **self._marks},
            out=str(logs / f"{name}.out"),
            err=str(logs / f"{name}.err"),
        )
        return int(reply["pid"])

    def write(self, name: str, text: str) -> None:
        """Write to a process's stdin. Raises KeeperLost when either is gone."""
        self._ask(op="write", name=name, text=text)

    def stop(self, name: str, *, grace_s: float = 3.0) -> int | None:
        """End a process; its exit code, or None when it had ended already."""
        try:
            return int(self._ask(op="stop", name=name, grace_s=grace_s, patience_s=grace_s + 10)["code"])
        except KeeperLost:
            return None

    def hold(
        self,
        key: str,
        undo: Undo,
        journal: Path,
        event: FaultHealed | ProxyRemoved,
        *,
        carrier: str | None = None,
    ) -> None:
        """Have the keeper undo this, should the conductor die; `event` is journalled then.

        `carrier` names the process, started by the keeper, with whose end it is gone in any case.
        """
        self._ask(
            op="hold",
            key=key,
            undo=undo.model_dump(mode="json"),
            journal=str(journal),
            event=event.model_dump(mode="json"),
            carrier=carrier,
        )

    def answered(self, key: str, *, known: bool = True) -> None:
        """What is held was done, or refused; or, not `known`, no answer came and it may be done yet."""
        with contextlib.suppress(OSError):
            self._send({"op": "answered", "key": key, "known": known})

    def assure(self) -> None:
        """Return only while the keeper holds its lease: a conductor that was stopped for long has lost it.

        Raises:
            KeeperLost: it is gone, has given us up, or does not answer.
        """
        if self.lost.is_set() or time.monotonic() - self._assured > self._lease_s / 2:
            self._ask(op="renew")

    def release(self, key: str) -> None:
        """The conductor has undone it itself."""
        with contextlib.suppress(KeeperLost):
            self._ask(op="release", key=key)

    def close(self) -> None:
        """End the keeper, and with it every process and fault that is left."""
        self._closing.set()
        with contextlib.suppress(OSError):
            self._send({"op": "end"})
        with contextlib.suppress(OSError):
            assert self._process.stdin is not None  # noqa: S101 - it was opened as a pipe
            self._process.stdin.close()
        try:
            self._process.wait(60 + self._lease_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join()
        self._renewer.join()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _ask(self, *, patience_s: float = 10.0, **request: Any) -> dict[str, Any]:
        ident = next(self._ids)
        box: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._waiting[ident] = box
        asked = time.monotonic()
        try:
            self._send({**request, "id": ident})
            reply = box.get(timeout=patience_s)
        except (queue.Empty, OSError) as error:
            raise KeeperLost(f"the keeper (pid {self.pid}) does not answer") from error
        finally:
            self._waiting.pop(ident, None)
        if reply is None:
            raise KeeperLost(f"the keeper (pid {self.pid}) has ended")
        self._assured = max(self._assured, asked)  # its lease is counted from when it read the request
        if "error" in reply:
            raise KeeperLost(
                f"the keeper could not {request['op']} {request.get('name', '')}: {reply['error']}"
            )
        return reply

    def _send(self, message: dict[str, Any]) -> None:
        with self._lock:
            if self.lost.is_set() or self._process.stdin is None or self._process.stdin.closed:
                raise KeeperLost(f"the keeper (pid {self.pid}) has ended")
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
            self._process.stdin.flush()

    def _renew(self, every_s: float) -> None:
        while not self._closing.wait(every_s):
            with contextlib.suppress(KeeperLost):  # one that ends a process answers when it is done
                self._ask(op="renew")
            if self.lost.is_set():
                return

    def _read(self) -> None:
        if self._process.stdout is None:
            return
        for line in self._process.stdout:
            message = json.loads(line)
            if "exited" in message:
                self.exited.put((message["exited"], message["code"]))
            elif "lapsed" in message:
                self._give_up()  # it reads no request any more, and heals
            elif (box := self._waiting.get(message.get("id", 0))) is not None:
                box.put(message)
        self._give_up()

    def _give_up(self) -> None:
        self.lost.set()
        for box in list(self._waiting.values()):
            box.put(None)
