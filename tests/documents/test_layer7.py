"""Faults at layer 7 in documents: they are the proxy's own types in the documents' units; mistakes are told."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import TypeAdapter

from chaos.documents.fault import FaultBase, type_of
from chaos.documents.faults import LAYER7_TYPES, Fault
from chaos.documents.layer7 import Layer7Base, Layer7Fault, Where
from chaos.faults.layer7 import attributes_in_words, layer7_attributes, messages_in_words
from chaos.plan_view import plan_text
from chaos.planning import make_plan
from chaos.proxy.layer7 import where as proxys
from chaos.proxy.layer7.catalogue import BOTH, LAYER7, problem

from .conftest import Folder

CASES = Path(__file__).with_name("layer7_mistakes.txt")
GOLDEN = Path(__file__).parents[1] / "golden" / "plans" / "faults-at-layer7.txt"
MODELS = get_args(Layer7Fault)
TARGET = """
    apiVersion: brownout/v1
    kind: Target
    metadata: {name: here}
    spec:
      services:
        environment: {demo: environment}
        model: {url: "http://127.0.0.1:8000"}
        quiet: {url: "http://127.0.0.1:8001"}
"""
EXPERIMENT = """
    apiVersion: brownout/v1
    kind: Experiment
    metadata: {name: broken}
    spec:
      target: here
      load: {profile: players}
      phases: {baseline: 3s, fault: 6s, recovery: 3s}
      faults:
        - name: a
          place: model
          type: http_reply
          status: 429
          retry_after: 2s
          provider: openai
          headers: {x-a: b}
          toxicity: 20%
          where: {method: POST, path: "/v1/*", json: {/model: m-*}}
          id: {header: x-request-id}
          persist: request
        - {name: b, place: model, type: sse_cut, events: 3, where: {header: {accept: "text/*"}, every: 3, first: 9}}
        - {name: c, place: environment, type: json_edit, pointer: /data/reward, action: nan, where: {reply_to: {/type: step}}}
        - {name: d, place: model, type: http_delay, delay: 250ms, jitter: 50ms, stream: upstream}
        - {name: e, place: model, type: http_truncate, bytes: 1kB, length: wrong}
        - {name: f, place: environment, type: ws_close, code: 1011, where: {message: text, nth: 4}}
        - {name: g, place: model, type: json_edit, pointer: /n, action: set, value: null, stream: up}
        - {name: h, place: model, type: tool_error, reached: true, where: {tool: search, rpc: "tools/*"}}
        - {name: i, place: model, type: session_swap, effect: {metric: m, rises: 5%}}
        - {name: j, place: quiet, type: latency, latency: 5ms}
      objectives: [{ref: steps, phases: [baseline], runbook: other}]
"""


@pytest.fixture
def layer7(folder: Folder) -> Folder:
    """A project with an experiment whose faults are of layer 7, but for one."""
    folder.write("chaos/targets/here.yaml", TARGET)
    folder.write("chaos/experiments/broken.yaml", EXPERIMENT)
    (folder.root / "chaos/experiments/slow.yaml").unlink()
    return folder


def fault(**keys: Any) -> Any:
    """A fault of some model."""
    return TypeAdapter(Fault).validate_python({"name": "f", "place": "p", **keys}, by_alias=True)


def own_fields(model: type[FaultBase]) -> dict[str, Any]:
    """What a model has that not all at layer 7 have."""
    return {
        k: v for k, v in model.model_fields.items() if k not in (*Layer7Base.model_fields, "type", "stream")
    }


def test_there_is_a_model_for_each_type_of_the_proxy() -> None:
    """And none for anything else."""
    assert sorted(map(type_of, MODELS)) == sorted(LAYER7)
    assert set(LAYER7) == LAYER7_TYPES


@pytest.mark.parametrize("model", MODELS, ids=type_of)
def test_a_model_is_its_type_in_the_documents_units(model: type[Layer7Base]) -> None:
    """Attributes, defaults, choices and bounds are the catalogue's; `stream` is there where both are allowed."""
    spec = LAYER7[type_of(model)]
    assert set(own_fields(model)) == {attribute.name for attribute in spec.attributes}
    assert ("stream" in model.model_fields) == (spec.streams == BOTH)
    required = {"pointer": "/x"} if type_of(model) == "json_edit" else {}
    made = layer7_attributes(fault(type=type_of(model), **required))
    assert made == {a.name: required.get(a.name, a.default) for a in spec.attributes}
    assert problem(type_of(model), made) is None
    for attribute in spec.attributes:
        field = model.model_fields[attribute.name]
        if attribute.kind == "choice":
            assert get_args(field.annotation) == attribute.choices
        bounds = {getattr(m, "ge", None) for m in field.metadata} | {
            getattr(m, "le", None) for m in field.metadata
        }
        if attribute.kind in ("integer", "number") and attribute.unit not in ("ms", "s", "bytes"):
            assert bounds - {None} == {attribute.least, attribute.most}


