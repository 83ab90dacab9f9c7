"""Which adapter reads which format."""

from __future__ import annotations

from loadtests.adapters.exit_code import read as read_exit_code
from loadtests.adapters.inspect import read as read_inspect
from loadtests.adapters.junit import read as read_junit
from loadtests.adapters.sample import Reader
from loadtests.adapters.verifiers import read as read_verifiers
from loadtests.options.command import LogFormat

READERS: dict[LogFormat, Reader] = {
    "inspect": read_inspect,
    "verifiers": read_verifiers,
    "junit": read_junit,
    "exit-code": read_exit_code,
}
"""By the format's name; of `none` nothing is read."""
