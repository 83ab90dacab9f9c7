"""The keeper's process: `python -m chaos.keeper LEASE_S`, spoken to in JSON lines on stdin and stdout.

It is the parent of every process of a run, and holds the undo of every fault. The conductor renews its lease
with each line. When the line breaks (the conductor died) or falls silent for a lease (it hangs), the keeper
heals every fault it holds and ends every process it started, journals both, and goes. So that nothing can be
left behind in between, a process is started by the keeper, never by the conductor, and a fault is held here
before it is injected.

Standard library only until there is something to heal: it has to be up before the conductor can do anything.

Requests, one JSON object a line (answers carry the request's `id`):
  {"op": "spawn", "id", "name", "argv", "env", "cwd", "out", "err"}  -> {"id", "pid"} or {"id", "error"}
  {"op": "write", "id", "name", "text"}                       -> {"id"} or {"id", "error"}
  {"op": "stop",  "id", "name", "grace_s"}                    -> {"id", "code"}
  {"op": "hold",  "id", "key", "undo", "journal", "event", "carrier"} -> {"id"}; "event" is journalled once
                                                              healed; "carrier": the process it ends with
  {"op": "answered", "key", "known"}                          (no answer) what is held has been injected, or
                                                              refused; with "known" false nobody knows
  {"op": "release", "id", "key"}                              -> {"id"}
  {"op": "renew", "id"}                                       -> {"id"}
  {"op": "end"}                                               (no answer) heal what is held once, and go
Unasked: {"exited": name, "code": N} when a process ends by itself, {"lapsed": true} when the lease ran out.

What was held but never answered may still be on its way to a slow proxy server: it is healed at once, and
again and again until a lease has passed, and only then written down as healed.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import select
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Any

GRACE_S = 3.0
HEAL_PATIENCE_S = 30.0
HEAL_AGAIN_S = 0.5


@dataclass
class Holding:
    """An undo as it was sent, and what is known of what it undoes.

    `carrier` is the process that takes it along when it ends. `asked` is when its injection was last known
    to be under way (monotonic seconds); None when it was answered. `tries` counts the times it was undone.
    """

    raw: dict[str, Any]
    carrier: subprocess.Popen[bytes] | None
    asked: float | None
    tries: int = 0


class Keeper:
    """Children, held undos and the lease. All state lives in this process's single thread."""

    def __init__(self, lease_s: float) -> None:
        self.lease_s = lease_s
        self.deadline = time.monotonic() + lease_s
        self.children: dict[str, subprocess.Popen[bytes]] = {}
        self.held: dict[str, Holding] = {}
        self.patience_s = HEAL_PATIENCE_S
        self.hurried = False

    def answer(self, message: dict[str, Any]) -> None:
        """Tell the conductor; it may be gone, which is no reason to stop."""
        with contextlib.suppress(OSError):
            os.write(1, json.dumps(message).encode() + b"\n")

    def handle(self, request: dict[str, Any]) -> None:
        """Perform one request."""
        self.deadline = time.monotonic() + self.lease_s
        operation, ident = request["op"], request.get("id")
        try:
            reply = getattr(self, f"on_{operation}")(request)
        except (OSError, KeyError, ValueError) as error:
            reply = {"error": f"{type(error).__name__}: {error}"}
        if ident is not None:
            self.answer({"id": ident, **(reply or {})})

    def on_renew(self, _: dict[str, Any]) -> None:
        """Nothing beyond what every request does: the lease is renewed."""

    def on_end(self, _: dict[str, Any]) -> None:
        """The conductor has done what it could: what cannot be reached is tried once more, and left."""
        self.patience_s = 0.0

    def on_spawn(self, request: dict[str, Any]) -> dict[str, Any]:
        """Start a process in a session of its own, with its output in files and its stdin held here."""
        with open(request["out"], "ab") as out, open(request["err"], "ab") as err:
            child = subprocess.Popen(
                request["argv"],
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=err,
                env=request["env"],
                cwd=request.get("cwd"),
                start_new_session=True,
            )
        self.children[request["name"]] = child
        return {"pid": child.pid}

    def on_write(self, request: dict[str, Any]) -> None:
        """Write a line to a child's stdin."""
        stdin = self.children[request["name"]].stdin
        if stdin is not None:
            stdin.write(request["text"].encode())
            stdin.flush()

    def on_stop(self, request: dict[str, Any]) -> dict[str, Any]:
        """End a process: its stdin is closed, then SIGTERM, then SIGKILL to its whole group."""
        child = self.children.pop(request["name"])
        return {"code": self.end(child, float(request["grace_s"]))}

    def on_hold(self, request: dict[str, Any]) -> None:
        """Remember how to undo something that is about to be done."""
        carrier = self.children.get(request.get("carrier") or "")
        raw = {k: request[k] for k in ("undo", "journal", "event")}
        self.held[request["key"]] = Holding(raw, carrier, asked=math.inf)

    def on_answered(self, request: dict[str, Any]) -> None:
        """Whether it was done is known; or, as no answer came, it may be done at any time from now on."""
        if (holding := self.held.get(request["key"])) is not None:
            holding.asked = None if request["known"] else time.monotonic()

    def on_release(self, request: dict[str, Any]) -> None:
        """Forget an undo: the conductor has done it."""
        self.held.pop(request["key"], None)

    def end(self, child: subprocess.Popen[bytes], grace_s: float) -> int:
        """Stop one child and whatever is left of its process group."""
        if child.stdin is not None:
            with contextlib.suppress(OSError):
                child.stdin.close()
        for number, patience in ((signal.SIGTERM, grace_s), (signal.SIGKILL, GRACE_S)):
            if child.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    child.send_signal(number)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.wait(patience)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
        return child.wait()

    def reap(self) -> None:
        """Report children that ended by themselves."""
        for name, child in list(self.children.items()):
            if (code := child.poll()) is not None:
                del self.children[name]
                self.end(child, 0.0)  # its own children go with it
                self.answer({"exited": name, "code": code})

    def heal(self) -> bool:
        """Undo all that is held, and journal each; True when nothing is left. Imports late: see above."""
        from chaos.faults.heal import heal
        from chaos.faults.late import may_come_late, worth_repeating
        from chaos.keeper.held import Held

        for key, holding in list(self.held.items()):
            held = Held.model_validate(holding.raw)
            settled = holding.asked is None or not may_come_late(held.undo)
            settled = settled or time.monotonic() - (holding.asked or 0.0) >= self.lease_s
            if not settled and holding.tries and not worth_repeating(held.undo):
                continue
            if holding.carrier is None or holding.carrier.poll() is None:
                try:
                    heal(held.undo)
                except (OSError, ValueError) as error:
                    self.complain(f"could not heal {key}: {error}")
                    continue
                holding.tries += 1
                if not settled:
                    continue
            del self.held[key]
            try:
                held.write_down()
            except (
                OSError
            ) as error:  # a full disk: the next command heals it once more, which changes nothing
                self.complain(f"{key} is healed, but its journal cannot be written: {error}")
        return not self.held

    def complain(self, text: str) -> None:
        """Say what went wrong; whoever would read it may be gone, which is no reason to stop."""
        with contextlib.suppress(OSError):
            os.write(2, f"keeper: {text}\n".encode())

    def abandon(self) -> None:
        """The conductor is gone or silent: heal, end every process, heal what needed a process to end.

        Faults go first, while the proxies that carry them still answer; then processes. What could not be
        reached, and what may still come, is tried until `HEAL_PATIENCE_S` has passed, or until somebody sends
        SIGTERM, who then sees to it; the journal still says that it is pending: the next command takes over.
        """
        self.answer({"lapsed": True})
        began = time.monotonic()
        for holding in self.held.values():
            if holding.asked == math.inf:
                holding.asked = began  # a request of a conductor that is gone was sent before this
        healed = self.heal() if self.held else True
        for child in self.children.values():
            if child.stdin is not None:
                with contextlib.suppress(OSError):
                    child.stdin.close()
            with contextlib.suppress(ProcessLookupError):
                child.terminate()
        for child in self.children.values():
            self.end(child, GRACE_S)
        self.children.clear()
        healed = healed or self.heal()
        until = began + self.patience_s
        while not (healed or self.hurried) and (time.monotonic() < until or self.settling()):
            time.sleep(HEAL_AGAIN_S)
            healed = self.heal()

    def settling(self) -> bool:
        """Whether something was undone that may come once more."""
        latest = time.monotonic() - self.lease_s - GRACE_S
        return any(h.tries and h.asked is not None and h.asked > latest for h in self.held.values())

    def serve(self) -> None:
        """Until stdin ends, the lease runs out, or SIGTERM comes."""
        wake_read, wake_write = os.pipe()
        os.set_blocking(wake_write, False)
        os.set_blocking(wake_read, False)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        ending: list[int] = []

        def end(number: int, _: object) -> None:
            self.hurried = bool(ending)  # the first one means: heal; another: somebody waits for us to go
            ending.append(number)

        signal.signal(signal.SIGTERM, end)
        for number in (signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda *_: None)  # not SIG_IGN, which what is started would inherit
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        buffer = b""
        while not ending:
            left = self.deadline - time.monotonic()
            ready, _, _ = select.select([0, wake_read], [], [], max(0.0, left))
            if left <= 0 and 0 not in ready:
                break  # what has come in while a process was being ended, or we were suspended, renews it
            if wake_read in ready:
                with contextlib.suppress(BlockingIOError):
                    os.read(wake_read, 4096)
                self.reap()
            if 0 in ready:
                data = os.read(0, 1 << 16)
                if not data:
                    break
                *lines, buffer = (buffer + data).split(b"\n")
                for line in lines:
                    self.handle(json.loads(line))
        self.abandon()


if __name__ == "__main__":
    Keeper(float(sys.argv[1])).serve()
