"""What a judge is asked, what it answers, and how a verdict is read from that: strictly, or as many do.

Invariant of the strict reading: a score comes of exactly one verdict, of the request it was asked for, finite
and on the scale that was asked for. Everything else is `Unreadable`, with its reason; nothing becomes a score
by default. Standard library only: the load generator and the demo judge share it.

The letters are those of Inspect AI's `model_graded_qa`: the prompt ends in `GRADE: C` or `GRADE: I`.
Source: https://inspect.aisi.org.uk/scorers.html#model-graded
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import Any, Final, Literal

from loadtests.items import Item, asked_in, by_id, completion, extract

Style = Literal["grade", "score"]
Reason = Literal["missing", "malformed", "ambiguous", "out_of_scale", "not_finite", "mispaired"]

GRADES: Final = {"C": 1.0, "I": 0.0}
PARTIAL: Final = 0.5
"""What the letter P counts as to stock graders; it is not on the scale that is asked for here."""

_OPENING: Final = "You are assessing a submitted answer on a given task based on a criterion."
_BETWEEN: Final = "\n***\n"
_REFERENCE_IS, _TASK_IS, _SUBMISSION_IS = "[Reference]: ", "[Task]: ", "[Submission]: "
_END: Final = "[END DATA]\n\n"
_CITY = re.compile(r"([A-Z][a-z]+) sends")
_HEX = re.compile(r"[0-9a-f]{16}")
_REFERENCE = re.compile(r"REFERENCE: ([0-9a-f]{16})\b")
_ITEM = re.compile(r"\[(item-\d{1,6})\] ")
_TO = re.compile(r"a number from 0 to (\d{1,9}(?:\.\d{1,9})?(?:e-\d{1,2})?),")
_GRADE = re.compile(r"GRADE\s*:\s*(\S*)", re.IGNORECASE)
_STOCK_GRADE = re.compile(r"GRADE\s*:\s*([CPI])", re.IGNORECASE)
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_FENCE: Final = "```"


class Unreadable(ValueError):
    """A reply that holds no verdict which may be taken for a score; `reason` says what is wrong with it."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason: Reason = reason


@dataclass(frozen=True, slots=True)
class Case:
    """What a judge is asked: is `submission` right? `scale` is the highest score of the style `score`.

    `reference` (16 hexadecimal digits) names the request; the judge is asked to repeat it.
    """

    item: Item
    submission: str
    reference: str
    style: Style
    scale: float = 1.0


def submission(asked: Item, *, right: bool) -> str:
    """What somebody answered to an item: rightly, or just beside it, in the same words."""
    if right:
        return completion(asked)
    if asked.answer.isdigit():
        wrong = str(int(asked.answer) + 1)
    else:
        wrong = next(city for city in _CITY.findall(asked.question) if city != asked.answer)
    return completion(Item(asked.id, asked.question, wrong))


def case_prompt(case: Case) -> str:
    """The judge's prompt."""
    if case.style == "grade":
        how = (
            "Does the submission meet the criterion? Reason step by step. Then end with one line of the form "
            "GRADE: followed by one letter alone, C for a correct submission or I for an incorrect one.\n"
            f"Begin with the line REFERENCE: {case.reference}"
        )
    else:
        how = (
            "How far does the submission meet the criterion? Reply with one JSON object and nothing else: "
            f'"score" is a number from 0 to {case.scale:g}, "reason" a sentence, '
            f'and "reference" is "{case.reference}".'
        )
    parts = (
        f"{_OPENING} Here is the data:\n\n[BEGIN DATA]",
        f"{_REFERENCE_IS}{case.reference}",
        f"{_TASK_IS}[{case.item.id}] {case.item.question}",
        f"{_SUBMISSION_IS}{case.submission}",
        f"[Criterion]: {case.item.answer}",
        f"{_END}{how}",
    )
    return _BETWEEN.join(parts)


def case_in(text: str) -> Case | None:
    """The case that a prompt of `case_prompt` asks about; None for any other text. Raises UnknownItem."""
    parts = text[max(text.rfind(_OPENING), 0) :].split(_BETWEEN)
    if len(parts) != 6 or not parts[0].startswith(_OPENING) or not parts[5].startswith(_END):
        return None
    reference, task, submitted = (
        part.removeprefix(name)
        for part, name in zip(parts[1:4], (_REFERENCE_IS, _TASK_IS, _SUBMISSION_IS), strict=True)
    )
    asked, scaled = _ITEM.match(task), _TO.search(parts[5])
    if asked is None or not _HEX.fullmatch(reference) or asked_in(parts[5]) is not None:
        return None  # the last: something else was asked since
    style: Style = "grade" if scaled is None else "score"
    scale = 1.0 if scaled is None else float(scaled[1])
    return Case(by_id(asked[1]), submitted, reference, style, scale)


