"""Golden trajectories: episodes that were recorded, to be played again against every later version.

A file has one JSON object on each line. A line with `reset` (what the reset carried) begins a trajectory, and
may hold `ignore`, the JSON pointers that digests of its observations leave out; each line after it has an
`action`. Both say what was answered: `reward`, `done` and `observation`, the digest of what was observed. Any
of the three may be left out, and is then not compared.

Invariant: a digest is that of the observation's canonical JSON (sorted keys, no spaces), so it depends on
nothing but the values.
"""

from __future__ import annotations

import json
import os
import random
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, ClassVar, Final

from loadtests.policies.policy import UNKNOWN, Expected, JsonObject, Move, Player, Seen

MOST_BYTES: Final = 64 * 1024 * 1024
DIGEST_BYTES: Final = 16
_KEYS: Final = {"reward", "done", "observation"}


class BadTrajectory(ValueError):
    """A file that holds no trajectories; `line` from 1, or 0: the file as a whole."""

    def __init__(self, message: str, line: int = 0) -> None:
        super().__init__(message)
        self.line = line


@dataclass(frozen=True, slots=True)
class Trajectory:
    """One recorded episode. `item` names it by where it begins in its file."""

    item: str
    reset: JsonObject
    opening: Expected
    ignore: tuple[str, ...]
    moves: tuple[Move, ...]


@dataclass(frozen=True, slots=True)
class RecordedPlayer:
    """Plays a trajectory to its end."""

    trajectory: Trajectory
    ends: ClassVar[bool] = False
    strict: ClassVar[bool] = True

    @property
    def item(self) -> str:
        """The trajectory's name."""
        return self.trajectory.item

    @property
    def reset(self) -> JsonObject:
        """What the reset carried."""
        return self.trajectory.reset

    @property
    def opening(self) -> Expected:
        """What the reset was answered."""
        return self.trajectory.opening

    @property
    def ignore(self) -> tuple[str, ...]:
        """What digests leave out."""
        return self.trajectory.ignore

    def move(self, step: int, seen: Seen) -> Move | None:
        """The recorded action."""
        del seen
        moves = self.trajectory.moves
        return moves[step - 1] if step <= len(moves) else None


@dataclass(frozen=True, slots=True)
class RecordedPolicy:
    """Plays the trajectories of a file, drawn by the episode's own generator."""

    trajectories: tuple[Trajectory, ...]

    def player(self, task: int, steps: int | None, rng: random.Random) -> Player:
        """The player of one of them."""
        del task, steps
        return RecordedPlayer(rng.choice(self.trajectories))


def digest(observation: JsonObject, ignore: tuple[str, ...]) -> str:
    """What tells one observation from another: 32 hexadecimal digits of BLAKE2b."""
    for pointer in ignore:
        keys = [key.replace("~1", "/").replace("~0", "~") for key in pointer.split("/")[1:]]
        observation = _without(observation, keys)
    canonical = json.dumps(observation, sort_keys=True, separators=(",", ":"))
    return blake2b(canonical.encode(), digest_size=DIGEST_BYTES).hexdigest()


def _without(value: Any, keys: list[str]) -> Any:
    """The value without what stands below `keys` (RFC 6901); what is shared is not changed."""
    first, *rest = keys
    if isinstance(value, dict) and first in value:
        if not rest:
            return {key: each for key, each in value.items() if key != first}
        return {**value, first: _without(value[first], rest)}
    if isinstance(value, list) and first.isascii() and first.isdigit() and int(first) < len(value):
        at = int(first)
        return [*value[:at], *([_without(value[at], rest)] if rest else []), *value[at + 1 :]]
    return value


