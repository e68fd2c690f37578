"""Olympus cellSens: a document with tags and previews, and a folder with a pixel file for each image."""

from __future__ import annotations

import random
import struct

from tests.writers.run import SIDE, Run, noise, one_page, put

_IMAGE, _FRAME, _EXTERNAL, _HAS_FILE = 2001, 2002, 2018, 20005
_EXTENDED, _INLINE, _SINGLE = 1 << 28, 1 << 30, 1


def _container(*members: tuple[int, int | bytes]) -> bytes:
    """Tags with a number or with the container of their own tags."""
    body, tags = b"", []
    for tag, value in members:
        if isinstance(value, int):
            tags.append((_INLINE | 6, tag, value, b""))
        else:
            tags.append((_EXTENDED | _SINGLE, tag, len(value), value))
    place = 24
    for number, (form, tag, size, inside) in enumerate(tags):
        place += 16 + len(inside)
        following = place if number + 1 < len(tags) else 0
        body += struct.pack("<iiIi", form, tag, following, size) + inside
    return struct.pack("<hhiqi", 24, 0x5349, 0, 24, len(tags)).ljust(24, b"\0") + body


def _document(images: int, dice: random.Random) -> bytes:
    external = _container((_FRAME, _container((_EXTERNAL, _container((_HAS_FILE, 1))))))
    tree = _container(*[(_IMAGE, external)] * images)
    at = 8 + len(tree)
    return b"II*\0" + struct.pack("<I", at) + tree + one_page(at, [], noise(dice))[0]


def _pixels(run: Run, name: str, dice: random.Random) -> None:
    """The header without the place of the table, the tiles, the table, and its place."""
    tiles = dice.randint(1, 4)
    more = struct.pack("<4s10I", b"ETS\0", 0x30001, 2, 1, 1, 0, 0, SIDE, SIDE, 1, 0)

    def head(table: int, count: int) -> bytes:
        return struct.pack("<4sIIIQI4xQI", b"SIS\0", 64, 2, 4, 64, len(more), table, count).ljust(64, b"\0")

    run.flow(name, head(0, 0) + more, dice)
    at = 64 + len(more)
    table = b""
    for t in range(tiles):
        run.flow(name, noise(dice), dice)
        table += struct.pack("<I4IQII", 0, 0, 0, t, 0, at, SIDE * SIDE, 0)
        at += SIDE * SIDE
    run.flow(name, table, dice)
    run.patch(name, 0, head(at, tiles))
    run.close(name)


def cellsens(dice: random.Random) -> Run:
    """The document before or after its pixel files."""
    run, images = Run("vsi"), dice.randint(1, 3)
    late = dice.random() < 0.5
    document = _document(images, dice)
    if not late:
        put(run, "scan.vsi", [(None, document)], dice)
    for number in range(images):
        _pixels(run, f"_scan_/stack{number + 1}/frame_t.ets", dice)
    if late:
        put(run, "scan.vsi", [(None, document)], dice)
    return run
