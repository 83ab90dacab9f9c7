"""The options of users that send plain HTTP requests. (Inside this package only: not Python's `http`.)"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from loadtests.options.base import ClientManner, Profile
from slo.model import Model
from slo.quantities import Duration


class HttpRequest(Model):
    """One request of a plain HTTP user, and what its reply must be."""

    name: str = Field(min_length=1, max_length=100, description="The operation's name in telemetry.")
    method: Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"] = "GET"
    path: str = Field(pattern=r"^/")
    headers: dict[str, str] = Field(default_factory=dict)
    body: str | None = None
    expect_status: int = Field(200, ge=100, le=599)


class HttpOptions(Model):
    """Plain HTTP: the requests of one arrival, in order."""

    client: ClientManner = "careful"
    timeout: Duration = Field(10.0, gt=0)
    connect_timeout: Duration = Field(10.0, gt=0)
    retries: int = Field(0, ge=0, le=20)
    backoff: Duration = Field(0.5, ge=0)
    connection: Literal["pooled", "fresh"] = "pooled"
    requests: tuple[HttpRequest, ...] = Field(min_length=1)


class HttpProfile(Profile):
    """Users that send plain HTTP requests."""

    user: Literal["http"]
    with_: HttpOptions = Field(alias="with")