def read(path: Path) -> tuple[Trajectory, ...]:
    """The trajectories of a file. Raises BadTrajectory, with the line of the first that is wrong."""
    found: list[Trajectory] = []
    begun: tuple[int, JsonObject, Expected, tuple[str, ...]] | None = None
    moves: list[Move] = []

    def end(line: int) -> None:
        if begun is None:
            return
        if not moves:
            raise BadTrajectory("expected an action after the reset", line)
        number, reset, opening, ignore = begun
        found.append(Trajectory(f"trajectory-{number}", reset, opening, ignore, tuple(moves)))
        moves.clear()

    number = 0
    for number, text in enumerate(_text(path).splitlines(), 1):
        if not text.strip():
            continue
        line = _line(text, number)
        if "reset" in line:
            end(number)
            begun = (number, line["reset"], _expected(line, number), tuple(line.get("ignore") or ()))
        elif begun is None:
            raise BadTrajectory("expected a reset before the first action", number)
        else:
            moves.append(Move(line["action"], _expected(line, number)))
    end(number)
    if not found:
        raise BadTrajectory(f"{path} has no trajectory")
    return tuple(found)


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > MOST_BYTES:
            raise BadTrajectory(f"{path}: expected at most {MOST_BYTES // 2**20} MiB")
        return path.read_text("utf-8")
    except OSError as error:
        raise BadTrajectory(f"{path} cannot be read: {(error.strerror or str(error)).lower()}") from error
    except UnicodeDecodeError as error:
        raise BadTrajectory(f"{path} cannot be read: it is no UTF-8") from error


def _line(text: str, number: int) -> JsonObject:
    """A line, checked but for what it expects."""
    try:
        line: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadTrajectory(f"expected a JSON object, got {text[:60]}", number) from error
    kinds = {"reset", "action"} & set(line) if isinstance(line, dict) else set()
    if len(kinds) != 1:
        raise BadTrajectory("expected an object with reset or with action", number)
    (kind,) = kinds
    allowed = {kind, *_KEYS, *({"ignore"} if kind == "reset" else ())}
    if unknown := sorted(set(line) - allowed):
        raise BadTrajectory(f"no such key here: {unknown[0]}; expected {', '.join(sorted(allowed))}", number)
    if not isinstance(line[kind], dict):
        raise BadTrajectory(f"{kind}: expected an object", number)
    ignore = line.get("ignore")
    if ignore is not None and not (
        isinstance(ignore, list) and all(isinstance(p, str) and p.startswith("/") for p in ignore)
    ):
        raise BadTrajectory("ignore: expected a list of JSON Pointers such as /episode_id", number)
    found: JsonObject = line
    return found


def _expected(line: JsonObject, number: int) -> Expected:
    """What a line says was answered."""
    reward, done, observation = line.get("reward"), line.get("done"), line.get("observation")
    if reward is not None and (isinstance(reward, bool) or not isinstance(reward, int | float)):
        raise BadTrajectory(f"reward: expected a number or null, got {reward!r}", number)
    if done is not None and not isinstance(done, bool):
        raise BadTrajectory(f"done: expected true or false, got {done!r}", number)
    if observation is not None and not isinstance(observation, str):
        raise BadTrajectory(f"observation: expected a digest, got {str(observation)[:60]!r}", number)
    if (reward, done, observation) == (None, None, None):
        return UNKNOWN
    return Expected(None if reward is None else float(reward), None, done, observation)


class Recorder:
    """Appends episodes to a file, each whole and once.

    Several processes may append to one file: a trajectory is one write at its end.
    """

    def __init__(self, path: Path, ignore: tuple[str, ...]) -> None:
        self.ignore = ignore
        self._path = path
        self._recorded: set[str] = set()

    def record(self, reset: JsonObject, opening: Seen, played: list[tuple[JsonObject, Seen]]) -> bool:
        """Append an episode, unless the same one was appended by this process. Raises OSError."""
        begun = {
            "reset": reset,
            **({"ignore": list(self.ignore)} if self.ignore else {}),
            **self._said(opening),
        }
        lines = [begun, *({"action": action, **self._said(seen)} for action, seen in played)]
        text = "".join(json.dumps(line) + "\n" for line in lines)
        if text in self._recorded:
            return False
        fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        try:
            data = text.encode()
            if os.write(fd, data) < len(data):
                raise OSError(f"{self._path}: a trajectory was written in part only")
        finally:
            os.close(fd)
        self._recorded.add(text)
        return True

    def _said(self, seen: Seen) -> JsonObject:
        return {
            "reward": seen.reward,
            "done": bool(seen.done),
            "observation": digest(seen.observation, self.ignore),
        }
