"""The hash of a file, a little at a time, for a thread that has other things to do."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field

from agent.sources.identity import Identity, identity

_BLOCK = 1 << 20


@dataclass(slots=True)
class Content:
    """Reads one file; `step` again and again until it returns True. A file that changed meanwhile has no hash."""

    path: str
    expected: Identity
    sha256: str | None = None
    """Hex, once it is known."""
    _at: int = 0
    _hash: hashlib._Hash = field(default_factory=hashlib.sha256)

    def step(self, monotonic: Callable[[], float], budget_s: float) -> bool:
        """Read for about `budget_s` seconds. True when it is over, with a hash or without."""
        deadline = monotonic() + budget_s
        try:
            with open(self.path, "rb", buffering=0) as file:  # noqa: PTH123 - str, as the source told it
                file.seek(self._at)
                while block := file.read(_BLOCK):
                    self._hash.update(block)
                    self._at += len(block)
                    if monotonic() >= deadline:
                        return False
        except OSError:
            return True
        if identity(self.path) == self.expected and self._at == self.expected.size:
            self.sha256 = self._hash.hexdigest()
        return True
