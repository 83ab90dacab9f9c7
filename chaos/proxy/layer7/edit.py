"""Edits of a value in JSON, in whatever message it came. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from chaos.proxy.layer7.where import point


def edited(raw: bytes, attributes: Mapping[str, Any]) -> bytes | None:
    """`raw` with the edit that the attributes of `json_edit` describe; None where there is nothing to edit.

    The pointer has to lead to a value that is there, and `scale` to a number.
    """
    try:
        value = json.loads(raw)
        changed = _changed(value, attributes)
        made = json.dumps(changed, ensure_ascii=False, separators=(",", ":"))
    except (ValueError, LookupError, RecursionError, OverflowError):  # the last: too large for a float
        return None
    return made.encode("utf-8", "surrogatepass")


def _changed(value: Any, attributes: Mapping[str, Any]) -> Any:
    """`value` after the edit. Raises LookupError where there is nothing to edit."""
    parent_pointer, _, last = attributes["pointer"].rpartition("/")
    found = point(value, attributes["pointer"])
    parent = point(value, parent_pointer) if parent_pointer else value
    key: Any = int(last) if isinstance(parent, list) else last.replace("~1", "/").replace("~0", "~")
    match attributes["action"]:
        case "drop":
            del parent[key]
        case "set":
            parent[key] = attributes["value"]
        case "nan":
            parent[key] = math.nan
        case _:
            if isinstance(found, bool) or not isinstance(found, int | float):
                raise LookupError("no number")
            parent[key] = found * attributes["factor"]
    return value
