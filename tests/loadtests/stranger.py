"""An environment that is not the demo's: a guessing game on openenv-core's own server, with a strict schema.

Its action has one field and, as openenv-core's actions do, forbids others. Run as a module it serves on a free
port, which it prints. `--right` is what the right guess earns: another version of it earns something else.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import uvicorn

from chaos.demo.openenv import Action, ConcurrencyConfig, Environment, Observation, State, create_app

LIMIT = 64


class Guess(Action):  # type: ignore[misc]  # openenv-core ships no types
    """What is guessed."""

    number: int


class Hint(Observation):  # type: ignore[misc]  # openenv-core ships no types
    """What is known by now: the number is from `low` to `high`. `token` is new each time."""

    low: int
    high: int
    middle: int
    limit: int
    token: str


def game(right: float) -> type[Any]:
    """The environment."""

    class Game(Environment):  # type: ignore[misc]  # openenv-core ships no types
        SUPPORTS_CONCURRENT_SESSIONS = True

        def __init__(self) -> None:
            super().__init__()
            self.low = self.high = self.number = 0
            self.limit = LIMIT
            self.steps = 0

        def reset(
            self, seed: int | None = None, episode_id: str | None = None, limit: int = LIMIT, **_: Any
        ) -> Any:
            self.limit = limit
            self.low, self.high, self.steps = 1, limit, 0
            self.number = random.Random(seed).randint(1, limit)
            return self._hint(None, done=False)

        def step(self, action: Any, timeout_s: float | None = None, **_: Any) -> Any:
            self.steps += 1
            guess = action.number
            if guess < self.number:
                self.low = max(self.low, guess + 1)
            elif guess > self.number:
                self.high = min(self.high, guess - 1)
            found = guess == self.number
            return self._hint(right if found else -0.1, done=found)

        @property
        def state(self) -> Any:
            return State(step_count=self.steps)

        def _hint(self, reward: float | None, *, done: bool) -> Hint:
            return Hint(
                low=self.low,
                high=self.high,
                middle=(self.low + self.high) // 2,
                limit=self.limit,
                token=uuid.uuid4().hex,
                reward=reward,
                done=done,
            )

    return Game


def main() -> None:
    """Serve until the end."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--right", type=float, default=1.0)
    right = parser.parse_args().right
    app = create_app(
        game(right),
        Guess,
        Hint,
        env_name="game",
        concurrency_config=ConcurrencyConfig(max_concurrent_envs=200),
    )
    listener = socket.create_server(("127.0.0.1", 0))
    print(json.dumps(listener.getsockname()[1]), flush=True)
    uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listener])


@contextlib.contextmanager
def stranger(folder: Path, right: float = 1.0) -> Iterator[str]:
    """A process of it; yields its URL."""
    log = folder / f"stranger-{right:g}.log"
    command = [sys.executable, "-m", "tests.loadtests.stranger", "--right", str(right)]
    with (
        log.open("wb") as stderr,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr) as process,
    ):
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            assert line, log.read_text()
            yield f"http://127.0.0.1:{json.loads(line)}"
        finally:
            process.kill()


if __name__ == "__main__":
    main()
