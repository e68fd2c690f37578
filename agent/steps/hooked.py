"""Is a run in a log one that the hook told of? Compared by the time at which both began."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from agent.outbox import Outbox

_AFTER_NS = 10_000_000_000
"""The log says that a run started once every listener was told of it, the hook being the first."""
_BEFORE_NS = 1_000_000_000
_NEWEST = 500


@dataclass(slots=True)
class Hooked:
    """Owned by the thread that listens. Each of the hook's runs is one run of a log."""

    outbox: Outbox
    journals_read: Callable[[], bool]
    """Whether the journals are read to their ends: until then it is not known what the hook told."""
    _taken: set[str] = field(default_factory=set)

    def __call__(self, at_ns: int) -> bool | None:
        """Whether the hook told of a run that began at `at_ns` in the log; None when that is not known yet."""
        if not self.journals_read():
            return None
        near = {
            abs(at_ns - run.started_ns): run.id
            for run in (entry.acquisition for entry in self.outbox.newest(_NEWEST))
            if run.origin.startswith("hook:")
            and run.id not in self._taken
            and -_BEFORE_NS <= at_ns - run.started_ns <= _AFTER_NS
        }
        if not near:
            return False
        self._taken.add(near[min(near)])
        return True
