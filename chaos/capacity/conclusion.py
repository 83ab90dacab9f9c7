"""What a search comes to in one sentence and one exit code. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from chaos.capacity.result import Arm
from chaos.exits import Exit
from slo.wording import percent


def summary(arms: Sequence[Arm], highest: float) -> str:
    """`holds 42/s .. 44/s; with late-replies 11/s .. 12/s (26 %)`."""
    if not arms:
        return "nothing was measured"
    said = [f"holds {between(arms[0], highest)}"]
    for arm in arms[1:]:
        part = between(arm, arms[0].held or highest)
        if arm.held is not None and arm.held == arms[0].held and arm.breached is None:
            part = "no less"
        elif arm.held is not None and arms[0].held is not None:
            part += f" ({percent(round(middle(arm) / middle(arms[0]), 2))})"
        said.append(f"with {' and '.join(arm.faults)} {part}")
    return "; ".join(said)


def between(arm: Arm, highest: float) -> str:
    """The two ends of an arm's answer, in words where one is missing. `highest`: what was asked at most."""
    if arm.held is None:
        if arm.breached is None:
            return "at no rate that was tried, as far as is known"
        return f"less than {lowest_tried(arm):g}/s"
    if arm.breached is not None:
        return f"{arm.held:g}/s .. {arm.breached:g}/s"
    return f"at least {arm.held:g}/s" + (", all that was asked" if arm.held >= highest else "")


def lowest_tried(arm: Arm) -> float:
    """The lowest rate at which the arm was breached."""
    return min(point.rate for point in arm.points if point.standing == "breached")


def middle(arm: Arm) -> float:
    """The capacity as one number, for a proportion: the geometric mean of the ends."""
    held = arm.held or 0.0
    return held if arm.breached is None else (held * arm.breached) ** 0.5


def seen_to_act(arm: Arm) -> bool:
    """Whether each fault of the arm was seen to act at one point at least."""
    return all(any(point.acted.get(name) for point in arm.points) for name in arm.faults)


def exit_of(arms: Sequence[Arm], highest: float) -> Exit:
    """0 found (or held as far as was asked); 1 held nowhere; 3 found less precisely, or not."""
    if not arms:
        return Exit.INCONCLUSIVE
    codes = [_exit(arm, highest if arm.arm == "control" else arms[0].held or highest) for arm in arms]
    return Exit.FAIL if Exit.FAIL in codes else max(codes)


def _exit(arm: Arm, highest: float) -> Exit:
    if arm.held is None:
        lowest = min((point.rate for point in arm.points), default=None)
        return Exit.FAIL if arm.breached is not None and arm.breached == lowest else Exit.INCONCLUSIVE
    if not seen_to_act(arm):
        return Exit.INCONCLUSIVE
    found = arm.narrow if arm.breached is not None else arm.held >= highest
    return Exit.OK if found else Exit.INCONCLUSIVE
