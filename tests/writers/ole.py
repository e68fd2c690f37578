"""Compound files in the orders in which Windows writes them: the tables before the streams, or the header last."""

from __future__ import annotations

import struct

from tests.unit.formats.compound import compound

__all__ = ["blank_first", "compound", "tables_first"]

_SECTOR, _LAST = 512, 0xFFFFFFFA


def blank_first(raw: bytes) -> tuple[bytes, bytes]:
    """The file with a header that says nothing yet, and its header."""
    return raw[:8] + bytes(_SECTOR - 8) + raw[_SECTOR:], raw[:_SECTOR]


def tables_first(raw: bytes) -> bytes:
    """The same streams behind the tables and the directory, so that the file ends with pixels."""
    head = bytearray(raw[:_SECTOR])
    sectors = [raw[at : at + _SECTOR] for at in range(_SECTOR, len(raw), _SECTOR)]
    count, directory = struct.unpack_from("<2I", head, 44)
    (mini,) = struct.unpack_from("<I", head, 60)
    places = list(struct.unpack_from(f"<{count}I", head, 76))
    table = list(struct.unpack(f"<{count * 128}I", b"".join(sectors[place] for place in places)))
    first = [*places, *_followed(table, directory), *(_followed(table, mini) if mini < _LAST else [])]
    order = [*first, *(n for n in range(len(sectors)) if n not in set(first))]
    moved = {old: new for new, old in enumerate(order)}
    renamed = [0xFFFFFFFF] * len(table)
    for old, following in enumerate(table[: len(sectors)]):
        renamed[moved[old]] = moved.get(following, following)
    made = [sectors[old] for old in order]
    for number, place in enumerate(places):
        made[moved[place]] = struct.pack("<128I", *renamed[number * 128 : number * 128 + 128])
    for old in _followed(table, directory):
        made[moved[old]] = _entries(made[moved[old]], moved)
    struct.pack_into("<I", head, 48, moved[directory])
    struct.pack_into("<I", head, 60, moved.get(mini, mini))
    struct.pack_into(f"<{count}I", head, 76, *(moved[place] for place in places))
    return bytes(head) + b"".join(made)


def _followed(table: list[int], start: int) -> list[int]:
    found = []
    while start < _LAST:
        found.append(start)
        start = table[start]
    return found


def _entries(sector: bytes, moved: dict[int, int]) -> bytes:
    """Large streams and the root begin at a sector; small streams are counted within the root's."""
    made = bytearray(sector)
    for at in range(0, len(made), 128):
        start, size = struct.unpack_from("<IQ", made, at + 116)
        if made[at + 66] == 5 or (made[at + 66] == 2 and size >= 4096):
            struct.pack_into("<I", made, at + 116, moved.get(start, start))
    return bytes(made)
