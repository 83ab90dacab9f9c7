"""A real HTTP service (aiohttp) that a plain HTTP user has all its features on."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from typing import Any

from aiohttp import web

AWKWARD = "a/b c?d=é#%2e${x}"
"""An id that has to be percent-encoded."""
ELSEWHERE = "http://elsewhere.invalid/"


async def create(request: web.Request) -> web.Response:
    """Make an item: its id is awkward, and says whose it is."""
    asked = await request.json()
    body = {"item": {"id": f"{AWKWARD}{asked['n']}", "n": asked["n"], "got": asked}}
    return web.json_response(body, status=201, headers={"ETag": f'"v{asked["n"]}"'})


async def read(request: web.Request) -> web.StreamResponse:
    """What was asked for: the path as it came, decoded; packed as the query wants it, and in chunks."""
    body = {"id": request.match_info["id"], "match": request.headers.get("If-Match")}
    answer = web.json_response(body)
    how = request.query.get("packed")
    if how == "unknown":
        answer.headers["Content-Encoding"] = "unknown"
    elif how is not None:
        answer.enable_compression(web.ContentCoding(how))
        answer.enable_chunked_encoding()
    return answer


async def score(request: web.Request) -> web.Response:
    """A score, and the nonce that was sent."""
    return web.json_response({"score": 0.5, "nonce": request.headers.get("X-Nonce"), "mode": "plain"})


async def text(_: web.Request) -> web.Response:
    """Text with a token."""
    return web.Response(text="first line\ntoken=abc123; and more\n")


async def old(request: web.Request) -> web.Response:
    """A redirect to the one before it, and at last to the score."""
    number = int(request.match_info["number"])
    raise web.HTTPFound(f"/old/{number - 1}" if number else "/score")


async def away(_: web.Request) -> web.Response:
    """A redirect to another service."""
    raise web.HTTPFound(ELSEWHERE)


async def login(request: web.Request) -> web.Response:
    """Gives two cookies, and redirects to who it is."""
    answer = web.HTTPSeeOther("/me")
    answer.set_cookie("sid", (await request.text()))
    answer.set_cookie("theme", "dark", path="/me")
    raise answer


async def me(request: web.Request) -> web.Response:
    """Who it is, by cookie."""
    if "sid" not in request.cookies:
        raise web.HTTPUnauthorized
    return web.json_response({"sid": request.cookies["sid"], "theme": request.cookies.get("theme")})


def application() -> web.Application:
    """All routes."""
    app = web.Application()
    app.add_routes(
        [
            web.post("/items", create),
            web.get("/items/{id:.+}", read),
            web.get("/score", score),
            web.get("/text", text),
            web.get("/old/{number}", old),
            web.get("/away", away),
            web.post("/login", login),
            web.get("/me", me),
        ]
    )
    return app


@contextlib.contextmanager
def shop() -> Iterator[str]:
    """The service, in a thread; yields its URL."""
    ready: dict[str, Any] = {}
    up = threading.Event()

    async def serve() -> None:
        runner = web.AppRunner(application(), access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, shutdown_timeout=0.1)
        await site.start()
        ready["url"] = f"http://127.0.0.1:{runner.addresses[0][1]}"
        ready["loop"], ready["over"] = asyncio.get_running_loop(), asyncio.Event()
        up.set()
        await ready["over"].wait()
        await runner.cleanup()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    try:
        assert up.wait(30)
        yield str(ready["url"])
    finally:
        ready["loop"].call_soon_threadsafe(ready["over"].set)
        thread.join()
