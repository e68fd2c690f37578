"""UCLA Miniscope: a folder with metaData.json, and below it one folder a camera with 0.avi, 1.avi and timeStamps.csv.

Whole when every camera has as many frames in its movies as it has times, and each movie's index is written.
"""

from __future__ import annotations

from pathlib import Path

from agent.formats import binary
from agent.formats import miniscope_layout as lay
from agent.formats.guarded import guarded
from agent.formats.port import Dataset, Metadata, Verdict
from agent.formats.tiff_layout import TroubleError


class MiniscopeAvi:
    """A recording with all of its cameras; `main` is the metaData.json of the recording."""

    name = "miniscope-avi"

    def matches(self, path: Path) -> bool:
        try:
            return lay.top_of(path) is not None
        except OSError:
            return False

    def dataset(self, path: Path) -> Dataset:
        top = lay.top_of(path)
        if top is None:
            raise FileNotFoundError(f"{path} is in no Miniscope recording (any more)")
        files = [one for one in top.iterdir() if one.is_file() and not one.is_symlink() and lay.belongs(one)]
        missing: list[str] = []
        for name in lay.cameras(top):
            folder = top / name
            if not folder.is_dir():
                missing.append(f"{top.name}/{name}")
                continue
            files += [one for one in folder.iterdir() if one.is_file() and not one.is_symlink()]
            needed = ("0.avi", lay.JSON, lay.TIMES)
            missing += [f"{top.name}/{name}/{one}" for one in needed if not (folder / one).is_file()]
        main = top / lay.JSON
        return Dataset(self.name, main, top.parent, tuple(sorted({*files, main})), tuple(missing))

    def is_whole(self, dataset: Dataset) -> Verdict:
        if dataset.missing:
            return binary.growing(f"not there: {', '.join(dataset.missing[:3])}")
        top = dataset.main.parent
        names = lay.cameras(top)
        if not names:
            return binary.growing(f"{dataset.main.name} names no camera yet")
        try:
            for name in names:
                frames = sum(lay.avi(movie).frames for movie in lay.movies(top / name))
                times = lay.times(top / name)
                if not times or frames != len(times):
                    return binary.growing(f"{name} has {frames} frames and {len(times)} times")
            if all(lay.is_over(top / name) for name in names):
                return binary.whole("frames and times agree, and every last movie was closed before it was full")
        except TroubleError as trouble:
            return trouble.verdict
        return binary.unknown("frames and times agree; the recording does not say that it is over")

    def planes_on_disk(self, dataset: Dataset) -> int | None:
        """Frames of all cameras; None while a movie has no index."""
        top = dataset.main.parent
        try:
            return sum(lay.avi(movie).frames for name in lay.cameras(top) for movie in lay.movies(top / name))
        except TroubleError:
            return None

    def metadata(self, dataset: Dataset) -> Metadata:
        return guarded(dataset.main, lambda: lay.read(dataset.main.parent))
