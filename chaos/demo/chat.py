"""The chat endpoint: one for all wire formats, so that a format is only a way to write things down.

A reply takes as long in one piece as it does streamed. `gen_ai.server.request.duration` runs until the last
byte; a stream whose client leaves has `error.type` `client_disconnected`.
Source: https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-metrics/#model-server-metrics
"""

from __future__ import annotations

import asyncio
import re
import time
import uuid
from collections.abc import AsyncIterator

from opentelemetry.metrics import Histogram
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from chaos.demo.body import BodyRefused, read_object
from chaos.demo.model import Question, Reply, reply
from chaos.demo.telemetry import GEN_AI_BOUNDARIES_S, Telemetry
from chaos.demo.wire.wire import BadRequest, Wire

_MODELS_MAX = 20
_MODEL = re.compile(r"[\w.:/@+-]{1,100}", re.ASCII)


class Chat:
    """Answers chat requests in one wire format."""

    def __init__(self, wire: Wire, duration: Histogram, chunk_delay_s: float) -> None:
        self.wire = wire
        self._duration = duration
        self._chunk_delay_s = chunk_delay_s
        self._models: set[str] = set()

    async def answer(self, request: Request) -> Response:
        """A completion, whole or streamed; 400 and 413 for what the provider would refuse."""
        begun, ident = time.perf_counter(), uuid.uuid4().hex
        try:
            question = self.wire.question(await read_object(request))
        except BadRequest as error:
            self._record(begun, None, "400")
            return self.refuse(400, error, ident)
        except BodyRefused as error:
            self._record(begun, None, str(error.status))
            return self.refuse(error.status, BadRequest(str(error)), ident)
        answered = reply(question)
        headers = {self.wire.request_id_header: f"req_{ident}"}
        if question.stream:
            events = self._events(question, answered, ident, begun)
            return StreamingResponse(events, media_type="text/event-stream", headers=headers)
        await self._pause(len(answered.chunks))
        self._record(begun, question.model)
        return JSONResponse(self.wire.whole(question, answered, ident), headers=headers)

    def refuse(self, status: int, error: BadRequest, ident: str | None = None) -> Response:
        """The provider's error body."""
        ident = f"req_{ident or uuid.uuid4().hex}"
        headers = {self.wire.request_id_header: ident}
        return JSONResponse(self.wire.error(status, error, ident), status, headers=headers)

    async def _events(
        self, question: Question, answered: Reply, ident: str, begun: float
    ) -> AsyncIterator[str]:
        error_type: str | None = "client_disconnected"
        try:
            yield self.wire.begin(question, answered, ident)
            for text in answered.chunks:
                await self._pause(1)
                yield self.wire.chunk(question, text, ident)
            yield self.wire.end(question, answered, ident)
            error_type = None
        finally:
            self._record(begun, question.model, error_type)

    async def _pause(self, chunks: int) -> None:
        if self._chunk_delay_s > 0:
            await asyncio.sleep(self._chunk_delay_s * chunks)

    def _record(self, begun: float, model: str | None, error_type: str | None = None) -> None:
        attributes = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": self.wire.provider}
        if model is not None:
            attributes["gen_ai.request.model"] = self._known(model)
        if error_type is not None:
            attributes["error.type"] = error_type
        self._duration.record(time.perf_counter() - begun, attributes)

    def _known(self, model: str) -> str:
        """The model's name; `_OTHER` for odd ones and for ever new ones, which would each be a series."""
        if model not in self._models:
            if len(self._models) >= _MODELS_MAX or not _MODEL.fullmatch(model):
                return "_OTHER"
            self._models.add(model)
        return model


def request_duration(telemetry: Telemetry) -> Histogram:
    """The histogram that all wire formats share."""
    return telemetry.duration(
        "gen_ai.server.request.duration", "Generative AI server request duration.", GEN_AI_BOUNDARIES_S
    )
