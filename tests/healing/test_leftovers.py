"""What could not be healed keeps runs that it may disturb from being started, and no others."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from chaos.faults.undo import EnableProxy, ResumeProcess, Undo
from chaos.healing import Left, heal_leftovers, left_by
from chaos.journal import FaultHealed, FaultInjected, FaultPending, Journal
from chaos.plan import Plan
from chaos.planning import make_plan
from chaos.documents.resolve import resolve

GONE = "http://127.0.0.1:1"
DEAD_STAGE = """
import os, sys
from pathlib import Path
from chaos.registry import Registration
Registration().add_run(Path(sys.argv[1]))
os._exit(9)
"""


@pytest.fixture
def plan() -> Plan:
    """A shipped experiment's plan."""
    return make_plan(resolve("env-steps-overtake-timeout"), 1, 10.0)
