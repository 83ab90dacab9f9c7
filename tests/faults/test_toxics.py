"""Faults as toxics: units, and the effects that they must have."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from chaos.documents.faults import TOXIC_TYPES, Fault
from chaos.faults.toxics import (
    FaultOutOfRange,
    stream_of,
    toxic_attributes,
    toxic_effects,
)
from chaos.proxy.toxics import STAGES
from chaos.proxy.toxics.attributes import ATTRIBUTES, defaults, problem
from slo.effect import QuantileEffect, ShareEffect

_FAULT = TypeAdapter(Fault)
STEP = "brownout.step.duration"


def fault(type: str, **more: object) -> Fault:
    return _FAULT.validate_python({"type": type, "name": "f", "place": "p", **more})


@pytest.mark.parametrize(
    ("given_fault", "attributes"),
    [
        (fault("latency", latency="250ms", jitter="1.5s"), {"latency": 250, "jitter": 1500}),
        (fault("latency", latency="200us"), {"latency": 1, "jitter": 0}),
        (fault("bandwidth", rate="64kB/s"), {"rate": 64}),
        (fault("bandwidth", rate="100B/s"), {"rate": 1}),
        (fault("bandwidth", rate="0B/s"), {"rate": 0}),
        (fault("slow_close", delay="2s"), {"delay": 2000}),
        (fault("timeout"), {"timeout": 0}),
        (fault("reset_peer", timeout="50ms"), {"timeout": 50}),
        (
            fault("slicer", average_size="1kB", size_variation="10B", delay="2ms"),
            {"average_size": 1000, "size_variation": 10, "delay": 2000},
        ),
        (fault("limit_data", bytes="64KiB"), {"bytes": 65536}),
        (fault("down"), {}),
    ],
)
def test_units_are_toxiproxys(given_fault, attributes):
    """Milliseconds, but microseconds for the slicer's delay, and kB/s; what is above 0 stays above 0."""
    assert toxic_attributes(given_fault) == attributes


def test_what_crashes_toxiproxy_is_out_of_range():
    """With the fault's name."""
    with pytest.raises(FaultOutOfRange, match=r"fault f \(slicer\).*size_variation"):
        toxic_attributes(fault("slicer", average_size="10B", size_variation="10B"))


@pytest.mark.parametrize("stream", ["down", "up", "downstream", "upstream"])
def test_streams_are_written_out(stream):
    """`down` and `up` are short for Toxiproxy's words."""
    assert stream_of(stream) == {"down": "downstream", "up": "upstream"}.get(stream, stream)


def test_every_toxic_type_can_be_built():
    """Every toxic of an experiment has a stage in the embedded proxy, and attributes; `noop` is for tests."""
    assert set(STAGES) == set(ATTRIBUTES) == TOXIC_TYPES | {"noop"}


def test_a_latency_raises_the_median_by_half_of_its_mean():
    """Where it strikes all; a jitter above the latency counts with its mean, cut at 0."""
    (effect,) = toxic_effects(fault("latency", latency="200ms", jitter="100ms"), [STEP])
    assert effect == QuantileEffect.model_validate({"metric": STEP, "quantile": "p50", "rises": "100ms"})
    (jitter,) = toxic_effects(fault("latency", jitter="400ms"), [STEP])
    assert jitter.rises == pytest.approx(0.05)


@pytest.mark.parametrize(
    ("toxicity", "quantile"), [("100%", "p50"), ("50%", "p90"), ("20%", "p90"), ("10%", "p95"), ("5%", "p99")]
)
def test_a_partial_latency_is_looked_for_among_the_struck(toxicity, quantile):
    """The quantile lies within the struck share."""
    (effect,) = toxic_effects(fault("latency", latency="1s", toxicity=toxicity), [STEP])
    assert effect.quantile == quantile


@pytest.mark.parametrize("type", ["reset_peer", "timeout", "limit_data", "down"])
def test_what_cuts_raises_the_share_of_failed_tries(type):
    """By one per cent."""
    more = {"limit_data": {"bytes": "1kB"}}.get(type, {})
    effect = toxic_effects(fault(type, **more), [STEP])[0]
    assert isinstance(effect, ShareEffect)
    assert (effect.metric, effect.attribute, effect.rises) == ("brownout.attempts", "error.type", 0.01)


def test_a_black_hole_may_show_as_slowness_too():
    """Clients may wait instead of failing."""
    kinds = [type(effect) for effect in toxic_effects(fault("timeout"), [STEP])]
    assert kinds == [ShareEffect, QuantileEffect]


@st.composite
def faults(draw: st.DrawFn) -> Fault:
    ms = st.integers(0, 100_000).map(lambda value: f"{value}ms")
    some_ms = st.integers(1, 100_000).map(lambda value: f"{value}ms")
    size = st.integers(1, 10**9).map(lambda value: f"{value}B")
    keys = {
        "latency": {"latency": ms, "jitter": ms},
        "bandwidth": {"rate": st.integers(0, 10**9).map(lambda value: f"{value}B/s")},
        "slow_close": {"delay": some_ms},
        "timeout": {"timeout": ms},
        "reset_peer": {"timeout": ms},
        "slicer": {"average_size": size, "delay": ms},
        "limit_data": {"bytes": size},
        "down": {},
    }
    type = draw(st.sampled_from(sorted(keys)))
    more = {key: draw(values) for key, values in keys[type].items()}
    if type != "down":
        more["toxicity"] = draw(st.floats(0, 1))
    return fault(type, **more)


@given(faults())
def test_every_fault_has_attributes_that_may_be_sent_and_an_effect(given_fault):
    """Whatever its values."""
    attributes = toxic_attributes(given_fault)
    if given_fault.type != "down":
        assert set(attributes) == set(defaults(given_fault.type))
        assert problem(given_fault.type, attributes) is None
    assert toxic_effects(given_fault, [STEP])
