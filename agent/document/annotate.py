"""Annotated copies of TIFF files, made while they are sent: the file on disk is never written.

A Patch lays the address of a new first image file directory (IFD) over the one in the header and puts that
directory, with its new ImageDescription, behind the last byte. Every other byte stays where it was: strips,
tiles, the other directories and vendors' own indexes keep their absolute addresses.
"""

from __future__ import annotations

import logging
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from agent.document.tiff import (
    IMAGE_DESCRIPTION,
    Directory,
    NotPatchable,
    describes_in_ome,
    read_first,
    refuse_hidden_planes,
)
from agent.errors import SourceChanged

_log = logging.getLogger(__name__)
_ASCII = 2


@dataclass(frozen=True, slots=True)
class Patch:
    """What a delivered copy has differently: `(offset, bytes)` laid over the original, and bytes behind it."""

    overlays: tuple[tuple[int, bytes], ...]
    tail: bytes
    base: int | None = None
    """Size of the original that `tail` was made for; `blocks` refuses another one."""


def plan(path: Path, description: bytes) -> Patch | None:
    """The patch that makes `description` (UTF-8, no NUL) the ImageDescription of a TIFF's first page.

    A description that is no OME-XML (ImageJ's, a vendor's) stays as the second one: so does Micro-Manager write
    its stacks, for ImageJ looks at every description, tifffile at two. None, with the reason in the log, when the
    file is no TIFF, is damaged, would outgrow the 4 GiB of a classic TIFF, or has planes without a directory of
    their own (MetaMorph stacks, LSM). OSError may pass.
    """
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            first = read_first(file, size)
            refuse_hidden_planes(first)
            replaces = describes_in_ome(file, first)
        return _patch(first, size, description, replaces=replaces)
    except NotPatchable as reason:
        _log.warning("%s is delivered without an embedded OME-XML: %s", path.name, reason)
        return None


def _patch(first: Directory, size: int, description: bytes, *, replaces: bool) -> Patch:
    layout = first.layout
    text_at = size + -size % layout.align
    text = description + b"\0"
    directory_at = text_at + len(text)
    directory_at += -directory_at % layout.align
    if directory_at + layout.directory_size(len(first.entries) + 1) > layout.limit:
        raise NotPatchable("a classic TIFF cannot grow beyond 4 GiB")
    entry = layout.entry(IMAGE_DESCRIPTION, _ASCII, len(text), text_at, text)
    directory = layout.directory(_with_description(first, entry, replaces=replaces), first.next_ifd)
    tail = bytes(text_at - size) + text
    tail += bytes(directory_at - size - len(tail)) + directory
    return Patch(((layout.first_at, struct.pack(layout.pointer, directory_at)),), tail, size)


def _with_description(first: Directory, description: bytes, *, replaces: bool) -> list[bytes]:
    """The entries in order of their tags, the new description before any that is kept.

    Micro-Manager writes two: OME-XML, which is replaced, then ImageJ's.
    """
    entries = list(first.entries)
    at = sum(tag < IMAGE_DESCRIPTION for tag, _ in entries)
    place = next((number for number, (tag, _) in enumerate(entries) if tag == IMAGE_DESCRIPTION), None)
    if replaces and place is not None:
        entries[place] = (IMAGE_DESCRIPTION, description)
    else:
        entries.insert(at if place is None else place, (IMAGE_DESCRIPTION, description))
    return [entry for _, entry in entries]


def delivered_size(path_size: int, patch: Patch | None) -> int:
    """Bytes of the delivered copy of a file of `path_size` bytes."""
    return path_size + (len(patch.tail) if patch else 0)


def blocks(path: Path, patch: Patch | None, block_size: int, start: int = 0) -> Iterator[tuple[bytes, bytes]]:
    """Read a file once: pairs of (source, delivered) blocks of at most `block_size` bytes.

    `start` is an offset in the delivered copy, to go on where a transfer broke off. Blocks of the tail have no
    source bytes. Raises SourceChanged when the file is not as long as the patch was planned for, OSError when
    it cannot be read.
    """
    at = start
    with path.open("rb") as file:
        end = _checked_size(file, path, patch)
        file.seek(min(at, end))
        # Without a patch the file is read to its end, whatever its size was when it was opened.
        while block := file.read(block_size if patch is None else max(0, min(block_size, end - at))):
            yield block, _overlaid(block, at, patch) if patch else block
            at += len(block)
    if patch is None:
        return
    if at < end:
        raise SourceChanged(f"{path.name} became shorter while it was read: wait until it is written, then retry")
    for offset in range(at - end, len(patch.tail), block_size):
        yield b"", patch.tail[offset : offset + block_size]


def _checked_size(file: BinaryIO, path: Path, patch: Patch | None) -> int:
    size = file.seek(0, 2)
    if patch is not None and patch.base is not None and size != patch.base:
        raise SourceChanged(
            f"{path.name} has {size} bytes, not {patch.base} as when its annotation was planned: document it again"
        )
    return size


def _overlaid(block: bytes, at: int, patch: Patch) -> bytes:
    """The block that starts at offset `at` with every overlay that touches it laid over."""
    end = at + len(block)
    hits = [(o, b) for o, b in patch.overlays if o < end and o + len(b) > at]
    if not hits:
        return block
    changed = bytearray(block)
    for offset, value in hits:
        first, last = max(offset, at), min(offset + len(value), end)
        changed[first - at : last - at] = value[first - offset : last - offset]
    return bytes(changed)
