"""A verifiers environment on Brownout's demo dataset: questions whose answers are known, one turn each.

Runs in a virtual environment of its own, where Brownout is not installed: the dataset's module, which needs
the standard library alone, is loaded from its file.
"""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import verifiers.v1 as vf


def _dataset() -> ModuleType:
    path = Path(__file__).resolve().parents[2] / "items.py"
    spec = importlib.util.spec_from_file_location("brownout_items", path)
    assert spec is not None and spec.loader is not None  # noqa: S101 - it is a file of Python
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


_ITEMS = _dataset()


class KnownAnswersData(vf.TaskData):
    """One question, and its right answer."""

    answer: str


class KnownAnswersTask(vf.Task[KnownAnswersData]):
    """Asked once; 1.0 when the completion's last answer is the item's."""

    @vf.reward(weight=1.0)
    async def exact(self, trace: vf.Trace) -> float:
        """Exact match."""
        return float(_ITEMS.extract(trace.last_reply or "") == self.data.answer)


class KnownAnswersConfig(vf.TasksetConfig):
    """How many questions there are."""

    items: int = 100


class KnownAnswersTaskset(vf.Taskset[KnownAnswersTask, KnownAnswersConfig]):
    """The first `items` questions of the demo dataset."""

    def load(self) -> list[KnownAnswersTask]:
        """All of them."""
        asked = [_ITEMS.item(number) for number in range(self.config.items)]
        return [
            KnownAnswersTask(
                KnownAnswersData(idx=number, id=each.id, prompt=_ITEMS.prompt(each), answer=each.answer),
                self.config.task,
            )
            for number, each in enumerate(asked)
        ]


__all__ = ["KnownAnswersTaskset"]
