"""Effects: what must be seen, while a fault is in place, for it to count as having acted."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from slo.model import Model
from slo.objective import Filter
from slo.quantities import Duration, Share


def by_key(*keys: str, otherwise: str) -> Discriminator:
    """Tells the members of a union apart by the first of `keys` that is present, for errors that fit."""

    def choose(value: Any) -> str:
        present = value if isinstance(value, dict) else getattr(value, "model_fields_set", ())
        return next((key for key in keys if key in present), otherwise)

    return Discriminator(choose)


class QuantileEffect(Model):
    """Seen when a quantile of a duration histogram rises by at least `rises` over the baseline's."""

    metric: str = Field(min_length=1)
    filters: dict[str, Filter] = Field(default_factory=dict)
    quantile: Literal["p50", "p90", "p95", "p99"]
    rises: Duration = Field(gt=0)


class ShareEffect(Model):
    """Seen when the share of the metric's points that carry `attribute` rises by at least `rises`."""

    metric: str = Field(min_length=1)
    filters: dict[str, Filter] = Field(default_factory=dict)
    attribute: str = Field("error.type", min_length=1)
    rises: Share = Field(gt=0)


Effect = Annotated[
    Annotated[QuantileEffect, Tag("quantile")] | Annotated[ShareEffect, Tag("share")],
    by_key("quantile", otherwise="share"),
]
