"""Micro-Manager's metadata.txt: JSON that is appended to during the run and closed at its end."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from agent.formats import binary
from agent.formats.port import Verdict

MAX_BYTES = 32 << 20
"""Larger texts are not read as a whole: their end tells whether they are closed."""


def closed(path: Path) -> Verdict:
    """Whether the text is complete."""
    size = path.stat().st_size
    if size <= MAX_BYTES:
        try:
            json.loads(path.read_bytes())
        except (ValueError, RecursionError):
            return binary.growing(f"{path.name} is not complete JSON: the run is still going on or was cut short")
        return binary.whole(f"{path.name} is complete")
    with path.open("rb") as file:
        file.seek(size - 4096)
        tail = file.read()
    if re.search(rb"\}\s*\}\s*$", tail):
        return binary.whole(f"{path.name} is complete")
    return binary.growing(f"{path.name} has no end yet")


def read(path: Path) -> dict[str, Any]:
    """The text, also when its end is not there yet: up to the last complete entry. Empty when it is none.

    Of a text that is too large only the part before the planes is read.
    """
    with path.open("rb") as file:
        raw = file.read(MAX_BYTES).decode("utf-8", "replace")
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError):
        found = _entries(raw)
    return found if isinstance(found, dict) else {}


def _entries(raw: str) -> dict[str, Any]:
    decoder = json.JSONDecoder()
    found: dict[str, Any] = {}
    for match in re.finditer(r'(?:^\{|[,}])\s*"([^"\n]{1,400})"\s*:\s*(?=\{)', raw):
        if match.end() < found.get("", 0):
            continue
        try:
            value, end = decoder.raw_decode(raw, match.end())
        except (ValueError, RecursionError):
            if match[1] == "Summary":
                return {}
            break
        found[match[1]] = value
        found[""] = end
    found.pop("", None)
    return found
