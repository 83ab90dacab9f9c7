"""Random calls and traffic, given to the embedded proxy and to a real Toxiproxy: what is seen must be one.

What may differ is listed in `chaos.proxy` and shown in test_differences.py; where a machine leaves out what such a
difference, or a race within Toxiproxy, would decide, it says so. A long hunt, each run with other draws:

    BROWNOUT_SEQUENCES=2000 make test ARGS=tests/proxy/test_differential.py
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.proxy.calls import BODIES, HEADERS, METHODS, PLACES, TAKERS, Calls
from tests.proxy.changes import Changes
from tests.proxy.side_by_side import World
from tests.proxy.toxics_drawn import path_of

pytestmark = pytest.mark.toxiproxy
SEQUENCES = int(os.environ.get("BROWNOUT_SEQUENCES", "0"))
STEPS = 30


@pytest.fixture
def world(own_proxy: Callable[..., Any], toxiproxy_api: str) -> Iterator[World]:
    """Both servers, each with an upstream of its own."""
    world = World(own_proxy("--seed", "7").url, toxiproxy_api)
    yield world
    for side in world.sides:
        side.clear(path_of)
    world.close()


# Shrinking may go on for Hypothesis' five minutes.
@pytest.mark.timeout(600 + 3 * SEQUENCES)
@pytest.mark.parametrize(("machine", "sequences"), [(Calls, 20), (Changes, 40)])
def test_both_agree(world: World, machine: type[Changes], sequences: int) -> None:
    """Whatever is asked and sent, in whatever order: replies and connections' fates are those of Toxiproxy."""
    bound = type(machine.__name__, (machine,), {"world": world})
    how = settings(
        max_examples=SEQUENCES or sequences,
        stateful_step_count=STEPS,
        phases=[phase for phase in Phase if phase is not Phase.explain],
        report_multiple_bugs=False,
    )
    run_state_machine_as_test(bound, settings=how)


def test_every_body_to_every_place(world: World) -> None:
    """All that the machine draws from, once each, in one order: a proxy is made anew before each call."""
    listed = b'{"name":"a","listen":"127.0.0.1:0","upstream":"@up"}'
    for call in TAKERS:
        for body in BODIES:
            for name in {name for side in world.sides for name in side.listen}:
                world.call("DELETE", path_of(name))
            world.call("POST", "/proxies", listed)
            world.call("POST", "/proxies/a/toxics", b'{"type":"latency","name":"t"}')
            method, _, path = call.partition(" ")
            world.call(method, path, body)
            world.call("GET", "/proxies")
            for side in world.sides:
                side.look()


def test_every_method_and_header_at_every_place(world: World) -> None:
    """Those too, with nothing there."""
    for place in PLACES:
        for method in METHODS:
            for headers in HEADERS:
                world.call(method, place, b"", headers)


@pytest.mark.parametrize("name", [b"\\ud800", b"\\udc00\\ud800", b"\xff", b"\\ud83d\\ude00"])
def test_text_that_is_no_unicode_is_mended(world: World, name: bytes) -> None:
    """Halves of surrogate pairs and bad UTF-8 come in as U+FFFD, so that they can be written out again."""
    body = b'{"name":"' + name + b'","listen":"127.0.0.1:0","upstream":"x"}'
    made = world.call("POST", "/proxies", body)
    assert made.status == 201
    world.call("GET", "/proxies")
