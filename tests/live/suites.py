"""Running a shipped suite through the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from chaos.verdict import Verdict


def run_suite(name: str, out: Path, *more: str) -> tuple[int, list[Verdict], str]:
    """The suite's exit code, its verdicts in order, and what was said on stderr."""
    done = subprocess.run(
        [sys.executable, "-m", "chaos", "run", name, "--json", "--seed", "1", "--out", str(out), *more],
        capture_output=True,
        text=True,
        check=False,
        env=dict(os.environ),
    )
    verdicts = [Verdict.model_validate(raw) for raw in json.loads(done.stdout or "[]")]
    return done.returncode, verdicts, done.stderr


def told(verdicts: list[Verdict], log: str) -> str:
    """What a failed assertion should show."""
    return "\n".join(f"{v.experiment}: {v.outcome} {v.reasons}" for v in verdicts) + log[-2000:]
