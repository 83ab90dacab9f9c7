"""Invariant checkers: they read the history of what each user did, and count what must not have happened.

Invariant: one violation is a fail, however few observations there are; none at all is a pass only over enough
of them, and says what it bounds. Repeats within an episode (or of an item) are one cluster, not so many
independent samples, so the bound rests on the clusters.

Columns are read whole, by pyarrow's kernels: ten million rows take seconds.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import JsonValue

from loadtests.metrics import EXECUTIONS
from probes import invariance
from slo.finding import Finding
from slo.objective import Invariant
from slo.outcome import Outcome
from slo.statistics import upper_bound
from slo.wording import counted, percent

MOST_ROWS = 20
"""Offending rows that a finding shows."""

REWARD_TOLERANCE = 1e-6
"""Rewards that differ by no more are equal: they pass through JSON, and some environments through float32."""

_SHOWN = (
    "worker",
    "workload",
    "phase",
    "user",
    "episode",
    "item",
    "step",
    "attempt",
    "operation",
    "connection",
    "nonce",
    "reply_nonce",
    "intended_start",
    "start",
    "end",
    "outcome",
    "error_type",
    "status",
    "reward",
    "expected",
    "done",
    "trace_id",
)

_CLUSTER = ["workload", "worker", "episode", "item"]

Row = dict[str, JsonValue]
Masks = tuple[pa.ChunkedArray, pa.ChunkedArray]


@dataclass(frozen=True, slots=True)
class Check:
    """What a checker found: how many observations, in how many clusters, and which of them offend.

    `rows` are at most 20 offending rows, oldest first.
    """

    observations: int
    violations: int
    clusters: int
    struck: int
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Checker:
    """A named count over the history: which rows are observations, and which of those are violations."""

    observation: str
    violation: str
    masks: Callable[[pa.Table], Masks]
    remark: Callable[[pa.Table, str], str] | None = None
    """What it could not look at in a phase, in words; empty where there is nothing to say."""

    def __call__(self, table: pa.Table, phase: str | None = None) -> Check:
        """Check a history (columns as in `loadtests.columns`), all of it or the rows of one phase."""
        observed, violated = self.masks(table)
        if phase is not None:
            within = pc.fill_null(pc.equal(_plain(table, "phase"), phase), False)
            observed, violated = pc.and_(observed, within), pc.and_(violated, within)
        seen = table.select(_CLUSTER).filter(observed)  # not the whole rows: there may be millions
        offending = table.select([name for name in _SHOWN if name in table.column_names]).filter(violated)
        return Check(
            observations=seen.num_rows,
            violations=offending.num_rows,
            clusters=_clusters(seen),
            struck=_clusters(offending),
            rows=_examples(offending),
        )


def _plain(table: pa.Table, name: str) -> pa.ChunkedArray:
    """A column, without its dictionary if it has one: kernels that compare two columns need that."""
    column = table[name]
    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column


def _present(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Where a value is there, and is no empty text."""
    valid = pc.is_valid(column)
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return pc.and_(valid, pc.fill_null(pc.not_equal(column, ""), False))
    return valid


def _reply_pairing(table: pa.Table) -> Masks:
    """Replies that were taken as good and echo a nonce; a violation echoes another request's."""
    nonce, echoed = _plain(table, "nonce"), _plain(table, "reply_nonce")
    good = pc.fill_null(pc.equal(_plain(table, "outcome"), "ok"), False)
    observed = pc.and_(good, pc.and_(_present(nonce), _present(echoed)))
    return observed, pc.and_(observed, pc.fill_null(pc.not_equal(nonce, echoed), False))


def _reward_known(table: pa.Table) -> Masks:
    """Rewards that a client took for good and that are known in advance; a violation is another one, or none.

    `expected` marks the row where the client takes the reward. That its reply says `done` is not asked for:
    when replies have shifted, the reply to the last action is an earlier one, which is what is to be found.
    """
    expected, reward = _plain(table, "expected"), _plain(table, "reward")
    good = pc.fill_null(pc.equal(_plain(table, "outcome"), "ok"), False)
    taken = pc.and_(pc.is_valid(expected), pc.or_(pc.is_valid(reward), _present(_plain(table, "episode"))))
    observed = pc.and_(pc.and_(good, pc.fill_null(table["final"], False)), taken)
    near = pc.less_equal(pc.abs(pc.subtract(reward, expected)), REWARD_TOLERANCE)  # NaN is near nothing
    return observed, pc.and_(observed, pc.invert(pc.fill_null(near, False)))


