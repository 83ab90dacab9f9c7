"""openenv-core's server, imported without its web interface.

`openenv.core.env_server` imports gradio and pandas for a page at /web that is off by default: 4 of 6 seconds.
It does without where gradio is not installed (it catches ModuleNotFoundError), so for the time of that import
gradio counts as not installed, by the import system's own means: `None` in `sys.modules`
(https://docs.python.org/3/reference/import.html#the-module-cache). Nothing of the package is changed, and
with ENABLE_WEB_INTERFACE=true `create_app` still finds gradio when it asks for it.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def _not_installed(module: str) -> Iterator[None]:
    if module in sys.modules:
        yield  # somebody has paid for it already
        return
    sys.modules[module] = None  # type: ignore[assignment]  # typeshed leaves out what the reference says
    try:
        yield
    finally:
        del sys.modules[module]


with _not_installed("gradio"):
    from openenv.core.env_server.http_server import create_app
    from openenv.core.env_server.interfaces import Environment
    from openenv.core.env_server.types import Action, ConcurrencyConfig, Observation, State

__all__ = ["Action", "ConcurrencyConfig", "Environment", "Observation", "State", "create_app"]
