"""The demo environment: knowledge work (`loadtests.workspace`), served by openenv-core's own server.

Each WebSocket on /ws is a session with an environment of its own. Every observation echoes the nonce of the
action that it answers, and says which step of which episode it belongs to: a reply that reached the wrong
request shows. Rewards follow from the task's seed and the actions alone.
"""

from __future__ import annotations

import contextlib
import functools
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any, Final

from opentelemetry.metrics import CallbackOptions
from opentelemetry.metrics import Observation as Measurement
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocketDisconnect

from chaos.demo.openenv import Action, ConcurrencyConfig, Environment, Observation, State, create_app
from chaos.demo.telemetry import STEP_BOUNDARIES_S, Telemetry
from loadtests.task import Comparison, Operation
from loadtests.workspace import MAX_STEPS, Episode, Kind, Result

_NONCE_MAX: Final = 1000


class NotReset(ValueError):
    """A step before the first reset."""


class Where(BaseModel):
    """A condition of a computation: which entries count."""

    model_config = ConfigDict(extra="forbid")

    column: str
    comparison: Comparison
    value: str | int


class WorkspaceAction(Action):  # type: ignore[misc]  # openenv-core ships no types
    """One step: a search, a reading, a computation or the submission that ends the episode."""

    kind: Kind
    nonce: str = Field("", max_length=_NONCE_MAX, description="Comes back in the observation.")
    query: str = Field("", max_length=10_000)
    document: str = Field("", max_length=100)
    operation: Operation = "sum"
    column: str = Field("", max_length=100)
    where: list[Where] = Field(default_factory=list, max_length=20)
    answer: str = Field("", max_length=1000)


class Found(BaseModel):
    """A document that a search found."""

    id: str
    title: str
    snippet: str


class WorkspaceObservation(Observation):  # type: ignore[misc]  # openenv-core ships no types
    """What came of a reset (the question) or of a step; `step` counts from the reset, which is 0."""

    text: str = ""
    hits: list[Found] = Field(default_factory=list)
    error: str = Field("", description="Why the action could not be performed.")
    nonce: str = ""
    step: int = 0
    task: int = 0
    episode_id: str = ""


class Reset(BaseModel):
    """What a reset may be given."""

    seed: int = Field(0, ge=-(2**63), lt=2**63, description="Picks the task.")
    episode_id: str = Field("", max_length=255)
    nonce: str = Field("", max_length=_NONCE_MAX)
    max_steps: int = Field(MAX_STEPS, ge=1, le=1_000_000)


