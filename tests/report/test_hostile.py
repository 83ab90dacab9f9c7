"""Names and replies are written by others: no report lets them do anything."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from chaos.report import html, junit, markdown, timeline
from chaos.report.live import Snapshot, line
from chaos.report.plain import one_line, printable
from chaos.report.reading import Report, Threshold
from chaos.report.runbook import parse
from chaos.report.screen import Screen
from chaos.report.terminal import MemberResult, suite_text, verdict_text
from chaos.verdict import FaultReport, PhaseSpan, Verdict
from slo.finding import Finding
from slo.outcome import Outcome

HOSTILE = (
    "<script>alert(1)</script>",
    "\"'><img src=x onerror=alert(1)>",
    "</style></title></svg><iframe src=//evil.example>",
    "{{ 7*7 }}{% raw %}",
    "a|b|c\n| d |",
    "`x` ``y`` [z](http://evil.example) ![i](http://evil.example/i.png) @everyone <b>",
    "\x1b[2J\x1b]0;title\x07\x9b31m\r\x08",
    "\u202egnp.exe\u2066 \u200b\ufeff\ufffe\uffff\x00",
    "[bold red]rich[/] :smile: [link=http://evil.example]",
    "x" * 5000,
    "]]> &amp; &lt; --> <!--",
)
VOID = {"meta", "br", "hr", "img", "link", "input"}


def make(text: str) -> Report:
    """A report in which every free text is `text`."""
    finding = Finding(
        objective=text,
        kind="ratio",
        phase=text,
        outcome=Outcome.FAIL,
        reason=text,
        target=text,
        value=0.5,
        interval=(0.4, 0.6),
        unit=text,
        samples=10,
        bad=5,
        runbook=text,
        rows=({text: text, "n": 1.5, "deep": [text]},),
    )
    fault = FaultReport(
        name=text,
        place=text,
        type=text,
        stream=text,
        toxicity=0.5,
        attributes={text: 1.0},
        injected_at=11.0,
        effect=finding.model_copy(update={"kind": "effect", "outcome": Outcome.INCONCLUSIVE}),
        counts={text: 3},
    )
    verdict = Verdict(
        run=text,
        experiment=text,
        hypothesis=text,
        target=text,
        outcome=Outcome.FAIL,
        exit_code=1,
        ending="completed",
        reasons=(text, text),
        seed=1,
        repeat=text,
        started_at=10.0,
        ended_at=20.0,
        proxy=text,
        phases=(PhaseSpan(phase=text, start=10.0, end=20.0),),
        findings=(finding, finding.model_copy(update={"kind": "invariant"})),
        faults=(fault, fault.model_copy(update={"name": "other", "healed_at": 15.0, "healed": True})),
        left_behind=(text,),
    )
    body = "\n".join((f"# {text}", "## Act", text, f"1. {text}", "```", text, "```", "## Verify", text))
    book = parse(text, Path("/srv/runbooks/" + text.replace("\x00", "")[:40]), body)
    curves = timeline.Curves(
        width_s=5, times=(10.0, 15.0), load=(1, 2), error_rate=(0, 1), p50=(1, 1), p95=(1, 1), p99=(1, 90),
        users=(None, 1),
    )  # fmt: skip
    return Report(
        verdict=verdict,
        folder=Path("/srv/runs/x"),
        curves=curves,
        runbooks={text: book},
        thresholds=(Threshold(text, 0.5, (text,)),),
        targets={text: 0.9},
        environment={text: text},
    )


class _Page(HTMLParser):
    """Collects a page's elements, and notes tags that do not match."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.wrong: list[str] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        self.ids += [value or "" for name, value in attrs if name == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)


ALLOWED = """
    html head meta title style body main header section article p h1 h2 h3 h4 div dl dt dd ul ol li table
    caption thead tbody tr th td span strong em a code pre figure figcaption details summary hr br blockquote
    svg desc rect line text circle polyline path
"""


def check_page(page: str) -> None:
    """The page is well formed, has only our elements, and asks nothing of the network."""
    parser = _Page()
    parser.feed(page)
    parser.close()
    assert parser.wrong == [] and parser.open == []
    assert {tag for tag, _ in parser.seen} <= set(ALLOWED.split())
    for _, attributes in parser.seen:
        assert not [name for name in attributes if name.startswith("on")]
        assert "src" not in attributes and "srcset" not in attributes and "xlink:href" not in attributes
        href = attributes.get("href")
        if href is not None:
            assert not re.match(r"(?i)[a-z][a-z0-9+.-]*:|//", href), href
    style = page[page.index("<style>") : page.index("</style>")]
    assert "url(" not in style and "@import" not in style
    assert len(parser.ids) == len(set(parser.ids))
    page.encode("utf-8")


