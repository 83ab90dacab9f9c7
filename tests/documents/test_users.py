"""Profiles of episodes, chats and users of one's own: mistakes are shown where they stand, also in files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from loadtests import metrics
from tests.loadtests.guide import example, examples

from .conftest import Folder

Has = Callable[[list[str], str], None]
PLAYERS = "loadtests/profiles/players.yaml"
HEAD = "apiVersion: brownout/v1\nkind: LoadProfile\nmetadata: {name: players}\nspec:\n"
GOLDEN = [
    {"reset": {"seed": 1}, "ignore": ["/episode_id"], "reward": None, "done": False},
    {"action": {"n": 1}, "reward": 0.5, "done": True, "observation": "00"},
]


@pytest.fixture
def project(folder: Folder) -> Folder:
    """A project whose experiment overrides nothing, with a module and files of its own."""
    folder.change("chaos/experiments/slow.yaml", "    with:\n      steps: 5\n", "")
    folder.write("mine/__init__.py", "")
    folder.write(
        "mine/policies.py", "import os\nraise SystemExit('this must not run')\ndef play(o, r, s): ...\n"
    )
    folder.write("broken.py", "def play(:\n")
    folder.write("thinking.txt", "# thought\n250ms\n\n1.5s\n")
    folder.write("golden.jsonl", "\n".join(map(json.dumps, GOLDEN)))
    folder.write("prompts.jsonl", '{"prompt": "a"}\n\n{"prompt": ["b", "c"], "answer": "d", "regex": "^d"}\n')
    return folder


def _profile(folder: Folder, user: str, *lines: str) -> None:
    """Write the profile, `lines` being what is under `with`."""
    body = "".join(f"    {line}\n" for line in lines)
    text = f"{HEAD}  user: {user}\n  service: environment\n  arrivals: 5/s\n  with:\n{body}"
    (folder.root / PLAYERS).write_text(text)


RIGHT = [
    ("episode", "think: 250ms"),
    ("episode", "think: {constant: 250ms}"),
    ("episode", "think: {exponential: 1s, at_most: 5s}"),
    ("episode", "think: {log_normal: {median: 400ms, p95: 2s}}"),
    ("episode", "think: {log_normal: {median: 400ms, sigma: 0.8}}"),
    ("episode", "think: {sampled: thinking.txt}"),
    ("episode", "steps: 3"),
    ("episode", "steps: {from: 3, to: 10}"),
    ("episode", "steps: {mean: 8, at_most: 50}"),
    ("episode", "policy: random"),
    ("episode", 'policy: {scripted: [{action: {a: "${seed} $${x}"}, reward: 1.0}]}'),
    ("episode", "policy: {python: 'mine.policies:play'}"),
    ("episode", "policy: {python: 'policies:play', folder: mine}"),
    ("episode", "policy: {recorded: golden.jsonl}"),
    ("episode", "record: {file: new.jsonl, ignore: [/token]}"),
    ("episode", 'reset: {level: "${seed}"}'),
    ("episode", "nonce: none"),
    ("chat", "prompts: prompts.jsonl"),
    ("chat", "headers: {x-team: evals}"),
    ("python", "factory: mine.policies:play"),
]


@pytest.mark.parametrize(("user", "line"), RIGHT)
def test_what_is_right_is_accepted(project: Folder, user: str, line: str) -> None:
    """Files and modules are found from the project's folder, and no module is run."""
    _profile(project, user, line)
    (load,) = project.resolve().loads
    assert load.profile.user == user


