"""Programs that can be a load: an Inspect AI eval, a verifiers eval, each in an environment of its own.

Together, Inspect AI and verifiers hold `mcp` back, so neither may share an environment with Brownout. Where
an environment belongs is known without making it, so that a profile that needs a missing one says how to
make it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).resolve().parent
"""Requirements and examples, a folder for each environment."""
NAMES: Final = ("inspect", "verifiers")
HOME_VARIABLE: Final = "BROWNOUT_WORKLOADS"
STAMP: Final = ".ready"
"""The file in an environment that is written last: without it the environment is not whole."""


def home() -> Path:
    """The folder that the environments are in: `BROWNOUT_WORKLOADS`, the checkout's, or the user's."""
    if given := os.environ.get(HOME_VARIABLE):
        return Path(given).absolute()
    root = FOLDER.parents[1]
    if (root / "pyproject.toml").is_file():
        return root / ".tools" / "workloads"
    data = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(data) / "brownout" / "workloads"


def requirements(name: str) -> Path:
    """What is installed into the environment called `name`, with hashes."""
    return FOLDER / name / "requirements.txt"


def is_made(name: str) -> bool:
    """Whether the environment is there, whole, and no older than its requirements."""
    try:
        made = (home() / name / STAMP).stat().st_mtime
        return made >= requirements(name).stat().st_mtime
    except OSError:
        return False


def how_to_make(name: str) -> str:
    """The command that makes it."""
    return f"python -m loadtests.workloads {name}"
