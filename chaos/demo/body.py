"""Reading a JSON body with bounds: whatever is sent, the answer is an object or a reason to refuse it."""

from __future__ import annotations

import json

from starlette.requests import Request

MAX_BYTES = 16 * 2**20


class BodyRefused(ValueError):
    """A body that is too large, or no JSON. `status` is the HTTP status that says so."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


async def read_object(request: Request) -> dict[str, object]:
    """The body as a JSON object. Raises BodyRefused; ClientDisconnect when the client leaves halfway."""
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > MAX_BYTES:
            raise BodyRefused(f"Request exceeds the maximum size of {MAX_BYTES} bytes.", 413)
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BodyRefused(f"We could not parse the JSON body of your request: {error}", 400) from error
    if not isinstance(value, dict):
        raise BodyRefused("We could not use the JSON body of your request: expected an object", 400)
    return value
