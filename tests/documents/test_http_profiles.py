"""Profiles of http and replay users: every mistake is refused before a run, with its file, line and column."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from chaos.documents.checking import validate_paths
from chaos.documents.project import find_project

HEAD = "apiVersion: brownout/v1\nkind: LoadProfile\nmetadata: {name: a}\nspec:\n"
HTTP = HEAD + "  user: http\n  service: s\n  arrivals: 5/s\n  with:\n"
REPLAY = HEAD + "  user: replay\n  service: s\n  with:\n"
STEP = "    steps: [{name: a, path: /, %s}]\n"


def said(root: Path, text: str) -> list[str]:
    """What is wrong with a profile in a project of its own, each as `line:column: key: message`."""
    (root / "brownout.yaml").write_text("apiVersion: brownout/v1\nkind: Project\n")
    path = root / "a.yaml"
    path.write_text(text)
    problems = validate_paths([str(path)], find_project(root)).problems
    assert all(Path(problem.path).is_file() for problem in problems)
    return [f"{Path(p.path).name}:{p.line}:{p.column}: {p.key}: {p.message}" for p in problems]


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        ("path: '/${x}'", "9:29: spec.with.steps[0].path: ${x}: there is no such name"),
        ("body: '${'", "9:38: spec.with.steps[0].body: ${ without its }"),
        ("json: {a: ['$${x}', '${']}", "9:52: spec.with.steps[0].json.a[1]: ${ without its }"),
        ("json: {'${x}': 1}", "9:38: spec.with.steps[0].json: templates stand in values, not in keys"),
        ("json: 1, body: a", "9:13: spec.with.steps[0]: expected json or body, got both"),
        ("headers: {X Y: a}", "9:42: spec.with.steps[0].headers.X Y: expected a header's name"),
        ("headers: {Host: a}", "9:42: spec.with.steps[0].headers.Host: Host is set by the user itself"),
        ('headers: {A: "b\\r\\nC: d"}', "9:45: spec.with.steps[0].headers.A: expected one line of text"),
        ("headers: {A: 'é—'}", "9:45: spec.with.steps[0].headers.A: expected Latin-1 text"),
        ("expect_status: 2x", "9:47: spec.with.steps[0].expect_status: expected a status such as 200"),
        ("expect_status: [200, 99]", "9:47: spec.with.steps[0].expect_status: expected a status"),
        ("expect_status: []", "9:47: spec.with.steps[0].expect_status: expected a status"),
        ("checks: [{}]", "9:41: spec.with.steps[0].checks[0]: expected exactly one of header, pointer"),
        ("checks: [{body: a, header: b}]", "9:41: spec.with.steps[0].checks[0]: expected exactly one of"),
        ("checks: [{body: '('}]", "9:48: spec.with.steps[0].checks[0].body: expected a regular expression"),
        (
            "checks: [{body: '(?=a)'}]",
            "9:48: spec.with.steps[0].checks[0].body: expected a regular expression",
        ),
        ("checks: [{pointer: a}]", "9:51: spec.with.steps[0].checks[0].pointer: expected a JSON pointer"),
        (
            "checks: [{header: a, min: 1}]",
            "9:53: spec.with.steps[0].checks[0].min: min does not go with header",
        ),
        ("checks: [{pointer: /a, min: 2, max: 1}]", "9:41: spec.with.steps[0].checks[0]: expected min to be"),
        ("checks: [{latency: 5}]", "9:51: spec.with.steps[0].checks[0].latency: expected a duration"),
        (
            "checks: [{pointer: /a, exists: false, equals: 1}]",
            "9:41: spec.with.steps[0].checks[0]: what must not exist cannot be held",
        ),
        (
            "checks: [{pointer: /a, equals: '${b}'}]",
            "9:63: spec.with.steps[0].checks[0].equals: ${b}: there is no such name",
        ),
        ("extract: {1a: {header: a}}", "9:42: spec.with.steps[0].extract.1a: expected a name of letters"),
        ("extract: {a: {}}", "9:45: spec.with.steps[0].extract.a: expected exactly one of pointer"),
        ("extract: {a: {pointer: /~}}", "9:55: spec.with.steps[0].extract.a.pointer: expected ~0"),
        ("extract: {uuid: {header: a}}", "9:48: spec.with.steps[0].extract.uuid: uuid is a name of its own"),
        (
            "headers: {A: '${arrival.x}'}",
            "9:45: spec.with.steps[0].headers.A: ${arrival.x}: arrival is a single",
        ),
        ("body: '${item}'", "9:38: spec.with.steps[0].body: ${item} has no value: there is no `item`"),
        (
            "body: '${a}', extract: {a: {header: b}}",
            "9:38: spec.with.steps[0].body: ${a} has no value here: it is extracted by the step a",
        ),
    ],
)
def test_a_mistake_in_a_step_is_refused_where_it_stands(tmp_path: Path, step: str, expected: str) -> None:
    """Names, templates, statuses, checks, extractions: place, key, what was expected."""
    path = "path: /, "
    text = HTTP + (STEP % step).replace(path, "" if step.startswith("path") else path)
    (problem, *more) = said(tmp_path, text)
    assert not more
    assert problem.startswith(f"a.yaml:{expected}"), problem


@pytest.mark.parametrize(
    ("variables", "files", "expected"),
    [
        ("v: {file: none.csv}", {}, ["a.yaml:9:22: spec.with.vars.v.file: none.csv cannot be read"]),
        (
            "v: {file: a.csv}",
            {"a.csv": ""},
            ["a.yaml:9:22: spec.with.vars.v.file: a.csv expected at least one"],
        ),
        (
            "v: {file: a.csv}",
            {"a.csv": "x,y\n1,2\n3\n"},
            ["a.csv:3:1: spec.with.vars.v.file: expected 2 cells, got 1"],
        ),
        (
            "v: {file: a.csv}",
            {"a.csv": "x,x\n1,2\n"},
            [
                "a.csv:1:1: spec.with.vars.v.file: expected a line of column names: the column x is there twice"
            ],
        ),
        ("v: {file: a.csv}", {"a.csv": 'x\n"1\n'}, ["a.csv:2:1: spec.with.vars.v.file: expected CSV"]),
        (
            "v: {file: a.csv}",
            {"a.csv": b"x\n1\n\xff\n"},
            ["a.csv:3:1: spec.with.vars.v.file: expected UTF-8"],
        ),
        (
            "v: {file: a.jsonl}",
            {"a.jsonl": '{"x": 1}\n\n{"x" 1}\nnull null\n'},
            [
                "a.jsonl:3:6: spec.with.vars.v.file: expected JSON",
                "a.jsonl:4:6: spec.with.vars.v.file: expected JSON",
            ],
        ),
        (
            "v: {file: a.csv, column: z}",
            {"a.csv": "x,y\n1,2\n"},
            ["a.yaml:9:37: spec.with.vars.v.column: expected x, y, got z"],
        ),
        (
            "v: {file: a.csv}, w: {value: '${v.z}'}",
            {"a.csv": "x,y\n1,2\n"},
            ["a.yaml:10:38: spec.with.steps[0].body: ${v.z}: a.csv has the columns x, y, not z"],
        ),
        ("v: {env: BROWNOUT_NOT_SET}", {}, ["a.yaml:9:21: spec.with.vars.v.env: the environment variable"]),
        ("v: {values: []}", {}, ["a.yaml:9:24: spec.with.vars.v.values: expected at least 1 item"]),
        ("v: {range: [2, 1]}", {}, ["a.yaml:9:15: spec.with.vars.v: expected a range that goes up"]),
        ("v: {value: 1, random: uuid}", {}, ["a.yaml:9:15: spec.with.vars.v: expected exactly one of value"]),
        (
            "v: {value: 1, draw: random}",
            {},
            ["a.yaml:9:26: spec.with.vars.v.draw: draw does not go with value"],
        ),
        ("step: 1", {}, ["a.yaml:9:18: spec.with.vars.step: step is a name of its own"]),
    ],
)
def test_a_mistake_in_a_variable_is_refused_where_it_stands(
    tmp_path: Path, variables: str, files: dict[str, str | bytes], expected: list[str]
) -> None:
    """In the profile, or in the file that the variable draws from."""
    for name, data in files.items():
        (tmp_path / name).write_bytes(data if isinstance(data, bytes) else data.encode())
    uses = "body: '${v.z}'" if "w:" in variables else "body: a"
    problems = said(tmp_path, HTTP + f"    vars: {{{variables}}}\n" + STEP % uses)
    assert len(problems) == len(expected), problems
    for problem, wanted in zip(problems, expected, strict=True):
        assert problem.startswith(wanted), problem


LINE = '10.0.0.1 - - [31/Jan/2026:12:00:00 +0000] "GET / HTTP/1.1" 200 5\n'


@pytest.mark.parametrize(
    ("options", "data", "expected"),
    [
        ("file: none.log", None, ["a.yaml:8:12: spec.with.file: none.log: cannot be read"]),
        ("file: a.log", "", ["a.yaml:8:12: spec.with.file: a.log: expected requests, got an empty file"]),
        ("file: a.log", LINE + "bad\n", ["a.log:2:1: spec.with.file: expected a line of an access log"]),
        (
            "file: a.log",
            LINE.replace("Jan", "Xan"),
            ["a.log:1:15: spec.with.file: expected a time such as 31/Jan/2026:12:00:00 +0000"],
        ),
        (
            "file: a.log",
            LINE.replace("GET", "POST"),
            ["a.yaml:8:12: spec.with.file: a.log has no request that is wanted: 1 of another method"],
        ),
        ("file: a.log", '{"path": "/"', ["a.log:1:13: spec.with.file: expected log in an HTTP archive"]),
        ("file: a.log", '{"path": 1}\n', ["a.log:1:1: spec.with.file: expected a path or a url"]),
        ("file: a.log", '{"path": "/"}\n', ["a.log:1:1: spec.with.file: 1 of 1 requests have no time"]),
        (
            "file: a.log, methods: [GET, POST]",
            LINE,
            ["a.yaml:8:34: spec.with.methods[1]: POST may change things"],
        ),
        ("file: a.log, paths: '('", LINE, ["a.yaml:8:26: spec.with.paths: expected a regular expression"]),
        ("file: a.log, expect: 2x", LINE, ["a.yaml:8:27: spec.with.expect: expected class, recorded, any"]),
        (
            "file: a.log, headers: [Host]",
            LINE,
            ["a.yaml:8:29: spec.with.headers[0]: Host is set by the user"],
        ),
        ("file: a.log, speed: 0", LINE, ["a.yaml:8:26: spec.with.speed: expected more than 0"]),
        ("file: a.log, bad_lines: 5", LINE, ["a.yaml:8:30: spec.with.bad_lines: expected a share"]),
    ],
)
def test_a_mistake_in_a_replay_is_refused_where_it_stands(
    tmp_path: Path, options: str, data: str | None, expected: list[str]
) -> None:
    """In the profile, or in the recording."""
    if data is not None:
        (tmp_path / "a.log").write_text(data)
    problems = said(
        tmp_path, REPLAY.replace("with:\n", f"with: {{{options}}}\n").replace("with: {", "with:\n    {")
    )
    assert len(problems) == len(expected), problems
    for problem, wanted in zip(problems, expected, strict=True):
        assert problem.startswith(wanted), problem


def test_what_is_for_recorded_times_is_refused_with_others(tmp_path: Path) -> None:
    """`speed` and `at_end` say nothing where a rate says when users come."""
    (tmp_path / "a.log").write_text(LINE)
    text = (
        REPLAY.replace("  with:", "  arrivals: 5/s\n  with:") + "    {file: a.log, speed: 2, at_end: stop}\n"
    )
    assert [problem.split(": ")[1] for problem in said(tmp_path, text)] == [
        "spec.with.speed",
        "spec.with.at_end",
    ]


def test_right_profiles_are_taken(tmp_path: Path) -> None:
    """All features at once are no mistake."""
    (tmp_path / "users.csv").write_text("name,age\nAda,36\n")
    (tmp_path / "rows.jsonl").write_text('{"a": {"b": [1]}}\n')
    text = textwrap.dedent(
        """\
        vars:
          region: eu
          flag: true
          user: {file: users.csv, draw: in_order}
          age: {file: users.csv, column: age}
          row: {file: rows.jsonl}
          key: {random: uuid}
          any: {value: {a: [1]}}
        item: ${user.name}-${arrival}
        redirects: follow
        cookies: true
        steps:
          - name: a
            method: POST
            path: /x/${region}?k=${key}&f=$${x}
            headers: {X-A: "${any.a.0} ${nonce}"}
            json: {a: "${row.a.b.0}", b: ["${flag}", "${item}", null]}
            expect_status: [2xx, 404]
            checks: [{pointer: "", equals: null}, {header: ETag}, {body: '\\w'}, {latency: 1s}]
            extract: {id: {regex: 'id=(\\d+)'}, tag: {header: ETag}}
            echo: {pointer: /nonce}
          - {name: b, path: "/${id}", headers: {If-Match: "${tag}"}, body: "${id.x} ${uuid} ${step}"}
        """
    )
    assert said(tmp_path, HTTP + textwrap.indent(text, "    ")) == []
