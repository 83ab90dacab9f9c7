"""The demo evals: a model endpoint in two wire formats, and an exact-match scorer.

What the model is asked and what is right is in `loadtests.items`, so a score that differs from what the model
said was changed on its way.
"""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from chaos.demo import retrieval, scorer
from chaos.demo.chat import Chat, request_duration
from chaos.demo.model import NAME
from chaos.demo.telemetry import Telemetry
from chaos.demo.wire.anthropic import Anthropic
from chaos.demo.wire.openai import OpenAI
from chaos.demo.wire.wire import BadRequest

MESSAGES = "/v1/messages"


async def healthz(_: Request) -> Response:
    """200 while it serves."""
    return JSONResponse({"status": "ok"})


async def models(_: Request) -> Response:
    """The one model, as OpenAI lists models. Requests may name any other: the same one answers."""
    model = {"id": NAME, "object": "model", "created": 0, "owned_by": "brownout"}
    return JSONResponse({"object": "list", "data": [model]})


def build(telemetry: Telemetry, *, chunk_delay_s: float) -> ASGIApp:
    """The app. `chunk_delay_s` passes before each word of a completion."""
    duration = request_duration(telemetry)
    openai = Chat(OpenAI(), duration, chunk_delay_s)
    anthropic = Chat(Anthropic(), duration, chunk_delay_s)

    async def refused(request: Request, error: Exception) -> Response:
        """An unknown path or method, in the words of whoever's path it is near."""
        if not isinstance(error, HTTPException):
            raise error
        chat = anthropic if request.url.path.startswith(MESSAGES) else openai
        reason = f"{error.detail}: {request.method} {request.url.path}"
        response = chat.refuse(error.status_code, BadRequest(reason))
        response.headers.update(error.headers or {})
        return response

    return Starlette(
        routes=[
            Route("/v1/chat/completions", openai.answer, methods=["POST"]),
            Route(MESSAGES, anthropic.answer, methods=["POST"]),
            Route("/v1/models", models, methods=["GET"]),
            Route("/score", scorer.one, methods=["POST"]),
            Route("/score/batch", scorer.batch, methods=["POST"]),
            *retrieval.routes(),
            Route("/healthz", healthz, methods=["GET"]),
        ],
        exception_handlers={HTTPException: refused},
    )
