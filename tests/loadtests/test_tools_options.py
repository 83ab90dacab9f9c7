"""What a profile of tool users may not ask for, and where it is told; and what its templates come to."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from chaos.documents.checking import validate_paths
from chaos.documents.models import Project
from chaos.documents.project import ProjectFolder
from loadtests.options.tools import ToolsOptions, ToolsProfile
from loadtests.users.arrival import Arrival, Identity
from loadtests.users.toolcalls import Call, Draw

PROFILE = r"""
apiVersion: brownout/v1
kind: LoadProfile
metadata: {name: mine}
spec:
  user: tools
  service: tools
  arrivals: 1/s
  with:
    headers:
      Authorization: Bearer of good news
      Mcp-Session-Id: mine
      X-Two: "a\r\nHost: b"
    tools:
      - name: order
        arguments:
          reference: "${id}"
          lines: [{text: "${numbr} pieces"}]
        expect: "${id"
        executions:
          tool: count
          arguments: {reference: "${user.name}"}
          pointer: count
      - name: look
        arguments: {text: "$${nothing} for 5 $, ${nonce}"}
"""


def profile(**options: Any) -> ToolsProfile:
    """A profile of tool users."""
    return ToolsProfile.model_validate(
        {"user": "tools", "service": "tools", "arrivals": "1/s", "with": options}
    )


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"calls": 0}, "greater than or equal to 1"),
        ({"protocol": "2024-11-05"}, "2025-11-25"),
        ({"timeout": "0s"}, "greater than 0"),
        ({"retries": -1}, "greater than or equal to 0"),
        ({"path": "mcp"}, "path"),
        ({"workspaces": 0}, "greater than or equal to 1"),
        ({"tools": [{"name": "two words"}]}, "name"),
        ({"tools": [{"name": "a", "weight": 0}]}, "weight"),
        ({"tools": [{"name": "a", "expect": ""}]}, "expect"),
        ({"tools": [{"name": "a", "argument": {}}]}, "Extra inputs"),
        ({"settle": "-1s"}, "1s"),
    ],
)
def test_what_cannot_be(options: dict[str, Any], told: str) -> None:
    """Each is refused, with the reason."""
    with pytest.raises(ValidationError, match=told):
        profile(**options)


def test_templates_are_refused_with_their_place(tmp_path: Path) -> None:
    """A name that there is not, a template without its end, a pointer that is none: file, line and column."""
    path = tmp_path / "mine.yaml"
    path.write_text(textwrap.dedent(PROFILE).lstrip())
    project = ProjectFolder(tmp_path, Project(apiVersion="brownout/v1", kind="Project"))
    said = [str(problem) for problem in validate_paths([str(path)], project).problems]
    places = [(text.split(":")[1], text.split(": ")[1]) for text in said]
    assert places == [
        ("11", "spec.with.headers.Mcp-Session-Id"),
        ("12", "spec.with.headers.X-Two"),
        ("17", "spec.with.tools[0].arguments.lines[0].text"),
        ("18", "spec.with.tools[0].expect"),
        ("21", "spec.with.tools[0].executions.arguments.reference"),
        ("22", "spec.with.tools[0].executions.pointer"),
    ]
    assert "expected ${NAME} with one of id, nonce, key, user, call, number, got ${numbr}" in said[2]
    assert "expected a JSON pointer" in said[5]


def arrival(ordinal: int, run: str = "run-1") -> Arrival:
    """A user of one seed."""
    return Identity(7, run, "worker", "tools").arrival(ordinal, 0.0)


def drawn(ordinal: int, run: str = "run-1", **options: Any) -> list[Call]:
    """The calls of one session."""
    return Draw(ToolsOptions.model_validate(options)).calls(arrival(ordinal, run))


def told(calls: list[Call]) -> list[tuple[Any, ...]]:
    """What calls are, without what is of one run alone."""
    return [(call.tool.name, call.item, call.number, call.nonce, call.pause_s) for call in calls]


def test_the_seed_tells_who_calls_what() -> None:
    """The same user of the same seed makes the same calls in every run; another user makes others."""
    options: dict[str, Any] = {"calls": 20, "think": "100ms"}
    assert told(drawn(3, **options)) == told(drawn(3, "run-2", **options))
    assert told(drawn(3, **options)) != told(drawn(4, **options))
    assert 0 < drawn(3, **options)[0].pause_s <= 1.0


def test_ids_are_of_one_run_alone() -> None:
    """A server that remembers keys meets none of another run's, user's or call's."""
    ids = [call.id for ordinal in (0, 1) for run in ("a", "b") for call in drawn(ordinal, run)]
    assert len(set(ids)) == len(ids) == 20


def test_weights_tell_how_often_a_tool_is_drawn() -> None:
    """Of two tools the heavy one is called nine times as often."""
    tools = [{"name": "often", "weight": 9}, {"name": "seldom"}]
    names = [call.tool.name for call in drawn(0, calls=2000, tools=tools)]
    assert 1700 < names.count("often") < 1900


def test_templates_come_to_values() -> None:
    """A text that is one name is the value itself; beside other text it is text; `$${` is `${`."""
    tool = {
        "name": "a",
        "arguments": {
            "n": "${number}",
            "text": "${number} of ${user}: ${call}",
            "list": ["${id}", {"key": "${key}", "price": "$5 $${id}"}],
            "other": [1, 2.5, None, True],
        },
        "expect": "${id}!",
    }
    (call,) = drawn(5, calls=1, tools=[tool])
    assert call.tool.arguments.value(call.values("k")) == {
        "n": call.number,
        "text": f"{call.number} of 5: 1",
        "list": [call.id, {"key": "k", "price": "$5 ${id}"}],
        "other": [1, 2.5, None, True],
    }
    assert call.is_right(f"so {call.id}! it is", "k") is True
    assert call.is_right(f"so {call.id} it is", "k") is False


def test_the_demos_tools_have_known_results() -> None:
    """Without tools of one's own half of the calls record, and each says what its result must contain."""
    calls = drawn(0, calls=400)
    names = {call.tool.name for call in calls}
    assert names == {"search", "read", "compute", "record"}
    recorded = [call for call in calls if call.tool.question is not None]
    assert 150 < len(recorded) < 250
    assert all(call.tool.expect is not None for call in calls)
    assert len({call.item for call in calls}) == 1
