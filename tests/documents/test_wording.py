"""Every kind of mistake, said in our words: place, key, expectation, value, remedy."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import AfterValidator, Field, TypeAdapter, ValidationError

from chaos.documents.document import document_of, parsed, validated
from chaos.documents.problems import Problem
from chaos.documents.source import parse_text
from chaos.documents.tree import Place, planted
from chaos.documents.wording import problems_of
from slo.model import Model

EXPERIMENT = """
apiVersion: brownout/v1
kind: Experiment
metadata: {name: a}
spec:
  target: t
  load: {profile: p}
  phases: {baseline: 3s, fault: 3s, recovery: 3s}
  faults:
    - {name: f, place: p, type: latency, latency: 250ms}
  objectives: [{ref: o}]
"""
JARGON = re.compile(
    r"pydantic|Input should|Field required|<class|Decimal|\bdict\b|\btuple\b|https?://errors|\bNone\b"
)


def said(text: str) -> list[str]:
    """What is wrong with a document, its head or its body, a text for each problem."""
    source = parse_text(textwrap.dedent(text).lstrip("\n"), "x.yaml")
    problems: list[Problem] = list(source.problems)
    for tree in source.documents:
        document = document_of(tree, "here")
        found = document if isinstance(document, list) else validated(document.kind, document.tree)
        problems += found if isinstance(found, list) else []
    texts = [str(problem) for problem in problems]
    for one in texts:
        assert not JARGON.search(one), one
    return texts


def with_fault(fault: str) -> str:
    return EXPERIMENT.replace("{name: f, place: p, type: latency, latency: 250ms}", fault)


def mistakes() -> list[tuple[str, str, str]]:
    """The cases of `mistakes.txt`: what is replaced, by what, and what is said."""
    lines = (Path(__file__).parent / "mistakes.txt").read_text().splitlines()
    text = "\n".join(line for line in lines if not line.startswith("#"))
    cases = []
    for block in text.strip().split("\n\n"):
        old, new, *answer = block.split("\n")
        cases.append((*(line[2:].replace("\\n", "\n") for line in (old, new)), "\n".join(answer)))
    return cases


@pytest.mark.parametrize(("old", "new", "answer"), mistakes())
def test_each_mistake_is_told_in_our_words(old: str, new: str, answer: str) -> None:
    """One mistake, one problem: place, key, expectation, value, and a hint where one fits."""
    assert old in EXPERIMENT
    assert said(EXPERIMENT.replace(old, new, 1)) == [answer]


def test_a_right_document_has_no_problems() -> None:
    """What the mistakes above are made in is itself right."""
    assert said(EXPERIMENT) == []


def test_a_type_and_a_key_of_the_same_name_are_told_apart() -> None:
    """In `type: timeout, timeout: 5` the number is what is wrong."""
    assert said(with_fault("{name: f, place: p, type: timeout, timeout: 5}"))[0].startswith(
        "x.yaml:9:51: spec.faults[0].timeout: expected a duration"
    )
    assert said(with_fault("{name: f, place: p, type: bandwidth}")) == [
        "x.yaml:9:7: spec.faults[0].rate: is missing"
    ]


def test_all_mistakes_of_a_document_are_told_at_once() -> None:
    """Five mistakes are five problems; a list is not called too short because its items are wrong."""
    text = with_fault("{name: F, place: '', type: latency, latency: 1, jitter: x, toxicity: 2}")
    assert len(said(text)) == 5


def test_unions_are_told_by_their_keys() -> None:
    """A service with a wrong url is told about its url, not about demo services."""
    text = """
        apiVersion: brownout/v1
        kind: Target
        metadata: {name: t}
        spec:
          services:
            a: {url: "ftp://x:1"}
            b: {demo: envs}
            c: {demo: evals, sessions: 2}
            Bad: {demo: evals}
    """
    assert said(text) == [
        "x.yaml:6:14: spec.services.a.url: expected an address such as http://127.0.0.1:8000 "
        "or https://api.example.com, got ftp://x:1",
        "x.yaml:7:15: spec.services.b.demo: expected environment, evals or tools, got envs\n"
        "  hint: did you mean evals?",
        "x.yaml:8:22: spec.services.c.sessions: sessions belongs to the demo environment: the evals have no sessions",
        "x.yaml:9:5: spec.services.Bad: expected a name of lower-case letters, digits, '-' and '.', "
        "at most 63, got Bad",
    ]


def test_yaml_words_are_no_booleans() -> None:
    """`stream: yes` is text in YAML 1.2, so it is refused, with what is meant."""
    text = """
        apiVersion: brownout/v1
        kind: LoadProfile
        metadata: {name: t}
        spec: {user: chat, service: m, arrivals: 1/s, with: {stream: yes}}
    """
    assert said(text) == [
        "x.yaml:4:62: spec.with.stream: expected true or false, got yes\n  hint: did you mean true?"
    ]


def test_openslo_keys_are_checked_too() -> None:
    """Objectives are told about in the same words, at the key that is meant."""
    text = """
        apiVersion: openslo/v1
        kind: SLO
        metadata: {name: t}
        spec:
          indicatorRef: x
          objectives:
            - target: "0.95"
    """
    texts = said(text)
    assert any(
        one.startswith("x.yaml:5:3: spec.indicatorRef: indicatorRef is not supported") for one in texts
    )


class Everything(Model):
    """A model that can be wrong in the ways that our documents cannot (yet)."""

    short: str = Field("aa", min_length=2, max_length=3)
    low: int = Field(5, gt=4, lt=6)
    le: float = Field(1.0, le=2, multiple_of=0.5)
    many: list[int] = Field(default_factory=list, max_length=1)
    flag: bool = True
    table: dict[str, int] = Field(default_factory=dict)
    nothing: None = None
    either: int | bool = 1
    word: Literal["a", 1] = "a"
    ruled: Annotated[int, AfterValidator(lambda v: v)] = 1


@pytest.mark.parametrize(
    "data",
    [
        {"short": "a"},
        {"short": "aaaa"},
        {"low": 4},
        {"low": 6},
        {"le": 3.0},
        {"le": 0.7},
        {"many": [1, 2]},
        {"many": 5},
        {"flag": "maybe"},
        {"table": [1]},
        {"table": {"a": "b"}},
        {"nothing": 1},
        {"either": "x"},
        {"word": "b"},
        {"ruled": None},
        {"low": 10**17 * 10**3},
    ],
)
def test_no_jargon_shows(data: dict[str, object]) -> None:
    """Whatever the error, the validating library's own words do not come through."""
    tree = planted(data, Place("x.yaml", 1, 1))
    for strict in (True, False):
        with pytest.raises(ValidationError) as caught:
            Everything.model_validate(data, strict=strict or None)
        for problem in problems_of(caught.value, Everything, tree):
            assert not JARGON.search(str(problem)), str(problem)
            assert "expected" in problem.message
    assert isinstance(parsed(TypeAdapter(Everything), Everything, tree), list)


def test_many_problems_of_one_file_are_cut_short_and_quick() -> None:
    """Ten thousand wrong keys are answered within seconds, by the first hundred and a count."""
    from chaos.documents.problems import BadInput

    text = EXPERIMENT + "".join(f"x{i}: 1\n" for i in range(10_000))
    source = parse_text(text.lstrip("\n"), "x.yaml")
    found = validated("Experiment", source.documents[0])
    assert isinstance(found, list)
    shown = BadInput(found).problems
    assert len(shown) == 101
    assert "more problems in this file" in shown[-1].message
