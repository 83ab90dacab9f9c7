"""`python -m loadtests.commands`: run the programs of the plan that `BROWNOUT_LOAD_PLAN` names."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

from loadtests.commands.worker import NotACommand, Worker
from loadtests.commands.workload import MissingVariable
from loadtests.profile import LoadPlan
from loadtests.runner import PLAN_VARIABLE

EX_USAGE = 64


def main() -> int:
    """Perform the plan; 64 when it cannot be performed here, 70 after a defect of ours."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    plan = LoadPlan.model_validate_json(Path(os.environ[PLAN_VARIABLE]).read_bytes())
    try:
        worker = Worker(plan)
    except (NotACommand, MissingVariable) as error:
        logging.error("%s", error)
        return EX_USAGE
    return worker.run(sys.stdin.buffer)


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    os._exit(code)  # the thread that reads stdin may hold its lock, which an orderly exit would wait for
