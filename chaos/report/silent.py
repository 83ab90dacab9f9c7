"""A view that shows nothing: for a pipe, where what came of each part of the work is told when it is over."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from chaos.report.live import Snapshot


class SilentView:
    """See `chaos.report.live.LiveView`."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def update(self, snapshot: Snapshot) -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        """Nothing."""
