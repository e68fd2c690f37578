"""Micro-Manager's metadata.txt: JSON that is appended to during the run and closed at its end."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

from agent.formats import binary
from agent.formats.port import Verdict

MAX_BYTES = 32 << 20
"""Larger texts are not read as a whole: their end tells whether they are closed."""
_PLANNED = ("Frames", "Channels", "Slices")


def closed(path: Path) -> Verdict:
    """Whether the text is complete."""
    size = path.stat().st_size
    if size <= MAX_BYTES:
        raw = path.read_bytes()
        try:
            json.loads(raw)
        except (ValueError, RecursionError):
            return _open_ended(path, raw)
        return binary.whole(f"{path.name} is complete")
    with path.open("rb") as file:
        file.seek(size - 4096)
        tail = file.read()
    if re.search(rb"\}\s*\}\s*$", tail):
        return binary.whole(f"{path.name} is complete")
    return binary.growing(f"{path.name} has no end yet")


def _open_ended(path: Path, raw: bytes) -> Verdict:
    """Some versions never wrote the last brace; where all planned images are listed, only it may be missing."""
    try:
        found = json.loads(raw.rstrip() + b"}")
    except (ValueError, RecursionError):
        found = None
    summary = found.get("Summary") if isinstance(found, dict) else None
    if not isinstance(found, dict) or not isinstance(summary, dict):
        return binary.growing(f"{path.name} is not complete JSON: the run is still going on or was cut short")
    sizes = [size for key in _PLANNED if isinstance(size := summary.get(key), int) and size > 0]
    planned, listed = math.prod(sizes), sum(key.startswith(("FrameKey-", "Coords-")) for key in found)
    if not listed or (len(sizes) == len(_PLANNED) and listed < planned):
        return binary.growing(f"{path.name} lists {listed} of {planned} planned images and is not closed")
    return binary.unknown(f"{path.name} lacks its closing brace, as of some versions: only quiet time can tell")


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
