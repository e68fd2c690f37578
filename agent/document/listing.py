"""JSON with a list of files in it, written one file after the other.

The text is what `json.dump(..., indent=1, ensure_ascii=False)` writes, but no more than one file is held.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, TextIO

_one_line = json.JSONEncoder(ensure_ascii=False).encode


def indented(value: Any, depth: int = 0) -> str:
    """The value as it stands at this depth, its first line without indent."""
    # A line break inside a text is written as an escape: those that are there are of the layout.
    return json.dumps(value, indent=1, ensure_ascii=False).replace("\n", "\n" + " " * depth)


def flat(value: Mapping[str, Any], depth: int) -> str:
    """The same for an object of nothing but texts, numbers, truths and null; six times as fast."""
    before = "\n" + " " * (depth + 1)
    lines = (f"{before}{_one_line(key)}: {_one_line(one)}" for key, one in value.items())
    return f"{{{','.join(lines)}\n{' ' * depth}}}"


def write_list(out: TextIO, values: Iterable[str], depth: int) -> None:
    """A list whose values are written already, for one level below."""
    before, first = "\n" + " " * (depth + 1), True
    out.write("[")
    for value in values:
        out.write(f"{'' if first else ','}{before}{value}")
        first = False
    out.write("]" if first else f"\n{' ' * depth}]")


def write_object(out: TextIO, value: Mapping[str, Any], lists: Mapping[str, Iterable[str]], depth: int) -> None:
    """An object; the values of the keys in `lists` are lists whose values are written already, for two levels below."""
    before, first = "\n" + " " * (depth + 1), True
    out.write("{")
    for key, one in value.items():
        out.write(f"{'' if first else ','}{before}{_one_line(key)}: ")
        first = False
        if key in lists:
            write_list(out, lists[key], depth + 1)
        else:
            out.write(indented(one, depth + 1))
    out.write("}" if first else f"\n{' ' * depth}}}")
