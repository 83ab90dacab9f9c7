"""Where Brownout remembers what is unfinished, outside any project."""

from __future__ import annotations

import os
from pathlib import Path


def state_folder() -> Path:
    """`$BROWNOUT_STATE_DIR`, else `$XDG_STATE_HOME/brownout`, else `~/.local/state/brownout`."""
    if own := os.environ.get("BROWNOUT_STATE_DIR"):
        return Path(own)
    base = os.environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path.home() / ".local" / "state") / "brownout"
