"""What every fault comes to, by whatever carries it: its numbers, and the effect that it must have. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import JsonValue

from chaos.documents.faults import CommandFault, Fault, Layer4Fault
from chaos.documents.layer7 import Layer7Fault
from chaos.faults.layer7 import layer7_attributes
from chaos.faults.processes.units import process_attributes, process_effects
from chaos.faults.toxics import toxic_attributes, toxic_effects
from slo.effect import Effect


def fault_attributes(fault: Fault) -> dict[str, JsonValue]:
    """The fault's values in the units of the proxy or of `chaos.faults.processes.units`: whole numbers, but
    at layer 7 whatever JSON has.

    Raises:
        FaultOutOfRange: the values are ones that Toxiproxy cannot have.
    """
    if isinstance(fault, CommandFault):
        return {}
    if isinstance(fault, Layer7Fault):
        return layer7_attributes(fault)
    return {**(toxic_attributes(fault) if isinstance(fault, Layer4Fault) else process_attributes(fault))}


def default_effects(fault: Fault, primary_metrics: Sequence[str]) -> tuple[Effect, ...]:
    """What must be seen of `fault` where the experiment does not say; any one of them is evidence.

    None at layer 7, where the proxy's own count is: what corrupts in silence shows nowhere else.
    """
    if isinstance(fault, CommandFault):
        return (fault.effect,)
    if isinstance(fault, Layer7Fault):
        return ()
    if isinstance(fault, Layer4Fault):
        return toxic_effects(fault, primary_metrics)
    return process_effects(fault, primary_metrics)