class Measures:
    """What the environments of one server report."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._lock = threading.Lock()  # sessions are closed in openenv-core's executor
        self._sessions = 0
        self.duration = telemetry.duration(
            "brownout.env.step.duration", "Time in the environment, without its server.", STEP_BOUNDARIES_S
        )
        telemetry.meter.create_observable_gauge(
            "brownout.env.sessions", [self._observe], unit="{session}", description="Open environments."
        )

    def count(self, by: int) -> None:
        """An environment was opened (1) or closed (-1)."""
        with self._lock:
            self._sessions += by

    def _observe(self, _: CallbackOptions) -> list[Measurement]:
        return [Measurement(self._sessions)]


class KnowledgeWork(Environment):  # type: ignore[misc]  # openenv-core ships no types
    """One session's environment."""

    SUPPORTS_CONCURRENT_SESSIONS = True
    # Sessions share no state but immutable workspaces, and a step takes microseconds: it runs in the event
    # loop (the `_async` methods below). Without this openenv-core would still start a thread per session.
    REQUIRES_SINGLE_THREAD_EXECUTOR = True

    def __init__(self, measures: Measures) -> None:
        super().__init__()
        self._measures = measures
        self._episode: Episode | None = None
        self._episode_id = ""
        self._open = True
        measures.count(1)

    def reset(self, seed: int | None = None, episode_id: str | None = None, **options: Any) -> Any:
        """Begin an episode: the task of `seed` (0 if left out). Raises ValidationError for a bad option."""
        begun = time.perf_counter()
        given = {"seed": seed, "episode_id": episode_id, **options}
        wanted = Reset.model_validate({name: value for name, value in given.items() if value is not None})
        self._episode = Episode(wanted.seed, wanted.max_steps)
        self._episode_id = wanted.episode_id or uuid.uuid4().hex
        observation = self._observation(Result(self._episode.question), wanted.nonce)
        self._measures.duration.record(time.perf_counter() - begun, {"brownout.operation": "reset"})
        return observation

    def step(self, action: Any, timeout_s: float | None = None, **_: Any) -> Any:
        """Perform one action of the episode. Raises NotReset before the first reset."""
        begun = time.perf_counter()
        if self._episode is None:
            raise NotReset("step: expected a reset before the first step of a session")
        result = self._episode.act(action.model_dump(exclude={"nonce", "metadata"}))
        observation = self._observation(result, action.nonce)
        self._measures.duration.record(
            time.perf_counter() - begun, {"brownout.operation": "step", "brownout.action": action.kind}
        )
        return observation

    async def reset_async(
        self, seed: int | None = None, episode_id: str | None = None, **options: Any
    ) -> Any:
        """As `reset`, in the event loop."""
        return self.reset(seed, episode_id, **options)

    async def step_async(self, action: Any, timeout_s: float | None = None, **_: Any) -> Any:
        """As `step`, in the event loop."""
        return self.step(action)

    @property
    def state(self) -> Any:
        """Which episode this is, and how far it has come."""
        episode = self._episode
        if episode is None:
            return State()
        return State(
            episode_id=self._episode_id, step_count=episode.steps, task=episode.seed, done=episode.done
        )

    def close(self) -> None:
        """The session is over."""
        if self._open:
            self._open = False
            self._measures.count(-1)

    def _observation(self, result: Result, nonce: str) -> WorkspaceObservation:
        assert self._episode is not None  # noqa: S101 - both callers have set or checked it
        return WorkspaceObservation(
            text=result.text,
            hits=[Found(id=hit.id, title=hit.title, snippet=hit.snippet) for hit in result.hits],
            error=result.error,
            reward=result.reward,
            done=result.done,
            nonce=nonce,
            step=self._episode.steps,
            task=self._episode.seed,
            episode_id=self._episode_id,
        )


def build(telemetry: Telemetry, *, max_sessions: int, session_timeout_s: float | None = None) -> ASGIApp:
    """The app: openenv-core's, with `/healthz`, which is 200 while environments can be made and reset."""
    factory: Callable[[], KnowledgeWork] = functools.partial(KnowledgeWork, Measures(telemetry))
    app = create_app(
        factory,
        WorkspaceAction,
        WorkspaceObservation,
        env_name="knowledge_work",
        concurrency_config=ConcurrencyConfig(
            max_concurrent_envs=max_sessions, session_timeout=session_timeout_s
        ),
    )

    async def healthz() -> JSONResponse:
        try:
            made = factory()
            try:
                await made.reset_async(seed=0)
            finally:
                made.close()
        except Exception as error:  # whatever the factory raises is what a session would meet
            return JSONResponse({"status": "failing", "reason": f"{type(error).__name__}: {error}"}, 503)
        return JSONResponse({"status": "ok"})

    async def bad_reset(_: Request, error: Exception) -> JSONResponse:
        detail = error.errors(include_context=False) if isinstance(error, ValidationError) else str(error)
        return JSONResponse({"detail": detail}, 422)

    async def not_reset(_: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"detail": f"{error}; over HTTP each request has its own: use /ws"}, 409)

    app.add_api_route("/healthz", healthz, methods=["GET"])
    app.add_exception_handler(ValidationError, bad_reset)
    app.add_exception_handler(NotReset, not_reset)
    return _leaving_is_no_error(app)


def _leaving_is_no_error(app: ASGIApp) -> ASGIApp:
    """The app, without what openenv-core raises when it closes a socket whose client has gone.

    uvicorn would log a traceback for each, thousands of them while a fault closes connections.
    """

    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        with contextlib.suppress(WebSocketDisconnect):
            await app(scope, receive, send)

    return wrapped
