"""The page in a real browser: it fits a phone, asks nothing of the network, and prints."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from chaos.report import html
from chaos.report.reading import Report

pytestmark = pytest.mark.chromium

PROBE = """<!DOCTYPE html><body style="margin:0">
<iframe id="page" style="width:360px;height:2000px;border:0" src="report.html"></iframe>
<pre id="result"></pre>
<script>
onload = () => {
  const page = document.getElementById("page").contentDocument;
  const wide = [...page.querySelectorAll("body *")].filter(e => {
    const box = e.getBoundingClientRect();
    return !e.closest(".scroll") && !e.closest("thead") && box.width > 0 && box.right > 361;
  });
  document.getElementById("result").textContent = JSON.stringify({
    width: page.documentElement.scrollWidth,
    wide: wide.slice(0, 5).map(e => e.tagName + "." + e.getAttribute("class")),
    margin: page.defaultView.getComputedStyle(page.body).marginTop,
  });
}
</script>"""


@pytest.fixture(scope="module")
def chromium() -> str:
    """The browser's path. Without one the tests are skipped, but in CI they fail."""
    path = shutil.which("chromium")
    if path is None:
        said = "no chromium on PATH: apt-get install chromium"
        if os.environ.get("CI") == "true":
            pytest.fail(said)
        pytest.skip(said)
    return path


def _run(chromium: str, folder: Path, *arguments: str) -> str:
    profile = f"--user-data-dir={folder / 'profile'}"
    switches = "headless no-sandbox disable-gpu no-first-run disable-background-networking hide-scrollbars"
    switches += " disable-dev-shm-usage allow-file-access-from-files"
    command = [chromium, *(f"--{switch}" for switch in switches.split()), profile, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=True)
    return done.stdout


def _long(report: Report) -> Report:
    """The report with a name that has nowhere to break."""
    verdict = report.verdict.model_copy(
        update={"experiment": "x" * 200, "repeat": "brownout run " + "y" * 300}
    )
    return replace(report, verdict=verdict)


@pytest.mark.parametrize("report", ["fail", "heal-incomplete"], indirect=True)
def test_phone(chromium: str, report: Report, tmp_path: Path) -> None:
    """At 360 px nothing but the tables that scroll by themselves is wider than the page."""
    (tmp_path / "report.html").write_text(html.render(_long(report)), encoding="utf-8")
    (tmp_path / "probe.html").write_text(PROBE, encoding="utf-8")
    dom = _run(chromium, tmp_path, "--dump-dom", (tmp_path / "probe.html").as_uri())
    result = re.search(r'<pre id="result">(.*?)</pre>', dom)
    assert result is not None
    assert result[1] == '{"width":360,"wide":[],"margin":"0px"}'


@pytest.mark.parametrize("report", ["fail"], indirect=True)
def test_print(chromium: str, report: Report, tmp_path: Path) -> None:
    """The page prints, to a document of a few pages."""
    page, paper = tmp_path / "report.html", tmp_path / "report.pdf"
    page.write_text(html.render(report), encoding="utf-8")
    _run(chromium, tmp_path, f"--print-to-pdf={paper}", "--no-pdf-header-footer", page.as_uri())
    assert 2 <= len(re.findall(rb"/Type\s*/Page\b", paper.read_bytes())) <= 8
