"""What all faults share: a name, a place, a time."""

from __future__ import annotations

from typing import Literal, get_args

from pydantic import Field

from slo.effect import Effect
from slo.metadata import Name
from slo.model import Model
from slo.quantities import Duration

StreamWord = Literal["downstream", "upstream", "down", "up"]
STREAM_SAYS = "downstream: replies, towards the client. upstream: requests."


class FaultBase(Model):
    """What all faults share: a name, a place, a time within the fault phase."""

    name: Name
    place: str = Field(
        min_length=1,
        description="A proxy of the target (each service has one of its own name), or one of its processes.",
    )
    at: Duration = Field(0.0, ge=0, description="When it is injected, after the fault phase has begun.")
    for_: Duration | None = Field(
        None, alias="for", gt=0, description="How long it stays; to the end of the fault phase if left out."
    )
    effect: Effect | None = Field(None, description="What must be seen of it; by default what its type does.")


def type_of(model: type[FaultBase]) -> str:
    """The value of `type` that chooses a fault's model."""
    return str(get_args(model.model_fields["type"].annotation)[0])
