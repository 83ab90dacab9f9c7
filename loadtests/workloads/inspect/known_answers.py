"""An Inspect AI task on Brownout's demo dataset: questions whose answers are known, scored by exact match.

Runs in a virtual environment of its own, where Brownout is not installed: the dataset's module, which needs
the standard library alone, is loaded from its file.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.scorer import CORRECT, INCORRECT, Score, Target, accuracy, scorer, stderr
from inspect_ai.solver import TaskState, generate


def _dataset() -> ModuleType:
    path = Path(__file__).resolve().parents[2] / "items.py"
    spec = importlib.util.spec_from_file_location("brownout_items", path)
    assert spec is not None and spec.loader is not None  # noqa: S101 - it is a file of Python
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


_ITEMS = _dataset()


@scorer(metrics=[accuracy(), stderr()])
def exact():
    """Whether the completion's last answer is the item's."""

    async def score(state: TaskState, target: Target) -> Score:
        answer = _ITEMS.extract(state.output.completion)
        return Score(value=CORRECT if answer == target.text else INCORRECT, answer=answer)

    return score


@task
def known_answers(items: int = 100) -> Task:
    """The first `items` questions of the demo dataset."""
    asked = [_ITEMS.item(number) for number in range(items)]
    samples = [Sample(id=each.id, input=_ITEMS.prompt(each), target=each.answer) for each in asked]
    return Task(dataset=MemoryDataset(samples, name="known-answers"), solver=generate(), scorer=exact())
