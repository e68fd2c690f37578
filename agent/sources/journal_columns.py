"""The camera's own metadata of each frame, packed: text of 200,000 frames that hardly differs."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any, overload

import msgspec

BLOCK = 256


class CameraMetadata(Sequence[dict[str, Any]]):
    """A read-only list of dictionaries that keeps them compressed, some tens of bytes each.

    Fast to walk through; an element in the middle unpacks its block of 256.
    """

    def __init__(self) -> None:
        self._blocks: list[bytes] = []
        self._rest: list[dict[str, Any]] = []
        self._unpacked: tuple[int, list[dict[str, Any]]] = (-1, [])

    def append(self, one: dict[str, Any]) -> None:
        self._rest.append(one)
        if len(self._rest) == BLOCK:
            self._blocks.append(zlib.compress(msgspec.json.encode(self._rest), 1))
            self._rest = []

    def __len__(self) -> int:
        return len(self._blocks) * BLOCK + len(self._rest)

    @overload
    def __getitem__(self, at: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, at: slice) -> list[dict[str, Any]]: ...
    def __getitem__(self, at: int | slice) -> dict[str, Any] | list[dict[str, Any]]:
        if isinstance(at, slice):
            return [self[one] for one in range(*at.indices(len(self)))]
        position = range(len(self))[at]
        block, within = divmod(position, BLOCK)
        return self._block(block)[within]

    def _block(self, number: int) -> list[dict[str, Any]]:
        if number == len(self._blocks):
            return self._rest
        if self._unpacked[0] != number:
            self._unpacked = number, msgspec.json.decode(zlib.decompress(self._blocks[number]))
        return self._unpacked[1]