WRONG = [
    ("episode", "think: 250", f"{PLAYERS}:9:12: spec.with.think: expected a duration such as 250ms, got 250"),
    ("episode", "think: {}", f"{PLAYERS}:9:12: spec.with.think: expected one of constant, exponential"),
    ("episode", "think: {constant: 5}", f"{PLAYERS}:9:23: spec.with.think.constant: expected a duration"),
    (
        "episode",
        "think: {constant: 1s, exponential: 1s}",
        f"{PLAYERS}:9:12: spec.with.think: expected one of",
    ),
    ("episode", "think: {uniform: 1s}", f"{PLAYERS}:9:13: spec.with.think.uniform: no such key here"),
    (
        "episode",
        "think: {log_normal: {median: 2s, p95: 1s}}",
        f"{PLAYERS}:9:38: spec.with.think.log_normal.p95: p95 is not above the median: expected more than 2s, got 1s",
    ),
    (
        "episode",
        "think: {log_normal: {median: 2s}}",
        f"{PLAYERS}:9:25: spec.with.think.log_normal: expected sigma",
    ),
    ("episode", "think: {sampled: none.txt}", f"{PLAYERS}:9:22: spec.with.think.sampled: "),
    (
        "episode",
        "think: {sampled: mine/policies.py}",
        "mine/policies.py:1:1: spec.with.think.sampled: expected a",
    ),
    ("episode", "steps: 0", f"{PLAYERS}:9:12: spec.with.steps: expected at least 1, got 0"),
    (
        "episode",
        "steps: {from: 5, to: 3}",
        f"{PLAYERS}:9:22: spec.with.steps.to: to is less than from: expected at least 5, got 3",
    ),
    ("episode", "steps: {from: 5}", f"{PLAYERS}:9:12: spec.with.steps: expected from and to, or mean"),
    ("episode", "policy: orakel", f"{PLAYERS}:9:13: spec.with.policy: expected "),
    (
        "episode",
        "policy: {}",
        f"{PLAYERS}:9:13: spec.with.policy: expected one of scripted, python and recorded",
    ),
    (
        "episode",
        "policy: {scripted: []}",
        f"{PLAYERS}:9:24: spec.with.policy.scripted: expected at least 1 item",
    ),
    (
        "episode",
        'policy: {scripted: [{action: {a: "${sead}"}}]}',
        f"{PLAYERS}:9:26: spec.with.policy.scripted[0].action: action has a wrong template: expected a template of ${{seed}}",
    ),
    (
        "episode",
        'policy: {scripted: [{action: {a: "${seed"}}]}',
        f"{PLAYERS}:9:26: spec.with.policy.scripted[0].action: action has a wrong template: ${{ without its }}",
    ),
    ("episode", "policy: {python: mine.policies}", f"{PLAYERS}:9:22: spec.with.policy.python: expected text"),
    (
        "episode",
        "policy: {python: 'mine.policies:paly'}",
        f"{PLAYERS}:9:22: spec.with.policy.python: ",
    ),
    (
        "episode",
        "policy: {python: 'mine.nothing:play'}",
        f"{PLAYERS}:9:22: spec.with.policy.python: there is no",
    ),
    ("episode", "policy: {python: 'broken:play'}", f"{PLAYERS}:9:22: spec.with.policy.python: "),
    ("episode", "policy: {recorded: none.jsonl}", f"{PLAYERS}:9:24: spec.with.policy.recorded: "),
    (
        "episode",
        "policy: {recorded: thinking.txt}",
        "thinking.txt:1:1: spec.with.policy.recorded: expected a JSON",
    ),
    (
        "episode",
        "record: {file: nowhere/new.jsonl}",
        f"{PLAYERS}:9:20: spec.with.record.file: there is no folder",
    ),
    (
        "episode",
        "record: {file: a, ignore: [token]}",
        f"{PLAYERS}:9:32: spec.with.record.ignore[0]: expected a JSON",
    ),
    (
        "episode",
        'reset: {level: "${step}"}',
        f"{PLAYERS}:9:5: spec.with.reset: reset has a wrong template: expected a template of",
    ),
    (
        "episode",
        "check_nonce: true\n    nonce: none",
        f"{PLAYERS}:9:5: spec.with.check_nonce: check_nonce needs",
    ),
    ("chat", "prompts: none.jsonl", f"{PLAYERS}:9:14: spec.with.prompts: "),
    ("chat", "prompts: golden.jsonl", "golden.jsonl:1:1: spec.with.prompts: no such key here: "),
    ("chat", "api_key_env: sk-abc", f"{PLAYERS}:9:18: spec.with.api_key_env: expected text"),
    ("chat", 'headers: {"x y": a}', f"{PLAYERS}:9:15: spec.with.headers.x y: expected a header's name"),
    ("chat", 'headers: {x: "a\\nb"}', f"{PLAYERS}:9:18: spec.with.headers.x: expected text"),
    ("python", "factory: mine.policies:Nobody", f"{PLAYERS}:9:14: spec.with.factory: "),
    ("python", "factory: mine", f"{PLAYERS}:9:14: spec.with.factory: expected text"),
    ("python", "factory: os:path\n    folder: 3", f"{PLAYERS}:10:13: spec.with.folder: expected text, got 3"),
]


@pytest.mark.parametrize(("user", "line", "said"), WRONG)
def test_what_is_wrong_is_shown_where_it_stands(
    project: Folder, has: Has, user: str, line: str, said: str
) -> None:
    """With the file, the line and the column; in a file that the profile names, those of that file."""
    _profile(project, user, line)
    problems = [problem.replace(f"{project.root}/", "") for problem in project.refused()]
    has(problems, said)
    assert len(problems) == 1


