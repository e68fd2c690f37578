"""Names that a file gives for others: only plain names beside it are followed, never a path out of its folder."""

from __future__ import annotations

_MAX_BYTES = 255
"""Longer names exist on no file system."""


def plain(name: str) -> bool:
    """True for a name that a file beside it can have."""
    forbidden = "/\\:" + "".join(map(chr, range(32)))
    return (
        name not in ("", ".", "..")
        and not any(letter in forbidden for letter in name)
        and len(name.encode("utf-8", errors="replace")) <= _MAX_BYTES
        and all(not 0xD800 <= ord(letter) < 0xE000 for letter in name)
    )
