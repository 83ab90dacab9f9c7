"""The options of users that have answers graded by a judge model."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from loadtests.options.base import ClientManner, Profile
from slo.model import Model
from slo.quantities import Duration, Share


class GraderOptions(Model):
    """Answers that are known to be right or wrong, each shown to a judge in a provider's wire format.

    `parsing` is what becomes of the judge's reply: strictly one verdict on the scale that was asked for, or
    nothing; or leniently the first that looks like one, and `otherwise` where there is none.
    """

    client: ClientManner = "careful"
    api: Literal["openai", "anthropic"] = "openai"
    stream: bool = False
    model: str = "demo-model"
    timeout: Duration = Field(30.0, gt=0, description="How long a client waits for the next byte.")
    connect_timeout: Duration = Field(10.0, gt=0)
    retries: int = Field(
        2,
        ge=0,
        le=20,
        description="Most retries; a careful client asks for an unreadable verdict again, too.",
    )
    backoff: Duration = Field(0.5, ge=0, description="First pause before a retry; doubles up to 8 s.")
    max_tokens: int = Field(256, ge=1)
    connection: Literal["pooled", "fresh"] = "pooled"
    items: int = Field(100, ge=1, le=1_000_000, description="Questions are drawn from this many items.")
    wrong: Share = Field(0.5, description="The share of the answers that are wrong.")
    verdict: Literal["grade", "score"] = Field(
        "grade", description="grade: a line `GRADE: C` or `GRADE: I`; score: a JSON object with a `score`."
    )
    scale: float = Field(1.0, gt=0, le=1000, description="The highest score that a judge may give.")
    parsing: Literal["strict", "lenient"] = "strict"
    otherwise: Literal["zero", "max"] = Field(
        "zero", description="What a lenient client takes for a verdict that it cannot read."
    )
    repeat: int = Field(
        1, ge=1, le=5, description="How often each answer is judged; verdicts that differ leave it unscored."
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.verdict == "grade" and "scale" in self.model_fields_set and self.scale != 1.0:
            raise ValueError("scale belongs to verdict: score; a grade is C or I")
        if self.parsing == "strict" and "otherwise" in self.model_fields_set and self.otherwise != "zero":
            raise ValueError("otherwise belongs to parsing: lenient; read strictly, no verdict is no score")
        return self


class GraderProfile(Profile):
    """Users that have answers graded by a judge model."""

    user: Literal["grader"]
    with_: GraderOptions = Field(default_factory=GraderOptions, alias="with")