@pytest.mark.parametrize(
    ("name", "text", "place"),
    [
        ("golden.jsonl", '{"action": {}}', "1:1: spec.with.policy.recorded: expected a reset"),
        ("golden.jsonl", '{"reset": {}}', "1:1: spec.with.policy.recorded: expected an action after"),
        (
            "golden.jsonl",
            '{"reset": {}}\n{"action": {}, "reward": "1"}',
            "2:1: spec.with.policy.recorded: reward:",
        ),
        ("golden.jsonl", '{"reset": {}}\n{"action": []}', "2:1: spec.with.policy.recorded: action: expected"),
        ("golden.jsonl", '{"reset": {}}\n{"action": {}, "done": 1}', "2:1: spec.with.policy.recorded: done:"),
        ("golden.jsonl", '{"reset": {}, "ignore": "a"}', "1:1: spec.with.policy.recorded: ignore:"),
    ],
)
def test_lines_of_a_recording_are_checked(
    project: Folder, has: Has, name: str, text: str, place: str
) -> None:
    """Each mistake by its line."""
    project.write(name, text)
    _profile(project, "episode", "policy: {recorded: golden.jsonl}")
    has([problem.replace(f"{project.root}/", "") for problem in project.refused()], f"{name}:{place}")


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('{"prompt": ""}', "1:1: spec.with.prompts: prompt: expected a text"),
        ('{"prompt": "a"}\n{"prompt": []}', "2:1: spec.with.prompts: prompt: expected a text"),
        ('{"prompt": "a", "regex": "("}', "1:1: spec.with.prompts: regex: "),
        (
            '{"prompt": "a", "id": "x"}\n{"prompt": "b", "id": "x"}',
            "2:1: spec.with.prompts: id: x is that of line 1",
        ),
        ('{"prompt": "a", "answer": 4}', "1:1: spec.with.prompts: answer: expected a text"),
        ("[]", "1:1: spec.with.prompts: expected a JSON object"),
    ],
)
def test_lines_of_prompts_are_checked(project: Folder, has: Has, text: str, place: str) -> None:
    """Each mistake by its line."""
    project.write("prompts.jsonl", text)
    _profile(project, "chat", "prompts: prompts.jsonl")
    has([problem.replace(f"{project.root}/", "") for problem in project.refused()], f"prompts.jsonl:{place}")


NEEDED = {
    "prompts.jsonl": '{"id": "sum", "prompt": "What is 2 + 2?", "answer": "4"}',
    "queries.jsonl": '{"query": "who leads Cedar", "relevant": ["doc-09"]}',
    "owners.csv": "id,name\n7,Ada\n",
    "access.log": '1.2.3.4 - - [21/Nov/2026:10:00:00 +0000] "GET /search?q=a HTTP/1.1" 200 12\n',
    "task.py": "",
    "venv/bin/inspect": "#!/bin/sh\n",
}
"""The files that the guide speaks of."""


@pytest.mark.parametrize("text", examples("yaml"), ids=lambda text: text.split("name: ")[1].split("}")[0])
def test_the_guides_profiles_are_right(project: Folder, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each profile of docs/users.md is accepted as it stands, with the files that it speaks of."""
    monkeypatch.setenv("API_TOKEN", "t")
    for name, content in NEEDED.items():
        (project.root / name).parent.mkdir(parents=True, exist_ok=True)
        (project.root / name).write_text(content)
        (project.root / name).chmod(0o755)
    (project.root / "keyvalue.py").write_text(example("python", "# keyvalue.py"))
    (project.root / "brownout.yaml").write_text(
        "apiVersion: brownout/v1\nkind: Project\nallow_commands: [./venv/bin/inspect]\n"
    )
    name = text.split("name: ")[1].split("}")[0]
    service = text.split("service: ")[1].split()[0]
    (project.root / PLAYERS).write_text(
        text.replace(f"name: {name}", "name: players").replace(f"service: {service}", "service: environment")
    )
    (load,) = project.resolve().loads
    assert load.profile.user in text


def test_the_readmes_profile_is_right(project: Folder) -> None:
    """The load profile that README.md shows is accepted as it stands."""
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    (text,) = [each for each in readme.split("```yaml\n")[1:] if "kind: LoadProfile" in each]
    text = text.partition("```")[0]
    (project.root / PLAYERS).write_text(
        text.replace("name: checkout", "name: players").replace("service: api", "service: environment")
    )
    assert project.resolve().loads[0].profile.user == "http"


def test_the_guide_shows_every_kind() -> None:
    """Each kind of user that a profile may have is shown by an example."""
    shown = {text.split("user: ")[1].split()[0] for text in examples("yaml")}
    assert shown == set(metrics.PRIMARY)


def test_the_guides_policy_is_a_function(project: Folder) -> None:
    """The function of docs/users.md stands as it is, and plays what its profile says."""
    (project.root / "policies.py").write_text(example("python", "# policies.py"))
    _profile(project, "episode", "policy: {python: 'policies:bisect'}")
    (load,) = project.resolve().loads
    assert Path(load.profile.with_.policy.folder) == project.root  # type: ignore[union-attr]
