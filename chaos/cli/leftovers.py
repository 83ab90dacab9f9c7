"""Healing before any other command: what a dead run left behind is taken away by whoever comes next."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chaos.healing import Left


def heal_first() -> tuple[Left, ...]:
    """Heal dead runs, and say so on stderr; returns what is left. Without any it lists one folder."""
    from chaos.statefolder import state_folder

    folder = state_folder() / "stages"
    if not folder.is_dir() or not any(folder.glob("*.json")):
        return ()
    from chaos.healing import heal_leftovers

    report = heal_leftovers()
    for line in report.done:
        sys.stderr.write(f"healed: {line}\n")
    for left in report.left:
        sys.stderr.write(f"left in place: {left} (see `brownout heal`)\n")
    return tuple(report.left)
