"""The report files of a run folder: report.html, report.md, junit.xml.

Each is written beside its place and then moved there, so that a reader never sees half a report and a failed
write leaves the last one whole.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from chaos.report import html, junit, markdown
from chaos.report.reading import Report


def write_reports(report: Report) -> None:
    """Write the three files into `report.folder`. All are rendered before the first is written.

    Raises:
        OSError: the folder cannot be written to.
    """
    files = {
        "report.html": html.render(report),
        "report.md": markdown.render(report),
        "junit.xml": junit.render([report.verdict]),
    }
    for name, text in files.items():
        write_whole(report.folder / name, text)


def write_whole(path: Path, text: str) -> None:
    """Write a file that is there as a whole, or as it was. Raises OSError."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        temporary.write_bytes(text.encode("utf-8"))
        temporary.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
