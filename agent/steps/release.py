"""Step 6: source files of verified acquisitions are released, where the policy says so."""

from __future__ import annotations

import logging
import shutil
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from agent.acquisition import State, move
from agent.clock import Clock
from agent.contract.event import TYPE_PREFIX, event_id
from agent.delivery.release import Releaser, tidy
from agent.delivery.settings import ReleaseSettings
from agent.errors import ScopeAgentError
from agent.outbox import Announcement, Entry, Outbox, Release
from agent.steps.station import Station
from agent.telemetry import announce

log = logging.getLogger(__name__)

_DAY_NS = 86_400 * 10**9
_EVERY_S = 60.0
_AGAIN_NS = 6 * 3600 * 10**9


Planned = tuple[Entry, list[Release], str]
"""An acquisition, what would be moved of it, and why it would not."""


def planned(outbox: Outbox, releaser: Releaser, settings: ReleaseSettings, clock: Clock) -> list[Planned]:
    """What is old enough now, whatever the policy says; touches nothing."""
    now_ns = clock.now_ns()
    shown: list[Planned] = []
    for entry in outbox.to_release(now_ns - int(settings.after_days * _DAY_NS), now_ns, 1000):
        try:
            shown.append((entry, releaser.plan(entry, now_ns), ""))
        except (ScopeAgentError, ValidationError) as error:
            shown.append((entry, [], str(error)))
    return shown


@dataclass(slots=True)
class ReleaseStep:
    """Owned by the thread that delivers: it uses the same target, when nothing is to be delivered."""

    station: Station
    releaser: Releaser
    settings: ReleaseSettings
    _due: float = 0.0

    def step(self) -> bool:
        """Release or remove one acquisition's files. True when one was."""
        now = self.station.clock.monotonic()
        if self.settings.policy == "never" or now < self._due:
            return False
        did = self._remove_one() or self._release_one()
        self._due = 0.0 if did else now + _EVERY_S
        return did

    def dry_run(self) -> list[Planned]:
        """What would be moved now, and why the rest would not; touches nothing."""
        return planned(self.station.outbox, self.releaser, self.settings, self.station.clock)

    def _before_ns(self) -> int:
        return self.station.clock.now_ns() - int(self.settings.after_days * _DAY_NS)

    def _release_one(self) -> bool:
        now_ns = self.station.clock.now_ns()
        for entry in self.station.outbox.to_release(self._before_ns(), now_ns):
            if self.settings.policy == "pressure" and not self._short_of_space(entry):
                continue
            try:
                releases = self.releaser.plan(entry, now_ns)
                self.releaser.move(releases, now_ns)
            except (ScopeAgentError, ValidationError) as error:
                self._keep(entry, error)
                continue
            self._released(entry)
            return True
        return False

    def _released(self, entry: Entry) -> None:
        moved = self.station.outbox.releases(entry.acquisition.id)
        self.station.advance(
            move(entry.acquisition, State.VERIFIED),
            State.RELEASED,
            files=len(moved),
            dataset=entry.dataset,
            reason=f"moved to {self.settings.grace_folder}",
        )
        log.info(
            "released: %d source files of %s", len(moved), entry.dataset,
            extra={"action": "released", "acquisition": entry.acquisition.id},
        )  # fmt: skip

    def _remove_one(self) -> bool:
        now_ns = self.station.clock.now_ns()
        before = now_ns - int(self.settings.grace_days * _DAY_NS)
        for acquisition_id in self.station.outbox.to_remove(before):
            entry = self.station.outbox.get(acquisition_id)
            if entry is None or entry.next_at_ns > now_ns:
                continue
            try:
                gone = self.releaser.remove(entry)
            except (ScopeAgentError, ValidationError, OSError) as error:
                self._keep(entry, error)
                continue
            self.station.outbox.release_removed(gone, now_ns, [self._removal(entry, gone, now_ns)])
            self.station.wake()
            list(tidy(gone))
            log.info(
                "removed for good: %d source files of %s", len(gone), entry.dataset,
                extra={"action": "removed", "acquisition": acquisition_id},
            )  # fmt: skip
            return True
        return False

    def _removal(self, entry: Entry, gone: list[Release], now_ns: int) -> Announcement:
        """The audit of a removal, beside the one of the release."""
        topics, acquisition = self.station.topics, entry.acquisition
        said = announce.describe(
            acquisition, files=len(gone), dataset=entry.dataset, reason="removed from the grace folder"
        )
        return Announcement(
            id=event_id("removed", topics.root, acquisition.id),
            topic=topics.lifecycle("released"),
            type=f"{TYPE_PREFIX}.acquisition.released.v1",
            subject=acquisition.id,
            time_ns=now_ns,
            data=said.model_dump(exclude_none=True),
        )

    def _short_of_space(self, entry: Entry) -> bool:
        folder = Path(entry.acquisition.files[0].path).parent if entry.acquisition.files else None
        try:
            return folder is not None and shutil.disk_usage(folder).free < self.settings.free_gib * 2**30
        except OSError:
            return False

    def _keep(self, entry: Entry, error: Exception) -> None:
        """Whatever is in doubt stays; it is looked at again in some hours."""
        at = self.station.clock.now_ns() + _AGAIN_NS
        self.station.outbox.postpone(entry.acquisition.id, at, f"not released: {error}")
        log.warning("not released: %s", error, extra={"action": "kept", "acquisition": entry.acquisition.id})
