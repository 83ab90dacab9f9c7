"""`--set`: values changed before validation."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from chaos.documents.amend import parse_sets
from chaos.documents.problems import BadInput

from .conftest import Folder

Has = Callable[[list[str], str], None]


@pytest.mark.parametrize(
    "key",
    [
        "spec.faults[0].latency",
        "faults[0].latency",
        "faults.late-replies.latency",
        "spec.faults.late-replies.latency",
    ],
)
def test_a_value_is_reached_by_index_or_name(folder: Folder, key: str) -> None:
    """The path begins at the document or at its spec; items are counted, or named."""
    (fault,) = folder.resolve(sets={key: "1s"}).experiment.spec.faults
    assert fault.latency == 1  # type: ignore[union-attr]


def test_what_was_left_out_can_be_set(folder: Folder) -> None:
    """Mappings on the way are made; a value is YAML, so lists and numbers are what they look like."""
    resolved = folder.resolve(
        sets={
            "load.with.timeout": "450ms",
            "load[0].arrivals": "9/s",
            "faults[0].effect.metric": "m",
            "faults[0].effect.quantile": "p95",
            "faults[0].effect.rises": "20ms",
            "objectives.steps.phases": "[fault, recovery]",
            "objectives.steps.min_samples": "7",
            "metadata.labels.why": "'5'",
        }
    )
    assert resolved.loads[0].profile.arrivals == 9
    assert resolved.loads[0].profile.with_.timeout == 0.45
    assert resolved.requirements[1].phases == ("fault", "recovery")
    assert resolved.requirements[1].min_samples == 7
    assert resolved.experiment.metadata.labels == {"why": "5"}


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        (
            "faults.late-replies.latency",
            "250",
            "--set faults.late-replies.latency=250: spec.faults[0].latency: expected a duration",
        ),
        ("phases.fualt", "3s", "--set phases.fualt=3s: spec.phases.fualt: no such key here"),
        (
            "faults.late-reply.latency",
            "1s",
            "--set faults.late-reply.latency=1s: there is no item named late-reply\n  hint: did",
        ),
        ("faults[3].latency", "1s", "--set faults[3].latency=1s: there are 1 items, counted from [0]"),
        ("target.name", "x", "--set target.name=x: target is a single value; nothing is below it"),
        ("target", "nowhere", "--set target=nowhere: there is no target nowhere"),
        ("target", "", "--set target=: spec.target: expected text, got nothing"),
        ("target", "[", "--set target=[: not valid YAML"),
        ("target", "!x 1", "--set target=!x 1: tags are refused"),
        ("a..b", "1", "--set a..b=1: expected a path to a value, got a..b"),
        ("load[2].profile", "x", "--set load[2].profile=x: there is one item, counted from [0]"),
        ("load.with.timeout", "5", "--set load.with.timeout=5: spec.load.with.timeout: expected a duration"),
    ],
)
def test_problems_say_that_they_come_from_set(
    folder: Folder, has: Has, key: str, value: str, said: str
) -> None:
    """The place of such a problem is the argument, as it was written."""
    has(folder.refused(sets={key: value}), said)


def test_an_argument_is_a_key_and_a_value() -> None:
    """The first `=` separates them; anything else is refused."""
    assert parse_sets(["a=b=c", "d="]) == {"a": "b=c", "d": ""}
    with pytest.raises(BadInput, match="--set a: expected KEY=VALUE"):
        parse_sets(["a"])
