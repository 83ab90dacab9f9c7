"""Documents that are well-formed and meant to hurt: bounded time, and no traceback."""

from __future__ import annotations

import time

import pytest

from chaos.documents.checking import validate_paths

from .conftest import EXPERIMENT, Folder

OBJECTIVES = EXPERIMENT[EXPERIMENT.index("      objectives:") :]
FAULT = "        - {name: f, type: latency, place: environment, latency: 1ms}\n"


@pytest.mark.parametrize(
    "text",
    [
        EXPERIMENT.replace(OBJECTIVES, "      objectives:\n" + "        - ref: pairing\n" * 15_000),
        EXPERIMENT.replace(OBJECTIVES, "      objectives:\n" + "        - ref: parings\n" * 15_000),
        EXPERIMENT.replace(OBJECTIVES, "      objectives:\n" + "        - x\n" * 40_000),
        EXPERIMENT.replace("      objectives:\n", FAULT * 9_000 + "      objectives:\n"),
        EXPERIMENT.replace("target: here", "target: " + "x" * 900_000),
        EXPERIMENT.replace("target: here", "target: ./" + "x" * 900_000),
        EXPERIMENT.replace("runbook: other", "runbook: " + "x" * 900_000),
        EXPERIMENT.replace("latency: 250ms", "latency: " + "1s" * 400_000 + "!"),
        EXPERIMENT.replace("latency: 250ms", "latency: " + "1" * 500_000),
        EXPERIMENT + "".join(f"      a{i}: {{}}\n" for i in range(30_000)),
        "---".join([EXPERIMENT.replace("    ", "", 1)] * 300),
    ],
    ids=[
        "known-objectives",
        "unknown-objectives",
        "no-objectives",
        "faults",
        "long-name",
        "long-path",
        "long-runbook",
        "long-duration",
        "long-number",
        "keys",
        "documents",
    ],
)
def test_well_formed_and_hostile(folder: Folder, text: str) -> None:
    """Whatever a document of a mebibyte says, it is refused within 5 s."""
    folder.write("chaos/experiments/slow.yaml", text)
    begin = time.monotonic()
    checked = validate_paths(["chaos/experiments/slow.yaml"], folder.project)
    assert time.monotonic() - begin < 5
    assert checked.problems
    assert all(len(str(problem)) < 1500 for problem in checked.problems)


def test_a_recovery_of_itself_is_refused(folder: Folder) -> None:
    """References cannot go round."""
    folder.change("slo/objectives/all.yaml", "objective: steps", "objective: back")
    problems = [str(problem) for problem in validate_paths(["back"], folder.project).problems]
    assert problems == [
        "slo/objectives/all.yaml:13:19: spec.objective: expected an SLO, got the recovery back\n"
        "  hint: a recovery asks when an SLO holds again"
    ]
