"""docs/faults-on-clients.md says what the tests here show, all of it and nothing else."""

from __future__ import annotations

import ast
import re
from pathlib import Path

HERE = Path(__file__).parent
DOCUMENT = HERE.parents[1] / "docs" / "faults-on-clients.md"
SECTIONS = {
    "OpenEnv's client": ("test_openenv.py", "test_half_open.py"),
    "httpx": ("test_httpx.py",),
    "The OpenAI SDK": ("test_openai.py",),
    "Layer 7: the OpenAI SDK": ("test_layer7_openai.py", "test_layer7_openai_losses.py"),
    "Layer 7: the Anthropic SDK": ("test_layer7_anthropic.py", "test_layer7_anthropic_losses.py"),
    "Layer 7: httpx and aiohttp": ("test_layer7_http.py",),
    "Layer 7: mcp's client": ("test_layer7_mcp.py",),
    "Layer 7: which requests are struck": ("test_layer7_draws.py",),
    "A process that is killed, paused, slow, or short of something": ("test_processes.py",),
}


def rows(section: str) -> dict[str, bool]:
    """Each test that a section's table names, and whether something is hidden there."""
    text = DOCUMENT.read_text(encoding="utf-8").split(f"## {section}")[1].split("\n## ")[0]
    cells = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if "|" in line
    ]
    return {name: row[3] != "–" for row in cells if (name := re.sub("`", "", row[4])).startswith("test_")}


def shown(modules: tuple[str, ...]) -> dict[str, bool]:
    """Each test of the modules, and whether its docstring says that something is hidden."""
    functions = [node for module in modules for node in ast.parse((HERE / module).read_text()).body]
    return {
        node.name: (ast.get_docstring(node) or "").startswith("HIDDEN:")
        for node in functions
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


def test_each_row_is_shown_and_each_test_has_its_row() -> None:
    """The tables have one row for each test, and call hidden what its docstring calls so."""
    assert {section: rows(section) for section in SECTIONS} == {
        section: shown(modules) for section, modules in SECTIONS.items()
    }
