"""Lets everything through, and counts it."""

from __future__ import annotations

from chaos.proxy.toxics.stage import Stage


class Noop(Stage):
    """The toxic `noop`: no effect."""

    __slots__ = ()
