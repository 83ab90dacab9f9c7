"""How an injected fault is taken away again: pure data, so that it can be journalled, held and replayed."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from slo.model import Model


class RemoveToxic(Model):
    """Delete one toxic."""

    kind: Literal["remove-toxic"] = "remove-toxic"
    api: str
    proxy: str
    toxic: str


class EnableProxy(Model):
    """Enable a proxy that was disabled."""

    kind: Literal["enable-proxy"] = "enable-proxy"
    api: str
    proxy: str


class DeleteProxy(Model):
    """Delete a proxy that the run created."""

    kind: Literal["delete-proxy"] = "delete-proxy"
    api: str
    proxy: str


Undo = Annotated[RemoveToxic | EnableProxy | DeleteProxy, Field(discriminator="kind")]
