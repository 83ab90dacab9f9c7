"""Running a shipped suite through the command line, on both proxy servers side by side."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from chaos.verdict import Verdict


def run_suite(name: str, out: Path, *more: str, **environment: str) -> tuple[int, list[Verdict], str]:
    """The suite's exit code, its verdicts in order, and what was said on stderr."""
    done = subprocess.run(
        [sys.executable, "-m", "chaos", "run", name, "--json", "--seed", "1", "--out", str(out), *more],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )
    verdicts = [Verdict.model_validate(raw) for raw in json.loads(done.stdout or "[]")]
    return done.returncode, verdicts, done.stderr


@dataclass
class Ran:
    """What a suite came to with one kind of proxy server."""

    out: Path
    code: int
    verdicts: list[Verdict]
    log: str


class BothProxies:
    """A suite on the embedded proxy and, where one can be had, on a real Toxiproxy at the same time.

    Experiments wait more than they work. Each has a state folder of its own: they share no target.
    """

    def __init__(self, name: str, folder: Path, toxiproxy_api: str | None) -> None:
        self._pool = ThreadPoolExecutor(2)
        self._embedded = self._pool.submit(self._run, name, folder / "embedded")
        self._toxiproxy: Future[Ran] | None = None
        if toxiproxy_api is not None:
            more = ("--toxiproxy", toxiproxy_api)
            self._toxiproxy = self._pool.submit(self._run, name, folder / "toxiproxy", *more)

    @staticmethod
    def _run(name: str, folder: Path, *more: str) -> Ran:
        folder.mkdir()
        out = folder / "runs"
        return Ran(out, *run_suite(name, out, *more, BROWNOUT_STATE_DIR=str(folder / "state")))

    def embedded(self) -> Ran:
        """On the embedded proxy; waits for it."""
        return self._embedded.result()

    def toxiproxy(self) -> Ran:
        """On a real Toxiproxy; waits for it."""
        assert self._toxiproxy is not None, "there is no Toxiproxy"
        return self._toxiproxy.result()

    def close(self) -> None:
        """Wait for both."""
        self._pool.shutdown()


def told(verdicts: list[Verdict], log: str) -> str:
    """What a failed assertion should show."""
    return "\n".join(f"{v.experiment}: {v.outcome} {v.reasons}" for v in verdicts) + log[-2000:]
