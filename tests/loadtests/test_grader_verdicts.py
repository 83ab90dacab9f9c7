"""How verdicts are read: strictly, nothing that is none becomes a score; leniently, everything does."""

from __future__ import annotations

import contextlib
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.grading import (
    Case,
    Unreadable,
    case_in,
    case_prompt,
    judgement,
    lenient_score,
    reference_in,
    strict_score,
    submission,
)
from loadtests.items import extract, item

REFERENCE = "0123456789abcdef"
OTHER = "fedcba9876543210"

cases = st.builds(
    lambda number, right, style, scale: Case(
        item(number),
        submission(item(number), right=right),
        REFERENCE,
        style,
        scale if style == "score" else 1.0,
    ),
    st.integers(0, 999),
    st.booleans(),
    st.sampled_from(["grade", "score"]),
    st.sampled_from([1.0, 5.0, 10.0, 0.5]),
)


@given(st.integers(0, 9999))
def test_submissions_are_known_to_be_right_or_wrong(number: int) -> None:
    """The right answer is the item's, the wrong one another, in the same words."""
    asked = item(number)
    right, wrong = submission(asked, right=True), submission(asked, right=False)
    assert extract(right) == asked.answer
    assert extract(wrong) not in (asked.answer, None)
    assert right.split()[:-1] == wrong.split()[:-1]


@given(cases)
def test_the_demo_judge_understands_and_is_right(case: Case) -> None:
    """What is asked is read back from the prompt, and the verdict is right by either reading."""
    assert case_in(case_prompt(case)) == case
    said = judgement(case)
    expected = 1.0 if extract(case.submission) == case.item.answer else 0.0
    assert strict_score(said, case) == expected
    assert lenient_score(said, case, 0.5) == expected
    assert reference_in(said) == REFERENCE


@given(cases, st.text(max_size=300))
def test_whatever_a_judge_says_is_read_or_refused(case: Case, said: str) -> None:
    """No text makes either reading fail in another way, and a strict score is on the scale."""
    with contextlib.suppress(Unreadable):
        assert 0 <= strict_score(said, case) <= 1
    assert not lenient_score(said, case, 0.0) > 1


@given(cases, st.data())
def test_a_verdict_that_is_cut_short_is_never_a_wrong_score(case: Case, data: st.DataObject) -> None:
    """Of a right verdict any beginning is unreadable, or still right."""
    said = judgement(case)
    cut = said[: data.draw(st.integers(0, len(said) - 1))]
    expected = strict_score(said, case)
    try:
        assert strict_score(cut, case) == expected
    except Unreadable as error:
        assert error.reason in ("missing", "malformed")


@pytest.mark.parametrize(
    ("said", "strict", "lenient"),
    [
        ("GRADE: C", 1.0, 1.0),
        ("Reasons.\n\nGRADE: I\n", 0.0, 0.0),
        ("grade : **C**", 1.0, 0.25),
        ("", "missing", 0.25),
        ("  \n", "missing", 0.25),
        ("I cannot say.", "missing", 0.25),
        ("GRADE:", "malformed", 0.25),
        ("GRADE: C or GRADE: I", "ambiguous", 1.0),
        ("GRADE: C\nGRADE: C", "ambiguous", 1.0),
        ("GRADE: C, I think", "malformed", 1.0),
        ("GRADE: C\nOn reflection it is wrong.", "malformed", 1.0),
        ("GRADE: P", "out_of_scale", 0.5),
        ("GRADE: Correct", "out_of_scale", 1.0),
        ("GRADE: 10", "out_of_scale", 0.25),
        (f"REFERENCE: {REFERENCE}\nGRADE: I", 0.0, 0.0),
        (f"REFERENCE: {OTHER}\nGRADE: C", "mispaired", 1.0),
        ("<html>GRADE: C</html>", "out_of_scale", 1.0),
    ],
)
def test_grades(said: str, strict: float | str, lenient: float) -> None:
    """A letter, once, at the end, for this request; a lenient reading takes the first it sees, or its default."""
    _reads(said, Case(item(1), "", REFERENCE, "grade"), strict, lenient)


@pytest.mark.parametrize(
    ("said", "strict", "lenient"),
    [
        ('{"score": 10}', 1.0, 1.0),
        ('{"score": 2.5, "reason": "Some of it."}', 0.25, 0.25),
        ('```json\n{"score": 0}\n```', 0.0, 0.0),
        ("```json\n" + "\n" * 1_000_000, "malformed", 0.25),
        ("", "missing", 0.25),
        ("null", "missing", 0.25),
        ("{}", "missing", 0.25),
        ('{"score": null}', "missing", 0.25),
        ('{"score": "10"}', "malformed", 1.0),
        ('{"score": true}', "malformed", 0.1),
        ('{"score": [10]}', "malformed", 0.25),
        ('{"score": 10', "malformed", 1.0),
        ("10", "missing", 1.0),
        ("The score is 10", "malformed", 1.0),
        ("7 of 10", "malformed", 0.7),
        ("Not worth a number.", "malformed", 0.25),
        ('{"score": 85}', "out_of_scale", 1.0),
        ('{"score": -1}', "out_of_scale", 0.0),
        ('{"score": 1e400}', "not_finite", 1.0),
        ('{"score": 1, "score": 9}', "ambiguous", 0.9),
        ('{"score": 1}{"score": 9}', "malformed", 0.1),
        (f'{{"score": 9, "reference": "{OTHER}"}}', "mispaired", 0.9),
        (f'{{"score": 9, "reference": "{REFERENCE}"}}', 0.9, 0.9),
        ('{"score": 1' + "0" * 400 + "}", "out_of_scale", 0.25),
        ("[" * 100_000, "malformed", 0.25),
    ],
)
def test_scores(said: str, strict: float | str, lenient: float) -> None:
    """One JSON object with one finite number on the scale (here from 0 to 10), for this request."""
    _reads(said, Case(item(1), "", REFERENCE, "score", 10.0), strict, lenient)


def test_nan_is_no_score_but_to_lenient_code() -> None:
    """NaN, which is no JSON and which Python reads: refused strictly; leniently it stays what it is."""
    case = Case(item(1), "", REFERENCE, "score", 10.0)
    said = json.dumps({"score": math.nan})
    with pytest.raises(Unreadable, match="not_finite"):
        strict_score(said, case)
    assert math.isnan(lenient_score(said, case, 0.0))


def _reads(said: str, case: Case, strict: float | str, lenient: float) -> None:
    if isinstance(strict, str):
        with pytest.raises(Unreadable) as caught:
            strict_score(said, case)
        assert caught.value.reason == strict
    else:
        assert strict_score(said, case) == pytest.approx(strict)
    assert lenient_score(said, case, 0.25) == pytest.approx(lenient)
