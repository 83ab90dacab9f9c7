"""The evidence of a run: what its folder holds, read back for the judge. The only way to a verdict.

A run that has just ended is judged from its folder too, so that judging it again offline gives the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from chaos import hits
from chaos.documents.problems import BadInput
from chaos.hits import Hit, Hits
from chaos.journal import Event, PhaseStarted, RunStarted, read_events
from chaos.plan import Plan
from loadtests.columns import read_table
from probes.metrics_file import read_samples
from slo.series import Samples


@dataclass(frozen=True)
class Evidence:
    """Everything that a verdict rests on. `history` has one row per attempt (see `loadtests.history`), `hits`
    what was struck at layer 7; a None among them is a line that could not be read.
    """

    run: str
    plan: Plan
    events: tuple[Event, ...]
    samples: Samples
    history: pa.Table
    hits: Iterable[Hit | None] = ()


def gather(folder: Path) -> Evidence:
    """Read a run folder, however its run ended.

    Raises:
        BadInput: it holds no plan, no journal or no metrics, or they are damaged.
    """
    try:
        plan = Plan.model_validate_json((folder / "plan.json").read_bytes())
        events = tuple(read_events(folder / "events.jsonl"))
        metrics = folder / "metrics.jsonl"
        # A conductor that was killed before its first event had not made the file yet.
        samples = read_samples(metrics) if events or metrics.exists() else Samples()
    except FileNotFoundError as error:
        message = f"expected a run folder, but {Path(error.filename).name} is missing"
        raise BadInput.of(str(folder), message) from error
    except OSError as error:
        raise BadInput.of(str(folder), f"it cannot be read: {error}") from error
    except ValueError as error:
        message = f"its plan, its journal or its metrics are damaged: {error}"
        raise BadInput.of(str(folder), message) from error
    starts = [(event.phase, event.t) for event in events if isinstance(event, PhaseStarted)]
    name = next((event.run for event in events if isinstance(event, RunStarted)), folder.name)
    return Evidence(
        run=name,
        plan=plan,
        events=events,
        samples=samples,
        history=read_table(folder / "history", starts),
        hits=Hits(folder / hits.FILE),
    )