def test_where_has_the_proxys_conditions() -> None:
    """Every condition of the proxy can be written, and no other."""
    names = {field.alias or name for name, field in Where.model_fields.items()}
    assert names == set(proxys.Where.__dataclass_fields__)


@pytest.mark.parametrize(
    ("keys", "attribute", "value"),
    [
        ({"type": "http_reply", "retry_after": "2s"}, "retry_after", 2),
        ({"type": "http_reply", "retry_after": "0s"}, "retry_after", 0),
        ({"type": "http_reply"}, "retry_after", -1),
        ({"type": "http_delay", "delay": "1.5s"}, "delay", 1500),
        ({"type": "http_delay", "delay": "400us"}, "delay", 1),
        ({"type": "http_truncate", "bytes": "2KiB"}, "bytes", 2048),
        ({"type": "json_edit", "pointer": "/a", "action": "set", "value": [1, None]}, "value", [1, None]),
    ],
)
def test_units_become_the_proxys(keys: dict[str, Any], attribute: str, value: object) -> None:
    """Durations become milliseconds (Retry-After: seconds), sizes bytes; what is above 0 stays above 0."""
    assert layer7_attributes(fault(**keys))[attribute] == value


def mistakes() -> list[tuple[str, str, str]]:
    """What is replaced, by what, and what is said."""
    text = "\n".join(line for line in CASES.read_text().splitlines() if not line.startswith("#"))
    cases = []
    for block in text.strip().split("\n\n"):
        old, new, *answer = block.split("\n")
        was, becomes = (line[2:].replace("\\n", "\n") for line in (old, new))
        cases.append((was, becomes, "\n".join(answer)))
    return cases


@pytest.mark.parametrize(("old", "new", "answer"), mistakes())
def test_each_mistake_is_told_with_its_place(layer7: Folder, old: str, new: str, answer: str) -> None:
    """One mistake, and the whole answer: the place of the value, what was expected, what is there."""
    layer7.change("chaos/experiments/broken.yaml", old, new)
    assert "\n".join(layer7.refused("broken")) == answer


def test_what_the_mistakes_are_made_in_is_right(layer7: Folder) -> None:
    """Its plan is the known one: which messages, what is done to them, what is read as HTTP, what is evidence."""
    text = plan_text(make_plan(layer7.resolve("broken"), 1, 10))
    if os.environ.get("BROWNOUT_REGENERATE"):
        GOLDEN.write_text(text)
    assert text == GOLDEN.read_text()


def test_an_experiment_of_layer7_reads_the_same_again(layer7: Folder) -> None:
    """What a run folder keeps of it gives the same plan."""
    resolved = layer7.resolve("broken")
    (layer7.root / "again.yaml").write_text(resolved.resolved_yaml)
    assert make_plan(layer7.resolve("again.yaml"), 1, 10) == make_plan(resolved, 1, 10)


def test_words_for_attributes_leave_out_what_says_nothing() -> None:
    """What is at its default is told where it says something; texts are shortened."""
    body = layer7_attributes(fault(type="http_reply", status=200, body="x" * 100))
    assert attributes_in_words("http_reply", body) == ["status 200", 'body "' + "x" * 56 + "..."]
    scale = layer7_attributes(fault(type="json_edit", pointer="/a", action="scale"))
    assert attributes_in_words("json_edit", scale) == ['pointer "/a"', "action scale", "factor 100.0"]


def test_words_for_messages() -> None:
    """All that has to fit, then which of those."""
    assert messages_in_words({}) == "all messages"
    where: dict[str, Any] = {"path": "/v1/*", "header": {"x": "a*"}, "json": {"": 1}, "first": 2}
    assert (
        messages_in_words(where, 0.125)
        == "12.5% of the messages with path /v1/*, header x: a*, the whole = 1 (of the first 2)"
    )
