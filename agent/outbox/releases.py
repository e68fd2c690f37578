"""Releases in the outbox: planned, moved and removed source files, for good, as their audit."""

from __future__ import annotations

from collections.abc import Iterable

from agent.outbox.rows import Announcement, Release
from agent.outbox.sources import Sources


class Releases(Sources):
    """The part of the outbox that remembers what was taken off this machine."""

    def is_in_use(self, source: str) -> bool:
        """True when the file is on its way in an acquisition that is not verified."""
        return bool(self._rows("in_use", source=source)[0]["yes"])

    def plan_release(self, releases: Iterable[Release]) -> None:
        """Written before a file is touched, so that a crash leaves no doubt."""
        with self._transaction():
            for release in releases:
                self._run(
                    "plan_release",
                    source=release.source,
                    acquisition_id=release.acquisition_id,
                    sha256=release.sha256,
                    kept=release.kept,
                    planned_ns=release.planned_ns,
                )

    def release_moved(self, release: Release, now_ns: int) -> None:
        """The file is in the grace folder."""
        with self._transaction():
            self._run("release_moved", acquisition_id=release.acquisition_id, source=release.source, moved_ns=now_ns)

    def release_removed(self, releases: Iterable[Release], now_ns: int, announce: Iterable[Announcement]) -> None:
        """The files are gone for good."""
        with self._transaction():
            for release in releases:
                key = {"acquisition_id": release.acquisition_id, "source": release.source}
                self._run("release_removed", **key, removed_ns=now_ns)
            for announcement in announce:
                self._announce(announcement)

    def releases(self, acquisition_id: str) -> list[Release]:
        """What was released of an acquisition."""
        return [Release(**row) for row in self._rows("releases_of", acquisition_id=acquisition_id)]

    def to_remove(self, before_ns: int, limit: int = 10) -> list[str]:
        """Ids of acquisitions whose files were moved before."""
        return [row["acquisition_id"] for row in self._rows("to_remove", before_ns=before_ns, limit=limit)]
