"""Where the planes of vendors' TIFF sets lie: only what is sure, and never more than a document can hold."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from ome_types import OME

from agent.formats import ome_build, places
from agent.formats.port import Dataset, Metadata, Place


def told(folder: Path, width: int = 8, kind: str = "uint16") -> tuple[Metadata, Dataset]:
    """Two TIFF files of 8 x 6 pixels, and an image of two times as the vendor's text describes it."""
    files = []
    for number in range(2):
        files.append(folder / f"t{number}.tif")
        tifffile.imwrite(files[-1], np.zeros((6, 8), np.uint16), metadata=None)
    image = ome_build.image(0, "run", {"x": width, "y": 6, "t": 2}, kind)
    return Metadata(OME(images=[image])), Dataset("any", files[0], folder, tuple(files))


def placed(said: Metadata, dataset: Dataset, *more: Place) -> Metadata:
    return places.placed(said, dataset, [Place("Image:0", "t0.tif", t=0), Place("Image:0", "t1.tif", t=1), *more])


def test_planes_are_addressed(tmp_path: Path) -> None:
    said, dataset = told(tmp_path)
    found = placed(said, dataset, Place("Image:0", "gone.tif", t=2), Place("Image:0", "t0.stk", t=3))
    assert [(one.file, one.t) for one in found.places] == [("t0.tif", 0), ("t1.tif", 1)]
    assert found.notes == ()


def test_a_plane_that_was_taken_twice_keeps_its_last_place(tmp_path: Path) -> None:
    said, dataset = told(tmp_path)
    found = placed(said, dataset, Place("Image:0", "t1.tif", t=0))
    assert [(one.file, one.t) for one in found.places] == [("t1.tif", 0), ("t1.tif", 1)]


@pytest.mark.parametrize("other", [{"width": 9}, {"kind": "uint8"}])
def test_files_that_are_not_what_the_text_says_are_not_addressed(tmp_path: Path, other: dict) -> None:
    found = placed(*told(tmp_path, **other))
    assert found.places == ()
    assert found.notes == (
        "t0.tif holds 8 x 6 uint16 with 1 samples, other than its description says: its planes are not addressed",
    )


def test_too_many_planes_are_not_addressed_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "MAX_PLANES", 1)
    found = placed(*told(tmp_path))
    assert (found.places, found.notes) == ((), ("more than 1 planes are too many to be addressed one by one",))