def judgement(case: Case) -> str:
    """What the demo judge answers: always right, and to the request that it names."""
    right = extract(case.submission) == case.item.answer
    if case.style == "score":
        score = case.scale if right else 0.0
        return json.dumps({"reference": case.reference, "score": score, "reason": "Compared word by word."})
    return (
        f"REFERENCE: {case.reference}\nThe submission ends with {extract(case.submission)}, the criterion is "
        f"{case.item.answer}. I compared the two word by word.\nGRADE: {'C' if right else 'I'}"
    )


def reference_in(text: str) -> str | None:
    """The request that a reply names, in either style; None where it names none."""
    found = _REFERENCE.search(text)
    if found is not None:
        return found[1]
    try:
        named = json.loads(_unfenced(text))["reference"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return named if isinstance(named, str) else None


# --- strictly -----------------------------------------------------------------------------------------------


def strict_score(text: str, case: Case) -> float:
    """The score, from 0 to 1. Raises Unreadable."""
    if not text.strip():
        raise Unreadable("missing", "the reply is empty")
    named = reference_in(text)
    if named is not None and named != case.reference:
        raise Unreadable("mispaired", f"the reply is to {named[:40]}, asked was {case.reference}")
    return _strict_grade(text) if case.style == "grade" else _strict_number(text, case.scale)


def _strict_grade(text: str) -> float:
    found = list(_GRADE.finditer(text))
    if not found:
        raise Unreadable("missing", f"no GRADE: in {text[-80:]!r}")
    if len(found) > 1:
        raise Unreadable("ambiguous", f"{len(found)} grades")
    letter = found[0][1].strip("*`'\".")
    if not letter or text[found[0].end() :].strip():
        raise Unreadable("malformed", f"expected GRADE: and a letter as the last line, got {text[-80:]!r}")
    if letter not in GRADES:
        raise Unreadable("out_of_scale", f"expected GRADE: C or I, got {letter[:20]!r}")
    return GRADES[letter]


def _strict_number(text: str, scale: float) -> float:
    try:
        verdict = json.loads(_unfenced(text), object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        if isinstance(error, Unreadable):
            raise
        raise Unreadable("malformed", f"expected one JSON object, got {text[:80]!r}") from error
    if not isinstance(verdict, dict) or verdict.get("score") is None:
        raise Unreadable("missing", f"no score in {text[:80]!r}")
    score = verdict["score"]
    if isinstance(score, bool) or not isinstance(score, int | float):
        raise Unreadable("malformed", f"expected a number for a score, got {score!r:.40}")
    if isinstance(score, float) and not math.isfinite(score):
        raise Unreadable("not_finite", f"the score is {score}")
    if not 0 <= score <= scale:
        raise Unreadable("out_of_scale", f"expected a score from 0 to {scale:g}, got {score!r:.40}")
    return score / scale


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose names are all different: of two scores none is the verdict."""
    made = dict(pairs)
    if len(made) < len(pairs):
        raise Unreadable("ambiguous", "a name comes twice in the verdict")
    return made


def _unfenced(text: str) -> str:
    """What is in a Markdown fence, where the whole text is one; else the text."""
    first, _, rest = text.strip().partition("\n")
    if first.rstrip() in (_FENCE, f"{_FENCE}json") and rest.endswith(_FENCE):
        return rest.removesuffix(_FENCE)
    return text


# --- as stock graders do ------------------------------------------------------------------------------------


def lenient_score(text: str, case: Case, otherwise: float) -> float:
    """A score, whatever the reply: the first grade or number in it, brought onto the scale, or `otherwise`.

    So do stock graders: a reply without a verdict is the lowest score to some (openai/evals issue 1712), the
    highest to others (litellm issue 30731). NaN stays NaN.
    """
    if case.style == "grade":
        grade = _STOCK_GRADE.search(text)
        return otherwise if grade is None else GRADES.get(grade[1].upper(), PARTIAL)
    number = _any_number(text)
    if number is None:
        return otherwise
    return number if math.isnan(number) else min(max(number, 0.0), case.scale) / case.scale


def _any_number(text: str) -> float | None:
    try:
        verdict = json.loads(_unfenced(text))
    except (ValueError, RecursionError):
        found = _NUMBER.search(text)
        return float(found[0]) if found is not None else None
    score = verdict.get("score") if isinstance(verdict, dict) else verdict
    try:
        return None if score is None else float(score)
    except (ValueError, TypeError, OverflowError):
        return None