def _exactly_once(table: pa.Table) -> Masks:
    """Calls whose executions the server told (`reward`); `done` is whether the client took the call for done.

    A violation was executed more than once (or a fraction of a time, or less than never), or was taken for
    done and not executed. One execution of a call that failed is none: it happened at most once, and its
    client does not believe otherwise. What happens after the question cannot be seen, nor can calls that the
    server was not asked about, or did not tell of.
    """
    told, taken = _plain(table, "reward"), pc.fill_null(table["done"], False)
    asked = pc.fill_null(pc.equal(_plain(table, "operation"), EXECUTIONS), False)
    good = pc.fill_null(pc.equal(_plain(table, "outcome"), "ok"), False)
    known = pc.and_(pc.is_valid(told), pc.is_valid(table["done"]))
    observed = pc.and_(pc.and_(asked, good), known)
    once, never = (pc.fill_null(pc.equal(told, times), False) for times in (1.0, 0.0))
    right = pc.or_(once, pc.and_(never, pc.invert(taken)))
    return observed, pc.and_(observed, pc.invert(right))


CHECKS: dict[str, Checker] = {
    "reply-pairing": Checker("reply", "belonged to another request", _reply_pairing),
    "reward-known": Checker("known reward", "came otherwise, or not at all", _reward_known),
    "exactly-once": Checker("call", "happened more than once, or never though taken for done", _exactly_once),
    "score-invariance": Checker(
        "score", "came out otherwise than in the baseline", invariance.masks, invariance.remark
    ),
}


def _clusters(table: pa.Table) -> int:
    """How many distinct episodes there are, or items where rows are of no episode."""
    if not table.num_rows:
        return 0
    episode, item = _plain(table, "episode"), _plain(table, "item")
    of_episode = _present(episode)
    nothing = pa.scalar(None, pa.string())
    keys = pa.table(
        {
            "workload": _plain(table, "workload"),
            "worker": pc.if_else(of_episode, _plain(table, "worker").cast(pa.string()), nothing),
            "id": pc.if_else(of_episode, episode.cast(pa.string()), item.cast(pa.string())),
            "of_episode": of_episode,
        }
    )
    return int(keys.group_by(keys.column_names).aggregate([]).num_rows)


def _examples(offending: pa.Table) -> tuple[Row, ...]:
    if not offending.num_rows:
        return ()
    first = pc.select_k_unstable(offending, k=MOST_ROWS, sort_keys=[("start", "ascending")])
    rows = offending.take(first).to_pylist()
    return tuple(
        {name: _json(value) for name, value in row.items() if value not in (None, "")} for row in rows
    )


def _json(value: object) -> JsonValue:
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, bool | int | str):
        return value
    return value.hex() if isinstance(value, bytes) else str(value)


def judge_invariant(
    invariant: Invariant, table: pa.Table, phase: str, *, min_samples: int, runbook: str | None
) -> Finding:
    """The finding of `invariant` over the rows of `phase`; `min_samples` counts observations.

    Raises:
        KeyError: the invariant names a check that does not exist (documents are validated against it).
    """
    checker = CHECKS[invariant.check]
    found = checker(table, phase)
    outcome, reason = _judge(checker, found, phase, min_samples)
    if checker.remark is not None and (remark := checker.remark(table, phase)):
        reason = f"{reason} ({remark})"
    return Finding(
        objective=invariant.name,
        kind="invariant",
        phase=phase,
        outcome=outcome,
        reason=reason,
        target="0",
        value=float(found.violations) if found.observations else None,
        samples=found.observations,
        bad=found.violations,
        runbook=runbook,
        rows=found.rows,
    )


def _judge(checker: Checker, found: Check, phase: str, min_samples: int) -> tuple[Outcome, str]:
    plural = "replies" if checker.observation == "reply" else f"{checker.observation}s"
    seen = counted(found.observations, checker.observation, plural)
    clusters = counted(found.clusters, "episode or item", "episodes or items")
    if found.violations:
        return Outcome.FAIL, (
            f"{found.violations} of {seen} {checker.violation}, in {found.struck} of {clusters}; none may"
        )
    if not found.observations:
        return (
            Outcome.INCONCLUSIVE,
            f"no data: the history of the phase {phase} has no {checker.observation} to check",
        )
    if found.observations < min_samples:
        return Outcome.INCONCLUSIVE, (
            f"too few samples: no violation in {seen} from {clusters}, and at least {min_samples} are needed"
        )
    bound = percent(upper_bound(0, found.clusters))
    return Outcome.PASS, f"no violation in {seen} from {clusters}: the rate is below {bound} at 95 %"
