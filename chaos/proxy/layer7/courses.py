"""What may become of a message of a WebSocket while it comes, and who says so."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from chaos.proxy.layer7.said import Said
    from chaos.proxy.layer7.strike import Strike

MESSAGE_MAX: Final = 1024 * 1024
"""Bytes of a message that are held, or noted; as it is sent and, where it is compressed, inflated."""

PASS: Final = 0
NOTE: Final = 1
"""It passes, and is inflated on the way, or remembered."""
TRANSLATE: Final = 2
"""It goes on inflated, piece by piece."""
HOLD: Final = 3
BETWEEN: Final = 4
"""A control frame between the fragments of a message that is held."""


class Courses(ABC):
    """Decides; called by who reads."""

    @abstractmethod
    def course_of(self, length: int) -> int:
        """What is to become of a message that begins, with a frame of so many bytes."""

    @abstractmethod
    def struck(self, said: Said) -> list[Strike]:
        """A message that was held is whole: what strikes it."""

    @abstractmethod
    def deal(self, said: Said, strikes: list[Strike]) -> None:
        """Do with a message what is to be done with it."""

    @abstractmethod
    def passed(self, said: Said) -> None:
        """A message that was held passes as it came."""

    @abstractmethod
    def noted(self, said: Said) -> None:
        """A message passes that was not held."""

    @abstractmethod
    def counted(self, number: int) -> None:
        """So many messages pass that were not looked at."""

    @abstractmethod
    def beyond(self) -> int:
        """The message cannot be held, or cannot be inflated: what becomes of it now."""

    @abstractmethod
    def translated(self, piece: bytes, *, ends: bool) -> None:
        """A piece of a message that is translated."""

    @abstractmethod
    def followed(self) -> None:
        """A message has passed."""

    @abstractmethod
    def closes(self) -> None:
        """A close frame is about to pass."""

    @abstractmethod
    def bad(self, rest: bytes) -> None:
        """What has come cannot be read."""
