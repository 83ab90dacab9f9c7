"""The exact-match scorer over HTTP: what `loadtests.items` says, for one completion or many."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from chaos.demo.body import BodyRefused, read_object
from loadtests.items import UnknownItem, by_id, extract

_BATCH_MAX = 10_000


class Sample(BaseModel):
    """A completion, and the item that it is to answer."""

    model_config = ConfigDict(extra="forbid", strict=True)

    item: str
    completion: str


class Batch(BaseModel):
    """Several of them."""

    model_config = ConfigDict(extra="forbid", strict=True)

    samples: Annotated[list[Sample], Field(min_length=1, max_length=_BATCH_MAX)]


class Score(BaseModel):
    """1 when the answer extracted is the expected one, else 0; `extracted` is null without an answer."""

    item: str
    score: int
    expected: str
    extracted: str | None


def score(sample: Sample) -> Score:
    """Score one completion. Raises UnknownItem."""
    item = by_id(sample.item)
    extracted = extract(sample.completion)
    return Score(item=item.id, score=int(extracted == item.answer), expected=item.answer, extracted=extracted)


async def one(request: Request) -> Response:
    """`POST /score`: a sample; its score."""
    try:
        return JSONResponse(score(Sample.model_validate(await read_object(request))).model_dump())
    except (ValidationError, UnknownItem, BodyRefused) as error:
        return _refuse(error)


async def batch(request: Request) -> Response:
    """`POST /score/batch`: samples; their scores in the same order, and the share of right ones."""
    try:
        samples = Batch.model_validate(await read_object(request)).samples
        scores = [score(sample) for sample in samples]
    except (ValidationError, UnknownItem, BodyRefused) as error:
        return _refuse(error)
    accuracy = sum(each.score for each in scores) / len(scores)
    return JSONResponse({"scores": [each.model_dump() for each in scores], "accuracy": accuracy})


def _refuse(error: ValidationError | UnknownItem | BodyRefused) -> Response:
    status = error.status if isinstance(error, BodyRefused) else 400
    message, field = str(error), None
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        message, field = first["msg"], ".".join(map(str, first["loc"])) or None
    elif isinstance(error, UnknownItem):
        field = "item"
    return JSONResponse({"error": {"message": message, "field": field}}, status)
