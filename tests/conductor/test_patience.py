"""A proxy server that is being started anew: what it carries is healed when it is back, with bounded patience."""

from __future__ import annotations

from chaos.conductor.perform import HEAL_PATIENCE_S
from chaos.journal import outstanding
from chaos.testing import FakeFaults
from tests.conductor.conftest import Rehearse


def test_what_could_not_be_healed_is_healed_when_its_server_is_back(rehearse: Rehearse) -> None:
    """The heal that failed is told, and so is the one that succeeded a while later."""
    faults = FakeFaults(stubborn=frozenset({"late"}))
    rehearsal = rehearse(faults=faults)

    def back() -> None:
        faults.stubborn = frozenset()

    end = rehearsal.clock.now() + 13
    rehearsal.clock.at.append((end + HEAL_PATIENCE_S / 2, back))
    assert rehearsal.performance.perform() == "completed"
    told = [event.event for event in rehearsal.events if event.event in ("heal-failed", "fault-healed")]
    assert told == ["heal-failed", "fault-healed"]
    assert outstanding(rehearsal.events) == []
    assert faults.present == []


def test_patience_has_an_end(rehearse: Rehearse) -> None:
    """A server that stays away does not hold the run up for ever; the journal says what is left."""
    rehearsal = rehearse(faults=FakeFaults(stubborn=frozenset({"late"})))
    began = rehearsal.clock.now()
    rehearsal.performance.perform()
    assert rehearsal.clock.now() - began < 13 + HEAL_PATIENCE_S + 1
    assert [item.key for item in outstanding(rehearsal.events)] == ["late"]
