"""What a document is called: its name, and what else its metadata may hold."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from slo.model import Model

RUNBOOK_ANNOTATION = "brownout.dev/runbook"
"""The annotation of an objective that names the runbook of its breach."""

Name = Annotated[
    str,
    Field(
        pattern=r"^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$",
        description="A name: lower-case letters, digits, '-' and '.', at most 63.",
    ),
]


class Metadata(Model):
    """What a document is called. `displayName` is OpenSLO's."""

    name: Name
    displayName: str = ""
    description: str = ""
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)
