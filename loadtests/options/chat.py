"""The options of users that ask for chat completions."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from loadtests.options.base import ClientManner, Profile
from slo.model import Model
from slo.quantities import Duration


class ChatOptions(Model):
    """Chat completions in a provider's wire format, plain or streamed."""

    client: ClientManner = "careful"
    api: Literal["openai", "anthropic"] = "openai"
    stream: bool = True
    model: str = "demo-model"
    timeout: Duration = Field(30.0, gt=0, description="How long a client waits for the next byte.")
    connect_timeout: Duration = Field(10.0, gt=0)
    retries: int = Field(2, ge=0, le=20, description="Most retries of one request, as the SDKs default to.")
    backoff: Duration = Field(
        0.5, ge=0, description="First pause before a retry; doubles up to 8 s, jittered."
    )
    max_tokens: int = Field(256, ge=1)
    items: int = Field(100, ge=1, description="Questions are drawn from this many items of the dataset.")
    connection: Literal["pooled", "fresh"] = "pooled"


class ChatProfile(Profile):
    """Users that ask for chat completions."""

    user: Literal["chat"]
    with_: ChatOptions = Field(default_factory=ChatOptions, alias="with")
