"""What every fault comes to, by whatever carries it: its numbers, and the effect that it must have. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from chaos.documents.faults import CommandFault, Fault, ProxyFault
from chaos.faults.processes.units import process_attributes, process_effects
from chaos.faults.toxics import toxic_attributes, toxic_effects
from slo.effect import Effect


def fault_attributes(fault: Fault) -> dict[str, int]:
    """The fault's numbers, whole, in the units of the proxy or of `chaos.faults.processes.units`.

    Raises:
        FaultOutOfRange: the values are ones that Toxiproxy cannot have.
    """
    if isinstance(fault, CommandFault):
        return {}
    return toxic_attributes(fault) if isinstance(fault, ProxyFault) else process_attributes(fault)


def default_effects(fault: Fault, primary_metrics: Sequence[str]) -> tuple[Effect, ...]:
    """What must be seen of `fault` where the experiment does not say; any one of them is evidence."""
    if isinstance(fault, CommandFault):
        return (fault.effect,)
    if isinstance(fault, ProxyFault):
        return toxic_effects(fault, primary_metrics)
    return process_effects(fault, primary_metrics)
