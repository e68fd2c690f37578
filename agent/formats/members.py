"""Names that a file gives for others: only plain names beside it are followed, never a path out of its folder."""

from __future__ import annotations

_MAX_BYTES = 255
"""Longer names exist on no file system."""


def plain(name: str) -> bool:
    """True for a name that a file beside it can have."""
    forbidden = "/\\:" + "".join(map(chr, range(32)))
    return name not in ("", ".", "..") and not any(letter in forbidden for letter in name) and possible(name)


def possible(name: str) -> bool:
    """False for what the system answers with an error when it is asked whether there is such a file."""
    sound = all(ord(letter) < 0xD800 or ord(letter) >= 0xE000 for letter in name) and "\0" not in name
    return sound and len(name.encode()) <= _MAX_BYTES
