"""The options of users that ask for chat completions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, JsonValue

from loadtests.options.base import ClientManner, Flaw, Profile
from loadtests.options.check import HeaderName
from loadtests.prompts import BadPrompts, read
from slo.model import Model
from slo.quantities import Duration

HeaderValue = Annotated[str, Field(pattern=r"^[\t\x20-\x7e\x80-\xff]*$")]


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
    retry_after: Literal["heed", "ignore"] | None = Field(
        None,
        description="Whether Retry-After and x-should-retry are heeded as the provider's SDK does. Left out: "
        "careful clients heed them; naive ones do not, as many hand-written loops and gateways.",
    )
    max_tokens: int = Field(256, ge=1)
    items: int = Field(100, ge=1, description="Questions are drawn from this many items of the dataset.")
    prompts: str | None = Field(
        None, min_length=1, description="A file of prompts of one's own (JSONL), instead of the dataset."
    )
    stall: Duration = Field(1.0, gt=0, description="A pause between two chunks that counts as a stall.")
    path: str | None = Field(
        None, pattern=r"^/", description="Where completions are asked for, if elsewhere."
    )
    headers: dict[HeaderName, HeaderValue] = Field(
        default_factory=dict, description="More headers. They are written down with the run: no secrets."
    )
    api_key_env: str | None = Field(
        None,
        pattern=r"^[A-Za-z_][A-Za-z0-9_]*$",
        description="The environment variable that holds the API key; its value is never written anywhere.",
    )
    body: dict[str, JsonValue] = Field(
        default_factory=dict, description="More keys of the request's body; null leaves one out."
    )
    connection: Literal["pooled", "fresh"] = "pooled"

    @property
    def heeds(self) -> bool:
        """Whether the service's word on retries is heeded."""
        return self.client == "careful" if self.retry_after is None else self.retry_after == "heed"


class ChatProfile(Profile):
    """Users that ask for chat completions."""

    user: Literal["chat"]
    with_: ChatOptions = Field(default_factory=ChatOptions, alias="with")

    def placed(self, root: Path) -> Self:
        """With the file of prompts made absolute."""
        options = self.with_
        if options.prompts is None:
            return self
        prompts = str(root / options.prompts)
        return self.model_copy(update={"with_": options.model_copy(update={"prompts": prompts})})

    def flaws(self) -> list[Flaw]:
        """What the file of prompts tells."""
        if self.with_.prompts is None:
            return []
        try:
            read(Path(self.with_.prompts))
        except BadPrompts as error:
            key = ("with", "prompts")
            if error.line:
                return [Flaw(key, str(error), file=self.with_.prompts, at=(error.line, 1))]
            return [Flaw(key, str(error))]
        return []
