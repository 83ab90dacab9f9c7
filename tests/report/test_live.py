"""The live view shows how a run goes, and never stands in its way."""

from __future__ import annotations

import io
import os
import pty
import re
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import TextIO

import pytest

from chaos.report.live import LINE_EVERY_S, LineView, PanelView, Snapshot, line, live_view
from chaos.report.screen import Screen
from slo.outcome import Outcome

BASE = Snapshot(
    experiment="env-slow-steps",
    phase="fault",
    elapsed_s=5.2,
    total_s=12,
    users=12,
    rate_per_s=38,
    p50_s=0.251,
    p99_s=0.498,
    error_rate=0.0,
    active_faults=("late-replies",),
    objectives=(
        ("reply-pairing", Outcome.FAIL, "3 of 120"),
        ("step-goodness", Outcome.PASS, "98 %"),
        ("not-yet", None, ""),
    ),
)


def test_line() -> None:
    """A line holds phase, time, users, rate, latency, errors, faults and what does not hold so far."""
    assert line(BASE) == (
        "env-slow-steps  fault     5.2/12.0 s  users 12  38.0 op/s  p50 251 ms  p99 498 ms  errors 0.0 %"
        "  faults late-replies  reply-pairing FAIL?"
    )


def test_unknown_is_a_dash() -> None:
    """What is not known yet is a dash, never a zero."""
    text = line(Snapshot("e", index=2, total=5, phase="baseline"))
    assert text.startswith("[2/5] e  baseline")
    assert text.count("–") == 7 and not re.search(r"\b0", text)


def test_lines_come_with_changes_and_every_two_seconds() -> None:
    """A line is written when phase or faults change, and else once in two seconds."""
    now = [0.0]
    out = io.StringIO()
    with LineView(out, Screen(), clock=lambda: now[0]) as view:
        view.update(BASE)
        view.update(replace(BASE, users=13))
        view.update(replace(BASE, active_faults=()))
        view.update(replace(BASE, active_faults=(), phase="recovery"))
        now[0] += LINE_EVERY_S
        view.update(replace(BASE, active_faults=(), phase="recovery", users=1))
        view.note("healed\nlate-replies")
    lines = out.getvalue().splitlines()
    assert len(lines) == 5
    assert "users  1 " in lines[3] and lines[4] == "healed late-replies"


@pytest.fixture
def reader() -> Iterator[tuple[TextIO, list[bytes], threading.Thread]]:
    """A terminal to write to, and what comes out at its other end."""
    primary, secondary = pty.openpty()
    seen: list[bytes] = []

    def read() -> None:
        while True:
            try:
                chunk = os.read(primary, 65536)
            except OSError:  # the other end is closed
                return
            if not chunk:
                return
            seen.append(chunk)

    thread = threading.Thread(target=read)
    thread.start()
    stream = os.fdopen(secondary, "w", encoding="utf-8")
    yield stream, seen, thread
    if not stream.closed:
        stream.close()
    thread.join(10)
    os.close(primary)


def test_panel_on_a_terminal(reader: tuple[TextIO, list[bytes], threading.Thread]) -> None:
    """A terminal gets a panel with the same facts; notes stay above it; the cursor is given back."""
    stream, seen, thread = reader
    ticks = iter(range(1000))
    view = PanelView(stream, Screen(width=80, tty=True, color=True), clock=lambda: next(ticks))
    with view:
        view.update(BASE)
        view.note("injected late-replies")
        view.update(replace(BASE, phase="recovery", active_faults=()))
    stream.close()
    thread.join(10)
    raw = b"".join(seen).decode()
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", raw)
    for words in ("env-slow-steps", "251 ms", "late-replies", "fail so far", "none in place", "recovery"):
        assert words in text
    assert "injected late-replies" in text
    assert raw.rindex("\x1b[?25h") > raw.rindex("\x1b[?25l")


def test_kind_of_view_fits_the_stream(reader: tuple[TextIO, list[bytes], threading.Thread]) -> None:
    """A terminal gets the panel, a pipe lines."""
    assert isinstance(live_view(reader[0], Screen.of(reader[0], environ={"TERM": "xterm"})), PanelView)
    assert isinstance(live_view(io.StringIO()), LineView)


@pytest.mark.parametrize("tty", [True, False])
def test_closed_pipe(tty: bool) -> None:
    """A reader that goes away makes the view silent; the run goes on."""
    receiving, sending = os.pipe()
    os.close(receiving)
    stream = os.fdopen(sending, "wb", buffering=0)
    text = io.TextIOWrapper(stream, encoding="utf-8", write_through=True)
    with live_view(text, Screen(tty=tty, color=tty)) as view:
        view.update(BASE)
        view.note("still here")
        view.update(replace(BASE, phase="recovery"))
    stream.close()


@pytest.mark.parametrize("tty", [True, False])
def test_closed_file(tty: bool) -> None:
    """A stream that somebody closed is no reason to fail either."""
    stream = io.StringIO()
    with live_view(stream, Screen(tty=tty)) as view:
        view.update(BASE)
        stream.close()
        view.note("still here")
        view.update(replace(BASE, phase="recovery"))


@pytest.mark.parametrize("width", [1, 2, 5, 9, 20, 40])
def test_tiny_terminal(width: int) -> None:
    """Any width will do, with names of any length."""
    out = io.StringIO()
    ticks = iter(range(1000))
    view = PanelView(out, Screen(width=width, tty=True), clock=lambda: next(ticks))
    with view:
        view.update(Snapshot(""))
        view.update(replace(BASE, experiment="e" * 300, active_faults=("f" * 200,) * 3))
        view.update(replace(BASE, total_s=0, elapsed_s=1e9))


def test_poor_encoding() -> None:
    """A terminal without the symbols gets stand-ins for them."""
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii", write_through=True)
    ticks = iter(range(1000))
    for tty in (True, False):
        screen = Screen(tty=tty, encoding="ascii")
        view = PanelView(stream, screen, clock=lambda: next(ticks)) if tty else LineView(stream, screen)
        with view:
            view.update(replace(BASE, p50_s=None, experiment="größer"))
    assert b"p50" in raw.getvalue()
    stream.close()
