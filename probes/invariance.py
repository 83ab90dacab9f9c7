"""Whether a score is what it was: the same item, scored in the baseline and scored again later.

What fails loudly is seen by everyone; what this finds is an item that was scored twice and came out
otherwise. An item is compared with itself, by workload, operation (the scorer) and step (the repeat, or
epoch), so that the items' own difficulty cancels: that shows far smaller changes than a comparison of two
means does.

What it says, and what not. It is for evals that score the same item alike when nothing disturbs them (a model
at temperature 0, a fixed seed): a change is then the fault's, or chance that the eval has not under control,
and a run without a fault tells which. Items whose scores differ within the baseline itself are left out, and
counted. Items without a score on one side are not compared, for nothing is known of them; they are counted
too, because a fault that makes the affected items fail leaves only unaffected ones to compare: ask for
coverage beside it. Repeats of an item are one cluster, not so many independent samples, so the bound of a
pass rests on the items.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

BASELINE = "baseline"
TOLERANCE = 1e-6
"""Scores that differ by no more are equal: they pass through JSON, and some scorers through float32."""

_KEY = ("workload", "operation", "item", "step")

Masks = tuple[pa.ChunkedArray, pa.ChunkedArray]
_Bools = npt.NDArray[np.bool_]


class _Paired:
    """The scores of a history, and for each the one that its item had in the baseline."""

    def __init__(self, table: pa.Table) -> None:
        scored = pc.and_(pc.is_valid(table["reward"]), pc.is_valid(table["item"]))
        scored = pc.and_(scored, pc.fill_null(table["final"], False))
        unfinished = pc.fill_null(pc.equal(_plain(table, "outcome"), "unfinished"), False)
        where = _numpy(pc.and_(scored, pc.invert(unfinished))).astype(bool)
        self.at: npt.NDArray[np.int64] = np.flatnonzero(where)
        part = table.select([*_KEY, "phase", "reward"]).take(pa.array(self.at))
        self.reward = _numpy(part["reward"]).astype(float)
        self.phase = _plain(part, "phase")
        self.code = _codes(part)
        self.in_baseline = self.within(BASELINE)
        count = int(self.code.max()) + 1 if len(self.code) else 0
        self.least, self.most = np.full(count, np.inf), np.full(count, -np.inf)
        codes, rewards = self.code[self.in_baseline], self.reward[self.in_baseline]
        self.known: _Bools = np.zeros(count, bool)
        self.known[codes] = True
        with np.errstate(invalid="ignore"):  # NaN is neither less nor more than anything, and so not steady
            np.minimum.at(self.least, codes, rewards)
            np.maximum.at(self.most, codes, rewards)
            self.steady: _Bools = self.known & (self.most - self.least <= TOLERANCE)

    def within(self, phase: str) -> _Bools:
        """Which of the scores are of `phase`."""
        mask: _Bools = _numpy(pc.fill_null(pc.equal(self.phase, phase), False)).astype(bool)
        return mask


def masks(table: pa.Table) -> Masks:
    """Scores outside of the baseline whose item has one steady score in it; a violation differs from that."""
    paired = _Paired(table)
    observed = np.zeros(table.num_rows, bool)
    violated = np.zeros(table.num_rows, bool)
    compared = ~paired.in_baseline & paired.steady[paired.code]
    observed[paired.at[compared]] = True
    with np.errstate(invalid="ignore"):
        alike = np.abs(paired.reward - paired.least[paired.code]) <= TOLERANCE  # NaN is like nothing
    violated[paired.at[compared & ~alike]] = True
    return pa.chunked_array([pa.array(observed)]), pa.chunked_array([pa.array(violated)])


def remark(table: pa.Table, phase: str) -> str:
    """What was not compared: scores of the baseline without one in `phase`, and those that vary anyway."""
    paired = _Paired(table)
    again = np.zeros(len(paired.known), bool)
    again[paired.code[paired.within(phase)]] = True
    absent = int(np.sum(paired.steady & ~again))
    varied = int(np.sum(paired.known & ~paired.steady))
    whole = int(np.sum(paired.known))
    said = []
    if absent:
        said.append(f"{absent} of the {whole} scores of the baseline have none in this phase")
    if varied:
        said.append(f"{varied} of {whole} differ within the baseline already, and are left out")
    return "; ".join(said)


def _codes(part: pa.Table) -> npt.NDArray[np.int64]:
    """A number for each row, the same for rows with the same key."""
    code = np.zeros(part.num_rows, np.int64)
    for name in _KEY:
        column = _plain(part, name)
        values = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
        indices = values.dictionary_encode(null_encoding="encode").indices
        ordinal = indices.to_numpy(zero_copy_only=False).astype(np.int64)
        width = int(ordinal.max()) + 1 if len(ordinal) else 1
        code = np.unique(code * width + ordinal, return_inverse=True)[1].astype(np.int64)
    return code


def _plain(table: pa.Table, name: str) -> pa.ChunkedArray:
    """A column, without its dictionary if it has one."""
    column = table[name]
    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column


def _numpy(column: pa.ChunkedArray) -> npt.NDArray[np.generic]:
    found: npt.NDArray[np.generic] = column.to_numpy()
    return found
