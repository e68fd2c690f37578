"""Which files were told: a number of 64 bits for each, for a million files must fit."""

from __future__ import annotations

from array import array
from bisect import bisect_left

_BUCKETS = 256


class _Sorted:
    """Numbers in buckets, eight bytes each; a bucket is sorted when it is asked for the first time."""

    def __init__(self) -> None:
        self._buckets = [array("q") for _ in range(_BUCKETS)]
        self._mixed = bytearray(_BUCKETS)

    def add(self, key: int) -> None:
        place = key % _BUCKETS
        self._buckets[place].append(key)
        self._mixed[place] = True

    def __contains__(self, key: int) -> bool:
        place = key % _BUCKETS
        if self._mixed[place]:
            self._buckets[place] = array("q", sorted(self._buckets[place]))
            self._mixed[place] = False
        bucket = self._buckets[place]
        at = bisect_left(bucket, key)
        return at < len(bucket) and bucket[at] == key

    def __len__(self) -> int:
        return sum(map(len, self._buckets))


class Told:
    """Keys are hashes of path and identity. Two files with one key among a million: once in 10 million walks.

    What a full walk does not meet again is forgotten at its end. Eight bytes a file, twice that during a full walk,
    and about 70 for each file that was heard of since the last one.
    """

    def __init__(self) -> None:
        self._known = _Sorted()
        self._since: set[int] = set()
        self._fresh: _Sorted | None = None
        self._during: set[int] = set()

    def __len__(self) -> int:
        return len(self._known) + len(self._since)

    def add(self, key: int) -> bool:
        """Remember a key. True when it is new."""
        new = not self._is_known(key)
        if self._fresh is not None:
            self._during.add(key)
        if new:
            self._since.add(key)
        return new

    def begin(self) -> None:
        """A full walk begins."""
        self._fresh, self._during = _Sorted(), set()

    def walked(self, key: int) -> bool:
        """The full walk met a key. True when it is new."""
        if self._fresh is not None:
            self._fresh.add(key)
        return not self._is_known(key)

    def end(self) -> None:
        """The full walk is done: only what it met, or was told meanwhile, is remembered."""
        if self._fresh is not None:
            self._known, self._since = self._fresh, self._during
        self.give_up()

    def give_up(self) -> None:
        """The full walk was cut short: all is remembered as it was before, and what was told meanwhile."""
        self._fresh, self._during = None, set()

    def _is_known(self, key: int) -> bool:
        return key in self._since or key in self._known
