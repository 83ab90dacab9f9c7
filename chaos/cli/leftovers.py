"""Healing before any other command: what a dead run left behind is taken away by whoever comes next."""

from __future__ import annotations

import sys


def heal_first() -> None:
    """Heal dead runs, and say so on stderr. Costs one directory listing when there are none."""
    from chaos.statefolder import state_folder

    folder = state_folder() / "stages"
    if not folder.is_dir() or not any(folder.glob("*.json")):
        return
    from chaos.healing import heal_leftovers

    report = heal_leftovers()
    for line in report.done:
        sys.stderr.write(f"healed: {line}\n")
    for line in report.left:
        sys.stderr.write(f"left in place: {line} (see `brownout heal`)\n")
