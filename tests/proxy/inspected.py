"""The proxy's process, telling on SIGUSR1 what lives in it: `python -m tests.proxy.inspected REPORT LIMITS`.

It is the server as it is, with the API's limits from LIMITS (JSON). The numbers in REPORT (JSON) are of the
objects that Python's garbage collector still knows after it has collected, not of our own book-keeping.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
from collections import Counter
from pathlib import Path

from chaos.proxy.clients import Limits
from chaos.proxy.server import Settings, run
from chaos.proxy.toxics.stage import Stage

COUNTED = ("Link", "Side", "Tls", "Pipe", "Connection", "Task", "TimerHandle")


def tell(report: Path) -> None:
    """Write the counts; the file is there when it is complete."""
    gc.collect()
    objects = gc.get_objects()
    names = Counter(type(found).__name__ for found in objects)
    counts = {name: names[name] for name in COUNTED}
    counts["Stage"] = sum(isinstance(found, Stage) for found in objects)
    partly = report.with_suffix(".part")
    partly.write_text(json.dumps(counts))
    os.replace(partly, report)


def main(report: Path, limits: Limits) -> None:
    """Serve until SIGTERM."""
    signal.signal(signal.SIGUSR1, lambda number, frame: tell(report))
    run(Settings(port=0, seed=7, metrics=True, limits=limits))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Limits(**json.loads(sys.argv[2])))
