"""The README's promises about itself."""

from __future__ import annotations

import re

from chaos.cli import COMMANDS
from chaos.exits import Exit
from tests.repo.readme_blocks import ROOT, rewritten

README = (ROOT / "README.md").read_text()


def test_generated_blocks_are_current() -> None:
    """The tables of faults and commands, and the quoted experiment, are what the code has today."""
    assert rewritten(README) == README, "run `.venv/bin/python -m tests.repo.readme_blocks`"


def test_every_exit_code_is_explained() -> None:
    """A reader of the README learns what every exit code means."""
    table = README[README.index("### Exit codes") :]
    table = table[: table.index("\n## ")]
    explained = {int(code) for row in re.findall(r"^\| ([\d, ]+) \|", table, re.M) for code in row.split(",")}
    assert explained == {int(code) for code in Exit}


def test_every_command_in_a_console_block_exists() -> None:
    """No example calls a command that is not there."""
    called = set(re.findall(r"^\$ brownout (\w+)", README, re.M))
    assert called
    assert called <= set(COMMANDS)