def test_page_of_each_run(report: Report) -> None:
    """A page is well formed, has only known elements, unique ids and no address outside itself."""
    check_page(html.render(report))


def test_page_cannot_be_injected() -> None:
    """No text from outside becomes an element, an attribute or an address of the page."""
    for text in HOSTILE:
        check_page(html.render(make(text)))


def test_page_forbids_scripts_and_requests() -> None:
    """Even if something slipped through, the page's own policy keeps it from running or loading."""
    page = html.render(make("x"))
    assert "default-src 'none'" in page and "<script" not in page


@settings(max_examples=40, deadline=None)
@given(st.text(max_size=60))
def test_page_of_any_text(text: str) -> None:
    """Any text whatever leaves the page well formed."""
    check_page(html.render(make(text)))


def _xml_legal(text: str) -> bool:
    return all(
        c in "\t\n\r" or 0x20 <= ord(c) <= 0xD7FF or 0xE000 <= ord(c) <= 0xFFFD or ord(c) >= 0x10000
        for c in text
    )


@settings(max_examples=200, deadline=None)
@given(st.text(st.characters(), max_size=80))
def test_junit_of_any_text(text: str) -> None:
    """junit.xml is valid XML 1.0, with its counts right, whatever the verdict says."""
    document = junit.render([make(text).verdict])
    assert _xml_legal(document)
    root = ET.fromstring(document.encode("utf-8"))  # noqa: S314 - our own
    (suite,) = root
    assert suite.get("tests") == str(len(suite.findall("testcase")))
    assert suite.get("failures") == str(len(suite.findall("testcase/failure"))) == "2"
    assert suite.get("errors") == str(len(suite.findall("testcase/error")))


def test_junit_of_hostile_texts() -> None:
    """Control characters and XML's own marks are shown, not obeyed."""
    for text in HOSTILE:
        root = ET.fromstring(junit.render([make(text).verdict]))  # noqa: S314 - our own
        assert root[0].get("name") == one_line(text)


def test_terminal_cannot_be_commanded() -> None:
    """No escape sequence, carriage return or reordering mark of a name reaches the terminal."""
    for text in HOSTILE:
        report = make(text)
        screen = Screen(width=60)
        member = MemberResult(text, Outcome.FAIL, Outcome.PASS, False, note=text)
        moment = Snapshot(text, phase=text, active_faults=(text,), objectives=((text, Outcome.FAIL, text),))
        shown = verdict_text(report.verdict, report.runbooks, screen=screen)
        for output in (shown, suite_text([member], screen=screen), line(moment)):
            assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", output)
        assert max(map(len, shown.split("\n"))) <= 60


def test_markdown_is_inert() -> None:
    """Text from outside makes no link, no mention, no element and no column in report.md."""
    parser = MarkdownIt("commonmark", {"html": True}).enable("table")
    for text in HOSTILE:
        tokens = parser.parse(markdown.render(make(text)))
        inline = [child for token in tokens for child in token.children or []]
        kinds = {token.type for token in (*tokens, *inline)}
        assert not kinds & {"html_block", "html_inline", "link_open", "image", "hr", "lheading_open"}, text
        spoken = "".join(child.content for child in inline if child.type == "text")
        assert "@everyone" not in spoken and "http://evil" not in spoken
        heads = [token.content for token in tokens if token.type == "inline" and token.level == 1]
        assert len([h for h in heads if h.startswith("Offending rows")]) == 2
        for row in "".join(t.type[:2] for t in tokens if t.type in ("tr_open", "td_open", "th_open")).split(
            "tr"
        ):
            assert len(row) // 2 in (0, 3, 6, 7)


def test_markdown_fits_a_comment() -> None:
    """report.md stays below GitHub's limit however much there is to tell, and says when it was cut."""
    report = make("y" * 5000)
    many = report.verdict.findings * 200
    verdict = report.verdict.model_copy(update={"findings": many, "reasons": ("z" * 4000,) * 50})
    output = markdown.render(Report(verdict=verdict, folder=report.folder, runbooks=report.runbooks))
    assert len(output) <= 65_536
    assert "Cut here" in output


@given(st.text(st.characters()))
def test_one_line_is_one_line(text: str) -> None:
    """`one_line` has no line break and no control character, can be encoded, and is stable."""
    flat = one_line(text)
    assert len(flat.splitlines()) <= 1
    assert not re.search("[\x00-\x1f\x7f-\x9f]", flat)
    flat.encode("utf-8")
    assert one_line(flat) == flat
    assert printable(printable(text)) == printable(text)
