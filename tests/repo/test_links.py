"""What the documents point at is there: files, headings, make targets, brownout commands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "runbooks").glob("*.md")),
]
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
MAKE = re.compile(r"`make ([a-z0-9-]+)|^(?:\$ )?make ([a-z0-9-]+)", re.MULTILINE)
BROWNOUT = re.compile(r"(?:`|^\$ |^|\.venv/bin/)brownout ([a-z]+)", re.MULTILINE)
TOP = ("chaos/", "loadtests/", "probes/", "slo/", "runbooks/", "tests/", "deploy/", "benchmarks/", ".ci/")
PATH = re.compile(r"`((?:\.?[\w-]+/)+[\w.-]*)`")


@pytest.fixture(params=DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def document(request: pytest.FixtureRequest) -> Path:
    """Each document in turn."""
    return request.param


def slug(heading: str) -> str:
    """A heading's anchor, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def anchors(path: Path) -> set[str]:
    """All anchors of a Markdown file."""
    text = FENCE.sub("", path.read_text(encoding="utf-8"))
    return {slug(m) for m in re.findall(r"^#+ (.*)$", text, re.MULTILINE)}


def test_links_lead_somewhere(document: Path) -> None:
    """Every relative link names a file that exists, and a heading that it has."""
    broken = []
    for match in LINK.finditer(FENCE.sub("", document.read_text(encoding="utf-8"))):
        link = match[1] or match[2]
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (document.parent / name) if name else document
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


def test_paths_exist(document: Path) -> None:
    """Every path in backticks that begins with one of our folders exists; NAME stands for any."""
    text = FENCE.sub("", document.read_text(encoding="utf-8"))
    gone = {
        p for p in PATH.findall(text) if p.startswith(TOP) and "NAME" not in p and not (ROOT / p).exists()
    }
    assert gone == set()


def test_make_targets_exist(document: Path) -> None:
    """Every `make TARGET` that a document names is in the Makefile."""
    makefile = (ROOT / "Makefile").read_text()
    known = set(re.findall(r"^([a-z0-9-]+):", makefile, re.MULTILINE))
    named = {a or b for a, b in MAKE.findall(document.read_text(encoding="utf-8"))}
    assert named - known == set()


def test_commands_exist(document: Path) -> None:
    """Every `brownout COMMAND` that a document names is one."""
    known = {path.stem.rstrip("_") for path in (ROOT / "chaos" / "cli").glob("[a-z]*.py")}
    assert set(BROWNOUT.findall(document.read_text(encoding="utf-8"))) - known == set()
