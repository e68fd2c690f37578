"""The journals that hooked acquisition processes write: one source, however many processes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from agent.clock import Clock, SystemClock
from agent.sources.events import SourceEvent, WatchLost
from agent.sources.journal_prune import prune
from agent.sources.journal_run import read_run
from agent.sources.journal_tail import Tail
from agent.sources.liveness import writer_lives

__all__ = ["JournalSource", "prune", "read_run"]

POLL_BYTES = 4 << 20
"""Read in one poll, of all journals together."""
PROBE_S = 1.0
"""How often a journal that is quiet is asked whether its writer lives."""
DEAD_S = 2.0
"""How long the lock must be found free: a writer holds it a moment after it made the file, not at once."""
VANISHED_S = 30.0
"""How long the journal of a running acquisition may be missing before the run counts as aborted."""

Offsets = Mapping[str, int] | Callable[[str], int]


class JournalSource:
    """Follows every `*.jsonl` in `spool`. `offsets` gives the durable offset of a journal by its file name.

    A run that had no end when the offset was taken is told again from its start, with the same origin.
    """

    name = "journal"

    def __init__(self, spool: Path, offsets: Offsets | None = None, clock: Clock | None = None) -> None:
        self.spool = Path(spool)
        self._offsets: Offsets = offsets if offsets is not None else {}
        self._clock: Clock = clock if clock is not None else SystemClock()
        self._tails: dict[str, Tail] = {}
        self._probed: dict[str, float] = {}
        self._free: dict[str, float] = {}
        self._away: dict[str, str] = {}
        self._missing: dict[str, float] = {}
        self._behind = True

    def start(self) -> None:
        """Make the spool folder, so that the first hooked process and this one agree on it."""
        with suppress(OSError):  # poll says so
            self.spool.mkdir(parents=True, exist_ok=True)

    def stop(self) -> None:
        """Nothing to end: this source has no thread."""

    def poll(self) -> list[SourceEvent]:
        """What the journals say since the last call, at most about `POLL_BYTES` of them."""
        events: list[SourceEvent] = []
        names = self._names(events)
        budget = POLL_BYTES
        for name in names:
            tail = self._tails.get(name)
            if tail is None:
                tail = self._tails[name] = Tail(self.spool / name, self._offset(name))
            if tail.ended and self._due(name) and tail.grew():
                # Its writer took the lock late, or a killed one's last words reached the disk late.
                tail.ended = False
            if not tail.ended and budget > 0:
                before = tail.position
                events.extend(self._follow(name, tail, budget))
                budget -= tail.position - before
        self._behind = budget <= 0
        return events

    def read_to_end(self) -> bool:
        """Whether the last poll left nothing unread: what no journal told of by then, the hook did not see."""
        return not self._behind

    def durable_offsets(self) -> dict[str, int]:
        """The offset of each journal, to be stored once everything that `poll` told is stored."""
        return {name: tail.durable for name, tail in self._tails.items()}

    def _names(self, events: list[SourceEvent]) -> list[str]:
        """The journals that are there, oldest first; one WatchLost when the spool cannot be read."""
        try:
            names = sorted(path.name for path in self.spool.iterdir() if path.suffix == ".jsonl")
        except OSError as error:
            events.extend(self._lost("", error))
            return []
        self._away.pop("", None)
        self._end_vanished(set(names), events)
        return names

    def _end_vanished(self, names: set[str], events: list[SourceEvent]) -> None:
        """A run whose journal stays away has ended for us; a share may flicker, so not at once."""
        now = self._clock.monotonic()
        for name, tail in self._tails.items():
            if name in names or not tail.busy:
                self._missing.pop(name, None)
            elif now - self._missing.setdefault(name, now) > VANISHED_S:
                events.extend(tail.abandon())

    def _offset(self, name: str) -> int:
        found = self._offsets(name) if callable(self._offsets) else self._offsets.get(name, 0)
        return max(0, found)

    def _follow(self, name: str, tail: Tail, budget: int) -> list[SourceEvent]:
        try:
            events = tail.read(budget)
            if events:
                self._free.pop(name, None)
            elif self._due(name) and self._is_dead(name, tail):
                # What the writer wrote between the reading and its end.
                events = tail.read(budget) or tail.abandon()
        except OSError as error:
            return self._lost(name, error)
        self._away.pop(name, None)
        return events

    def _is_dead(self, name: str, tail: Tail) -> bool:
        """Whether the lock was free at every probe for a while."""
        if writer_lives(tail.path):
            self._free.pop(name, None)
            return False
        now = self._clock.monotonic()
        return now - self._free.setdefault(name, now) >= DEAD_S

    def _due(self, name: str) -> bool:
        now = self._clock.monotonic()
        if now - self._probed.get(name, -PROBE_S) < PROBE_S:
            return False
        self._probed[name] = now
        return True

    def _lost(self, name: str, error: OSError) -> list[SourceEvent]:
        reason = f"{name or 'spool'} cannot be read: {error.strerror or error}"
        if self._away.get(name) == reason:
            return []
        self._away[name] = reason
        return [WatchLost(str(self.spool), self._clock.now_ns(), reason)]
