"""The files of a search: capacity.json and capacity.html, each whole or not there."""

from __future__ import annotations

from pathlib import Path

from chaos.capacity.result import Capacity
from chaos.report import capacity_page
from chaos.report.files import write_whole


def write_capacity(folder: Path, result: Capacity) -> None:
    """Write them into the search's folder. Raises OSError."""
    page = capacity_page.render(result)
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / "capacity.json", result.model_dump_json(indent=2) + "\n")
    write_whole(folder / "capacity.html", page)
