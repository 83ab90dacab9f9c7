"""From text to trees: YAML documents with the place of every key and value.

Nothing from a file is ever executed, and no file can make reading slow or deep: the tree is built from parser
events without recursion, and size, depth, numbers and alias expansion are bounded before anything is built
from them. All problems of a file are collected, as far as its syntax lets one read on.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from chaos.documents.problems import Problem, problem_at, shown
from chaos.documents.scalar import TooLong, core_value
from chaos.documents.tree import Entry, Mapping, Node, Place, Scalar, Sequence

MOST_BYTES = 2**20
MOST_DEPTH = 64
MOST_NODES = 50_000
MOST_ALIASED = 10_000

_Loader: type[yaml.SafeLoader] | type[yaml.CSafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ufeff\ufffe\uffff]")
_SYNTAX_HINTS = (
    ("mapping values are not allowed", "check the indentation; a value that contains ': ' needs quotes"),
    ("did not find expected key", "check the indentation of this line and the one before"),
    ("expected '-' indicator", "the items of a list all begin with '- ', at the same column"),
    ("expected <document start>", "check the indentation; separate documents with a line of '---'"),
    ("',' or", "close the bracket, and separate items with commas"),
    ("unexpected end of stream", "close the quote"),
    ("unknown escape character", "in double quotes a backslash is written twice; or use single quotes"),
)


@dataclass(frozen=True, slots=True)
class Source:
    """What a file says: its documents (those that could be read), and what is wrong with it."""

    path: str
    documents: tuple[Node, ...]
    problems: tuple[Problem, ...]


class _Stop(Exception):
    """Reading cannot go on."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


def read_source(path: Path) -> Source:
    """Read and parse a file. Never raises for what the file is or contains: that is in `problems`."""
    name = str(path)
    try:
        status = path.stat()  # before opening: to open a pipe is to wait for its writer
        if not stat.S_ISREG(status.st_mode):
            what = "a folder" if stat.S_ISDIR(status.st_mode) else "a device or a pipe"
            return _refused(name, f"expected a file, got {what}")
        if status.st_size > MOST_BYTES:
            size = f"{status.st_size / MOST_BYTES:.1f} MiB"
            return _refused(name, f"expected a file of at most 1 MiB, got {size}", "split it up")
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        return _refused(name, f"cannot be read: {reason.lower()}")
    return parse_bytes(data, name)


def parse_bytes(data: bytes, name: str) -> Source:
    """The documents in `data`, which must be UTF-8. Never raises: what is wrong is in `problems`."""
    if len(data) > MOST_BYTES:
        return _refused(name, "expected a file of at most 1 MiB, got more", "split it up")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start]
        line = before.count(b"\n") + 1
        column = error.start - (before.rfind(b"\n") + 1) + 1
        message = f"expected UTF-8, got the byte 0x{data[error.start]:02x}"
        return Source(name, (), (Problem(name, line, column, "", message, "save the file as UTF-8"),))
    return parse_text(text, name)


def parse_text(text: str, name: str) -> Source:
    """The documents in `text`; `name` is what problems call it. Never raises."""
    if control := _CONTROL.search(text):
        before = text[: control.start()]
        place = Place(name, before.count("\n") + 1, control.start() - (before.rfind("\n") + 1) + 1)
        found = problem_at(place, "", f"expected text, got the control character U+{ord(control[0]):04X}")
        return Source(name, (), (found,))
    builder = _Builder(name, text)
    try:
        builder.build()
    except _Stop as stop:
        builder.problems.append(stop.problem)
    except yaml.YAMLError as error:
        builder.problems.append(_syntax_problem(error, name, text))
    if not builder.problems and not builder.documents:
        message = "expected a document, got an empty file"
        builder.problems.append(Problem(name, 1, 1, "", message, "`brownout init NAME` writes examples"))
    return Source(name, tuple(builder.documents), tuple(builder.problems))


