"""The whole daemon on real folders: files renamed, moved, deleted and replaced, while it is on and while it is off."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from pathlib import Path

import pytest

from agent.acquisition import State
from agent.outbox import Outbox, SourceChange
from tests.lab import Lab
from tests.unit.steps.rig import thor_set
from tests.unit.steps.test_steps import image

pytestmark = [pytest.mark.system, pytest.mark.timeout(180)]
AWAY = {"url": "http://127.0.0.1:9"}


class Site(Lab):
    """A lab whose datasets go into a folder, or nowhere as long as the facility is away."""

    def __init__(self, folder: Path, *, reachable: bool = True) -> None:
        self.store = folder / "store"
        self.store.mkdir(exist_ok=True)
        there = {"target": "folder", "folder": {"path": self.store}}
        delivery = there if reachable else AWAY | {"token_file": folder / "token"}
        super().__init__(folder, delivery=delivery)

    def verified(self, count: int, seconds: float = 40) -> None:
        """Wait until there are so many acquisitions and all are verified."""
        self.until(lambda all_: len(all_) == count and {one.state for one in all_} == {State.VERIFIED}, seconds)

    def changes(self) -> list[SourceChange]:
        outbox = Outbox.open(self.state / "outbox.sqlite")
        try:
            return [change for entry in outbox.newest() for change in outbox.source_changes(entry.acquisition.id)]
        finally:
            outbox.close()

    def moved(self, count: int) -> None:
        """Wait until so many moves were written down."""
        deadline = time.monotonic() + 30
        while sum(change.what == "moved" for change in self.changes()) < count:
            assert time.monotonic() < deadline, self.changes()
            time.sleep(0.1)

    def delivered(self) -> list[str]:
        """SHA-256 of the sources of all data files in the store."""
        records = [json.loads(path.read_text()) for path in self.store.rglob("acquisition.json")]
        return sorted(one["source_sha256"] for record in records for one in record["files"] if one["role"] == "data")

    def hashes(self) -> list[str]:
        """Of what is in the watched folder."""
        files = [path for path in self.images.rglob("*") if path.is_file()]
        return sorted(hashlib.sha256(path.read_bytes()).hexdigest() for path in files)


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is gone is looked for sooner than in 20 s."""
    monkeypatch.setattr("agent.steps.gone._WAIT_S", 2.0)


def test_what_was_delivered_is_followed_on_and_off_and_never_delivered_again(tmp_path: Path) -> None:
    site = Site(tmp_path)
    (site.images / "project").mkdir()
    main = thor_set(site.images / "project" / "run")
    single = image(site.images / "a.tif")
    odd = Path(os.fsdecode(os.fsencode(site.images) + b"/caf\xe9.tif")) if sys.platform == "linux" else None
    if odd is not None:
        image(odd, 3)
    count = len(list(main.parent.iterdir()))
    acquisitions = 3 if odd else 2
    with site.daemon():
        site.verified(acquisitions)
        truth = site.hashes()
        assert site.delivered() == truth
        (site.images / "project").rename(site.images / "renamed")
        single.rename(site.images / "b.tif")
        site.moved(count + 1)
    (site.images / "renamed" / "run").rename(site.images / "later")
    (site.images / "b.tif").rename(site.images / "later" / "c.tif")
    if odd is not None:
        odd.rename(odd.with_name("named.tif"))
    with site.daemon():
        site.moved(2 * (count + 1) + bool(odd))
        time.sleep(2)
        site.verified(acquisitions)
    assert site.delivered() == truth == site.hashes()


def test_what_is_renamed_before_its_delivery_is_delivered_once(tmp_path: Path) -> None:
    site = Site(tmp_path, reachable=False)
    main = thor_set(site.images / "run")
    image(site.images / "a.tif")
    with site.daemon():
        site.described(2)
        main.parent.rename(site.images / "while-on")
        time.sleep(2)
    (site.images / "while-on").rename(site.images / "while-off")
    (site.images / "a.tif").rename(site.images / "while-off" / "b.tif")
    site = Site(tmp_path)
    with site.daemon():
        site.verified(2, 60)
    assert site.delivered() == site.hashes()
    notes = [note for one in site.acquisitions() for note in one.notes]
    assert sum("renamed or moved" in note for note in notes) == 2


def test_a_deleted_and_an_overwritten_source_are_written_down_and_their_datasets_stay(tmp_path: Path) -> None:
    site = Site(tmp_path)
    gone, other = image(site.images / "gone.tif"), image(site.images / "other.tif", 3)
    image(site.images / "stays.tif", 4)
    with site.daemon():
        site.verified(3)
        before = {path: path.read_bytes() for path in site.store.rglob("data/*")}
        gone.unlink()
        image(other, 5)
        site.verified(4)
        deadline = time.monotonic() + 20
        while {change.what for change in site.changes()} != {"gone", "replaced"}:
            assert time.monotonic() < deadline, site.changes()
            time.sleep(0.1)
    assert {path: path.read_bytes() for path in before} == before
    newest = max(site.acquisitions(), key=lambda one: one.frames)
    assert any("delivered before with other bytes" in note for note in newest.notes)
