"""Faults that may come after they were healed: their request was under way when whoever sent it died.

A toxic that a slow proxy server adds a moment after it answered "there is none" would stay for ever. What
came in such a way is healed again once no request can be under way any more: one lease later.
"""

from __future__ import annotations

from chaos.faults.undo import RunCommand, RunContainers, ServerUndo, Undo


def may_come_late(undo: Undo) -> bool:
    """Whether somebody else (a server, a program) does it. Signals and limits end with who sets them."""
    return isinstance(undo, ServerUndo | RunCommand | RunContainers)


def worth_repeating(undo: Undo) -> bool:
    """Whether it may be undone twice a second meanwhile: a request costs nothing, a program might."""
    return isinstance(undo, ServerUndo)