def _refused(name: str, message: str, hint: str = "") -> Source:
    return Source(name, (), (Problem(name, 0, 0, "", message, hint),))


def _syntax_problem(error: yaml.YAMLError, name: str, text: str) -> Problem:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    what = str(getattr(error, "problem", None) or "it cannot be parsed")
    line, column = (mark.line, mark.column) if mark else (0, 0)
    lines = text.splitlines()
    at = lines[line][column : column + 1] if line < len(lines) else ""
    hint = next((hint for sign, hint in _SYNTAX_HINTS if sign in what), "")
    if "cannot start any token" in what:
        what = "it is indented with a tab" if at == "\t" else f"a value cannot begin with {at}"
        hint = "indent with spaces" if at == "\t" else "put the value in quotes"
    return Problem(name, line + 1, column + 1, "", f"not valid YAML: {what}", hint)


@dataclass(slots=True)
class _Frame:
    """A list or mapping that is being read; `height` and `size` count what it holds, aliases expanded."""

    place: Place
    anchor: str | None
    items: list[Node] | None
    entries: dict[str, Entry] = field(default_factory=dict)
    key: str | None = None
    key_place: Place | None = None
    awaits_value: bool = False
    height: int = 1
    size: int = 1


@dataclass(frozen=True, slots=True)
class _Anchored:
    node: Node
    height: int
    size: int


