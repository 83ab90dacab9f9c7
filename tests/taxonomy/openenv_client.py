"""openenv-core's own client, unchanged; imported without gradio, which would take seconds."""

from __future__ import annotations

import chaos.demo.openenv  # noqa: F401 - first: it keeps gradio out

# isort: split
from openenv.core.generic_client import GenericEnvClient

__all__ = ["GenericEnvClient"]
