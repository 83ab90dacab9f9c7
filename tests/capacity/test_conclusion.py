"""The sentence, the notes, the exit code and the page of a search."""

from __future__ import annotations

from pathlib import Path

import pytest

from chaos.capacity.arms import notes
from chaos.capacity.conclusion import exit_of, summary
from chaos.capacity.result import Arm, Capacity, Generator, Point, Quantile, Return
from chaos.capacity.search import Limits, Standing, Trial, answer
from chaos.exits import Exit
from chaos.report import capacity_page
from chaos.report.capacity_text import capacity_text
from chaos.report.screen import Screen


def point(rate: float, standing: Standing, *, arm: str = "control", acted: bool = True) -> Point:
    return Point.model_validate(
        {
            "arm": arm,
            "rate": rate,
            "why": "bracket",
            "standing": standing,
            "reason": f"why it {standing} at {rate:g}",
            "folder": f"01-{arm}-{rate:g}",
            "lasted_s": 4.2,
            "operations": 168,
            "good": 160,
            "goodput_per_s": rate * 0.95,
            "errors": (0.05, 0.02, 0.09),
            "p50": Quantile(value=0.02, low=0.01, high=0.03),
            "p95": Quantile(value=0.2, low=0.1, high=0.3),
            "p99": Quantile(value=0.9),
            "generator": Generator(arrivals=168, late=1),
            "acted": {"late-replies": acted} if arm == "fault" else {},
        }
    )


def arm(
    name: str, held: float | None, breached: float | None, *, narrow: bool = True, acted: bool = True
) -> Arm:
    points = [point(held, "holds", arm=name, acted=acted)] if held else []
    points += [point(breached, "breached", arm=name, acted=acted)] if breached else []
    return Arm.model_validate(
        {
            "arm": name,
            "faults": ("late-replies",) if name == "fault" else (),
            "points": points,
            "held": held,
            "breached": breached,
            "narrow": narrow,
        }
    )


CONTROL = arm("control", 42, 44)


@pytest.mark.parametrize(
    ("arms", "said", "code"),
    [
        (
            [CONTROL, arm("fault", 11, 12)],
            "holds 42/s .. 44/s; with late-replies 11/s .. 12/s (27 %)",
            Exit.OK,
        ),
        ([CONTROL, arm("fault", 42, None)], "holds 42/s .. 44/s; with late-replies no less", Exit.OK),
        ([CONTROL, arm("fault", None, 3)], "holds 42/s .. 44/s; with late-replies less than 3/s", Exit.FAIL),
        ([arm("control", 500, None)], "holds at least 500/s, all that was asked", Exit.OK),
        ([arm("control", 80, None)], "holds at least 80/s", Exit.INCONCLUSIVE),
        ([arm("control", 30, 60, narrow=False)], "holds 30/s .. 60/s", Exit.INCONCLUSIVE),
        ([CONTROL, arm("fault", 11, 12, acted=False)], None, Exit.INCONCLUSIVE),
        ([], "nothing was measured", Exit.INCONCLUSIVE),
    ],
)
def test_the_sentence_and_the_exit_code(arms: list[Arm], said: str | None, code: Exit) -> None:
    """Two rates for each arm, never a bare number; 0 only where all was found as precisely as was asked."""
    assert said is None or summary(arms, 500) == said
    assert exit_of(arms, 500) is code


def test_what_a_reader_must_know_is_said() -> None:
    """The generator's limit, what was not decided, what contradicts itself, and what stays after an overload."""
    limits = Limits(5, 1, 500, 0.05, 40)
    points = [point(10, "holds"), point(40, "breached"), point(40, "holds"), point(80, "generator")]
    found = answer(Trial(p.rate, p.standing) for p in points)
    stayed = Return(
        rate=10,
        overload=40,
        overloaded_s=5,
        allowed_s=20,
        standing="stayed",
        reason="it did not hold again",
        folder="f",
    )
    told = "\n".join(notes(found, points, stayed, limits))
    assert "no limit of the service; add workers" in told
    assert "40/s held once and did not hold another time" in told
    assert "METASTABLE: after 5 s at 40/s it no longer holds 10/s" in told
    wide = [point(10, "holds"), point(20, "unknown"), point(40, "breached")]
    told = "\n".join(notes(answer(Trial(p.rate, p.standing) for p in wide), wide, None, limits))
    assert "20/s could not be decided" in told and "--point-max" in told
    hole = [point(10, "holds"), point(40, "breached"), point(50, "holds")]
    told = "\n".join(notes(answer(Trial(p.rate, p.standing) for p in hole), hole, None, limits))
    assert "held at 50/s, above a rate at which they did not" in told


def test_held_nowhere_is_no_failure_where_lower_rates_were_not_decided() -> None:
    """What is below the lowest breach may hold, for all that is known: inconclusive."""
    low = arm("control", None, 8)
    doubtful = low.model_copy(update={"points": (*low.points, point(4, "unknown"))})
    assert exit_of([low], 500) is Exit.FAIL
    assert exit_of([doubtful], 500) is Exit.INCONCLUSIVE


def whole(arms: tuple[Arm, ...], name: str = "queue") -> Capacity:
    return Capacity(
        name="20261121-capacity-queue",
        of=name,
        target="web",
        load="web",
        seed=1,
        precision=0.05,
        point_max_s=60,
        confidence=0.95,
        objectives=("web-in-time",),
        highest=500,
        arms=arms,
        summary=summary(arms, 500),
        exit_code=0,
        repeat="brownout capacity queue --seed 1",
        started_at=1_000_000,
        ended_at=1_000_100,
    )


@pytest.mark.parametrize("width", [40, 100])
def test_the_text_says_the_answer_at_any_width(width: int) -> None:
    """Each arm's ends and the sentence are there, on a narrow screen too."""
    result = whole((CONTROL, arm("fault", 11, 12)))
    text = capacity_text(result, Path("runs/x"), Screen(width=width))
    assert "42/s .. 44/s" in text and "with late-replies" in text
    assert all(len(line) <= width for line in text.splitlines())
    assert "holds 42/s" in " ".join(text.split())


def test_the_page_stands_alone_and_escapes_what_it_shows() -> None:
    """No script, nothing from elsewhere, and a name with markup in it stays text; unknown numbers are dashes."""
    bare = Point(
        arm="control", rate=5, why="bracket", standing="unknown", reason="<i>nothing</i>", folder="a b"
    )
    odd = CONTROL.model_copy(update={"points": (*CONTROL.points, bare), "notes": ("METASTABLE: <u>",)})
    page = capacity_page.render(whole((odd, arm("fault", 11, 12)), name="<script>alert(1)</script>"))
    assert "<script" not in page and "&lt;script&gt;" in page
    assert "<i>nothing" not in page and "<u>" not in page
    assert "http://" not in page and "https://" not in page
    assert page.count("<svg") == 2
    assert 'href="points/a%20b/report.html"' in page
    assert "42/s .. 44/s" in page


def test_a_search_that_measured_nothing_has_a_page_too() -> None:
    """Stopped before its first point, it says so and draws nothing."""
    page = capacity_page.render(
        whole(()).model_copy(update={"stopped": "the target is busy", "exit_code": 3})
    )
    assert "the target is busy" in page and "nothing to draw" in page and "<svg" not in page