class _Builder:
    """Turns parser events into trees, with a stack of its own."""

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        self.text = text
        self.documents: list[Node] = []
        self.problems: list[Problem] = []
        self._stack: list[_Frame] = []
        self._anchors: dict[str, _Anchored | None] = {}
        self._nodes = 0
        self._aliased = 0

    def build(self) -> None:
        """Read all events. Raises _Stop or yaml.YAMLError where reading cannot go on."""
        for event in _events(self.text):
            if isinstance(event, yaml.ScalarEvent):
                self._scalar(event)
            elif isinstance(event, yaml.CollectionStartEvent):
                self._open(event)
            elif isinstance(event, yaml.CollectionEndEvent):
                self._close()
            elif isinstance(event, yaml.AliasEvent):
                self._alias(event)
            elif isinstance(event, yaml.DocumentStartEvent):
                self._anchors = {}

    def _place(self, event: yaml.Event) -> Place:
        mark = event.start_mark
        return Place(self.name, mark.line + 1, mark.column + 1) if mark else Place(self.name)

    def _problem(self, place: Place, message: str, hint: str = "") -> Problem:
        steps = [f"[{len(f.items)}]" if f.items is not None else f".{f.key or ''}" for f in self._stack]
        return problem_at(place, "".join(steps).replace(".[", "[").strip(".")[:200], message, hint)

    def _count(self, place: Place, event: yaml.NodeEvent) -> None:
        self._nodes += 1
        if self._nodes > MOST_NODES:
            raise _Stop(
                self._problem(place, f"expected at most {MOST_NODES} values in a file", "split it up")
            )
        tag = getattr(event, "tag", None)
        if tag is not None:
            shorter = tag.replace("tag:yaml.org,2002:", "!!")
            hint = "write the value without a tag; quotes make a string"
            self.problems.append(self._problem(place, f"tags are refused, got {shown(shorter)}", hint))

    def _scalar(self, event: yaml.ScalarEvent) -> None:
        place = self._place(event)
        self._count(place, event)
        text: str = event.value
        value: str | int | float | bool | None = text
        if control := _CONTROL.search(text):
            found = f"U+{ord(control[0]):04X}"
            self.problems.append(self._problem(place, f"expected text, got the control character {found}"))
        elif event.implicit[0]:
            try:
                value = core_value(text)
            except TooLong as error:
                hint = "numbers have at most 18 digits; put quotes around what is no number"
                self.problems.append(self._problem(place, f"expected a number, got {error}", hint))
        frame = self._stack[-1] if self._stack else None
        if value is None and text == "" and frame and frame.awaits_value and frame.key_place:
            place = frame.key_place
        self._add(Scalar(place, value, text), event.anchor, 1, 1)

    def _open(self, event: yaml.CollectionStartEvent) -> None:
        place = self._place(event)
        self._count(place, event)
        if len(self._stack) >= MOST_DEPTH:
            raise _Stop(self._problem(place, f"expected at most {MOST_DEPTH} levels, got more"))
        if event.anchor is not None:
            self._anchors[event.anchor] = None
        items: list[Node] | None = [] if isinstance(event, yaml.SequenceStartEvent) else None
        self._stack.append(_Frame(place, event.anchor, items))

    def _close(self) -> None:
        frame = self._stack.pop()
        node: Node
        if frame.items is not None:
            node = Sequence(frame.place, tuple(frame.items))
        else:
            node = Mapping(frame.place, frame.entries)
        self._add(node, frame.anchor, frame.height, frame.size)

    def _alias(self, event: yaml.AliasEvent) -> None:
        place = self._place(event)
        name = shown(event.anchor)
        if event.anchor not in self._anchors:
            self.problems.append(self._problem(place, f"*{name} refers to an anchor that is not there"))
            self._add(Scalar(place, None), None, 1, 1)
            return
        target = self._anchors[event.anchor]
        if target is None:
            raise _Stop(self._problem(place, f"*{name} refers to the value that it is part of"))
        self._aliased += target.size
        if self._aliased > MOST_ALIASED:
            message = f"aliases expand to more than {MOST_ALIASED} values"
            raise _Stop(self._problem(place, message, "write the values out, or use fewer aliases"))
        if len(self._stack) + target.height > MOST_DEPTH:
            raise _Stop(
                self._problem(place, f"expected at most {MOST_DEPTH} levels, got more through *{name}")
            )
        self._add(target.node, None, target.height, target.size, place)

    def _add(
        self, node: Node, anchor: str | None, height: int, size: int, place: Place | None = None
    ) -> None:
        """Put a finished node where it belongs; `place` is where an alias stands."""
        if anchor is not None:
            self._anchors[anchor] = _Anchored(node, height, size)
        if not self._stack:
            if not (isinstance(node, Scalar) and node.value is None):
                self.documents.append(node)
            return
        frame = self._stack[-1]
        frame.height = max(frame.height, height + 1)
        frame.size += size
        if frame.items is not None:
            frame.items.append(node)
        elif not frame.awaits_value:
            self._key(frame, node, place or node.place)
        else:
            if frame.key is not None:
                frame.entries[frame.key] = Entry(frame.key_place or node.place, node)
            frame.key, frame.awaits_value = None, False

    def _key(self, frame: _Frame, node: Node, place: Place) -> None:
        """Take `node` as the next key; a key that is refused has its value read and left out."""
        frame.awaits_value = True
        frame.key, frame.key_place = None, place
        if not isinstance(node, Scalar):
            self.problems.append(self._problem(place, "expected a name as the key, got a list or mapping"))
        elif not isinstance(node.value, str):
            hint = f'put it in quotes: "{node.text[:60]}":' if node.text else "write a name before the colon"
            self.problems.append(
                self._problem(place, f"expected a name as the key, got {node.text[:60] or 'nothing'}", hint)
            )
        elif node.value == "<<":
            hint = "write the keys out, or use an alias for a whole value"
            self.problems.append(self._problem(place, "merge keys (<<) are not part of YAML 1.2", hint))
        elif node.value in frame.entries:
            first = frame.entries[node.value].place
            key = shown(node.value)
            self.problems.append(self._problem(place, f"{key} is written twice, first in line {first.line}"))
        else:
            frame.key = node.value


def _events(text: str) -> Iterator[yaml.Event]:
    yield from yaml.parse(text, Loader=_Loader)
