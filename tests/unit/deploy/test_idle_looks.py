"""Looking for delivered files that are gone rests between its pages: years of files cost an idle agent little."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from agent.sources.events import FilesGone
from agent.steps.gone import _PAGE, _REST, _WAIT_S, Gone


class Clock:
    """Stands still but where it is told to go on."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def now_ns(self) -> int:
        return int(self.now * 1e9)


class Outbox:
    """So many delivered files below the folder; a page takes so many seconds."""

    def __init__(self, clock: Clock, count: int, page_s: float) -> None:
        self.clock, self.count, self.page_s, self.pages = clock, count, page_s, 0

    def delivered_below(self, folder: str, after: str, limit: int) -> list[SimpleNamespace]:
        self.clock.now += self.page_s
        self.pages += 1
        first = int(after.rpartition("/")[2] or -1) + 1
        names = range(first, min(first + limit, self.count))
        return [SimpleNamespace(source=f"{folder}{n}", file_id="1:1", size=0, mtime_ns=0) for n in names]

    def delivered_at(self, _path: str) -> list[SimpleNamespace]:
        return []


@pytest.mark.parametrize("folders", [1, 10])
def test_a_page_is_followed_by_a_rest(monkeypatch: pytest.MonkeyPatch, folders: int) -> None:
    monkeypatch.setattr(Gone, "_change", lambda *_: None)
    clock = Clock()
    outbox = Outbox(clock, 20 * _PAGE + 1, 0.01)
    gone = Gone(SimpleNamespace(clock=clock, outbox=outbox), lambda _path, _id: False)
    for number in range(folders):
        gone.told(FilesGone(root="/images", path=f"/images{number}", deep=True, at_ns=0))
    clock.now = _WAIT_S + 1
    began = clock.now
    while gone._todo or gone._resting:
        gone.step()
        clock.now += 0.1
    assert outbox.pages == 21 * folders, "every file was looked at"
    assert outbox.pages * outbox.page_s / (clock.now - began) < 1.5 / _REST


def test_a_few_files_are_looked_at_as_soon_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Gone, "_change", lambda *_: None)
    clock = Clock()
    outbox = Outbox(clock, 10, 0.001)
    gone = Gone(SimpleNamespace(clock=clock, outbox=outbox), lambda _path, _id: False)
    gone.told(FilesGone(root="/images", path="/images", deep=True, at_ns=0))
    clock.now = _WAIT_S
    gone.step()
    assert outbox.pages == 1
    assert not gone._resting
