"""Runbooks are read for the lines that a report quotes."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaos.report import html, prose
from chaos.report.reading import Report
from chaos.report.runbook import RunbookExcerpt, parse, read

TEXT = """# A title

## Symptom
It is slow.

## Act

1. Do **this**:

   ```sh
   ## not a heading
   make it so
   ```
2. Then `that`.
3. three
4. four
5. five
6. six

## Verify
ok
"""


def test_act_section(tmp_path: Path) -> None:
    """The excerpt has title, the Act section's first lines without fences, and what is missing."""
    path = tmp_path / "slow.md"
    path.write_text(TEXT)
    book = read(path)
    assert (book.name, book.title, book.path) == ("slow", "A title", path)
    assert book.act[0] == "1. Do **this**:"
    assert book.act[1].strip() == "## not a heading"
    assert book.act[-1] == "…" and len(book.act) == 7
    assert [s.heading for s in book.sections] == ["Symptom", "Act", "Verify"]
    assert book.missing == ("Check", "Rehearse")


def test_unreadable_runbook(tmp_path: Path) -> None:
    """A runbook that is not there is an OSError; bytes that are not UTF-8 are read all the same."""
    with pytest.raises(OSError):
        read(tmp_path / "none.md")
    (tmp_path / "bad.md").write_bytes(b"# T\n## Act\n\xff\xfe do\n")
    assert read(tmp_path / "bad.md").act


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=300))
def test_any_text_is_a_runbook(text: str) -> None:
    """Whatever the file holds, reading and showing it does not fail."""
    book = parse("n", Path("n.md"), text)
    prose.to_html("\n".join(book.act))
    assert all("\n" not in prose.to_text(line) for line in book.act)


def test_emphasis_is_taken_off_for_terminals() -> None:
    """A terminal shows a line's words, not its Markdown."""
    assert prose.to_text("2. Then **do** `that` [now](x.md) & go") == "2. Then do that now & go"


def test_link_is_relative_to_the_run_folder(report: Report, runbooks: dict[str, RunbookExcerpt]) -> None:
    """The link works from the run folder, with any character in the path."""
    odd = runbooks["env-slow"].model_copy(update={"path": Path("/srv/brownout/run books/a#b?.md")})
    assert html.runbook_link(report, runbooks["env-slow"]) == "../../runbooks/env-slow.md"
    assert html.runbook_link(report, odd) == "../../run%20books/a%23b%3F.md"
