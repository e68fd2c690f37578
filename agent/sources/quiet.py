"""Quiet time that does not trust the file's clock."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field


@dataclass(slots=True)
class Quiet:
    """When each file or dataset was last seen to change, on our own monotonic clock.

    A file time in the future or the past means nothing here, only that it is another one than before.
    Not for several threads at once.
    """

    _last: dict[str, tuple[Hashable, float]] = field(default_factory=dict)

    def note(self, path: str, found: Hashable, now: float) -> None:
        """The file is `found` at `now` (monotonic seconds): its identity or more; None when it is away."""
        known = self._last.get(path)
        if known is None or known[0] != found:
            self._last[path] = (found, now)

    def settled(self, path: str, now: float, quiet_s: float) -> bool:
        """True when the file was noted, is there, and nothing changed for at least `quiet_s` seconds."""
        known = self._last.get(path)
        return known is not None and known[0] is not None and now - known[1] >= quiet_s

    def forget(self, path: str) -> None:
        """Give the memory of a file back."""
        self._last.pop(path, None)
