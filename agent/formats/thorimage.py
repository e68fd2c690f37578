"""ThorImage: Experiment.xml beside the images; its ExperimentStatus says Complete when the run is over."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.formats import binary, ome_build, safe_xml, tiff_layout
from agent.formats.guarded import guarded
from agent.formats.local_dates import with_zone
from agent.formats.ome_xml import UnreadableError
from agent.formats.parts import Parts, date, number, positive
from agent.formats.places import name_in, placed
from agent.formats.port import Dataset, Metadata, Place, Verdict, Wholeness
from agent.formats.tiff_page import Head

if TYPE_CHECKING:
    from lxml.etree import _Element

XML = "Experiment.xml"
_IMAGE = re.compile(r"Chan(?P<c>[A-D])_(?P<s>\d+)_(?P<p>\d+)_(?P<z>\d+)_(?P<t>\d+)\.tiff?", re.IGNORECASE)
_RAW = re.compile(r"Image_\d+_\d+\.raw", re.IGNORECASE)
_BESIDE = ("timing.txt", "thorrealtimedatasettings.xml", "jpeg", "roimask.xml", "rois.xaml")


def _is_experiment(path: Path) -> bool:
    return path.name == XML and b"<ThorImageExperiment" in binary.head(path, 4096)


def _belongs(path: Path) -> bool:
    named = _IMAGE.fullmatch(path.name) or _RAW.fullmatch(path.name) or path.name.lower().startswith("chan")
    return bool(named) or path.name == XML or path.name.lower() in _BESIDE


def _root(path: Path) -> _Element:
    """Raises UnreadableError."""
    with path.open("rb") as file:
        return safe_xml.parse(file.read(safe_xml.MAX_BYTES + 1), path.name)


def _said(root: _Element, element: str, name: str) -> str:
    found = root.find(element)
    return "" if found is None else found.get(name, "")


def _images(files: Iterable[Path]) -> dict[tuple[str, int, int, int, int], Path]:
    """Images by channel, site, part, slice and time."""
    found = {}
    for path in files:
        named = _IMAGE.fullmatch(path.name)
        if named is not None:
            found[named["c"].upper(), int(named["s"]), int(named["p"]), int(named["z"]), int(named["t"])] = path
    return found


class ThorImage:
    """The folder of a run."""

    name = "thorimage"

    def matches(self, path: Path) -> bool:
        return _is_experiment(path) or (_belongs(path) and _is_experiment(path.with_name(XML)))

    def dataset(self, path: Path) -> Dataset:
        folder, main = path.parent, path.with_name(XML)
        files = {one for one in folder.iterdir() if _belongs(one) and one.is_file() and not one.is_symlink()}
        found = sorted({*files, main})
        missing: list[str] = []
        images = _images(files)
        if images:
            axes = [sorted({key[i] for key in images}, key=str) for i in range(5)]
            full = len(axes[0]) * len(axes[1]) * len(axes[2]) * len(axes[3]) * len(axes[4])
            if full != len(images) and full < 1_000_000:
                missing = _holes(axes, images)
        return Dataset(self.name, main, folder, tuple(found), tuple(missing))

    def is_whole(self, dataset: Dataset) -> Verdict:
        try:
            root = _root(dataset.main)
        except UnreadableError:
            return binary.growing(f"{dataset.main.name} is not complete XML yet")
        status = _said(root, "ExperimentStatus", "value")
        if status.lower() != "complete":
            return binary.growing(f"the experiment's status is {status or 'not said'}")
        if dataset.missing:
            return binary.growing(f"{len(dataset.missing)} images are not there: {dataset.missing[0]}")
        images = _images(dataset.files)
        raw = [path for path in dataset.files if _RAW.fullmatch(path.name)]
        if not images and not raw:
            return binary.growing("no image is there yet")
        for path in images.values():
            verdict = tiff_layout.layout(path).verdict
            if verdict.state is not Wholeness.WHOLE:
                return Verdict(verdict.state, f"{path.name}: {verdict.reason}")
        if raw and not images:
            return _raw_verdict(root, raw)
        wanted = number(_said(root, "Timelapse", "timepoints"))
        if _said(root, "Streaming", "enable") == "1" and _said(root, "CaptureMode", "mode") == "1":
            wanted = number(_said(root, "Streaming", "frames"))
            times = len({(key[3], key[4]) for key in images})
        else:
            times = len({key[4] for key in images})
        if wanted and times < wanted:
            return binary.unknown(f"the experiment is complete with {times} of {wanted:g} times")
        return binary.whole("the experiment's status is Complete and every image is there")

    def planes_on_disk(self, dataset: Dataset) -> int | None:
        """Images that are there; None for raw files."""
        images = _images(dataset.files)
        return sum(tiff_layout.layout(path).planes for path in images.values()) if images else None

    def metadata(self, dataset: Dataset) -> Metadata:
        return guarded(dataset.main, lambda: _read(dataset))


def _holes(axes: list[list[Any]], images: dict[tuple[str, int, int, int, int], Path]) -> list[str]:
    from itertools import product

    width = len(next(iter(images.values())).stem.rpartition("_")[2])
    absent = [key for key in product(*axes) if key not in images]
    return [f"Chan{key[0]}_" + "_".join(f"{n:0{width}}" for n in key[1:]) + ".tif" for key in absent[:10_000]]


def _raw_verdict(root: _Element, raw: list[Path]) -> Verdict:
    """Raw files hold frames of 16 bits for every channel that is on."""
    sides = [number(_said(root, "LSM", name)) for name in ("pixelX", "pixelY")]
    frame = int((sides[0] or 0) * (sides[1] or 0) * 2)
    size = sum(path.stat().st_size for path in raw)
    if not frame or size % frame:
        return binary.growing("the raw file does not end with a frame")
    return binary.unknown(f"the experiment is complete, the raw files hold {size // frame} frames")


def _read(dataset: Dataset) -> Metadata:
    try:
        root = _root(dataset.main)
    except UnreadableError as error:
        return Metadata(errors=(str(error),))
    images = _images(dataset.files)
    version = _said(root, "Software", "version")
    software = {"ThorImage": version} if version else {}
    rest = {"ThorImageExperiment": safe_xml.tree(root)}
    if not images:
        return Metadata(None, software, rest, notes=("no image is there that says its pixel type",))
    page = Head(min(images.values())).page
    if page.pixels is None:
        return Metadata(None, software, rest, notes=("OME has no pixel type for these images",))
    channels, sites, _, slices, times = (sorted({key[i] for key in images}, key=str) for i in range(5))
    step = positive(_said(root, "LSM", "pixelSizeUM")) if page.width == number(_said(root, "LSM", "pixelX")) else None
    steps = {"x": (step, "µm"), "y": (step, "µm")} if step else {}
    z_step = number(_said(root, "ZStage", "stepSizeUM"))
    if z_step and len(slices) > 1:
        steps["z"] = (abs(z_step), "µm")
    began = _when(root)
    parts = Parts()
    sizes = {"x": page.width, "y": page.height, "c": len(channels), "z": len(slices), "t": len(times)}
    made = [
        ome_build.image(
            i,
            _said(root, "Name", "name") + (f" site {site}" if len(sites) > 1 else ""),
            sizes,
            page.pixels,
            steps=steps,
            channels=[{"name": f"Chan{channel}"} for channel in channels],
            date=began,
        )
        for i, site in enumerate(sites)
    ]
    settings = parts.objective(
        model=_said(root, "Magnification", "name") or None,
        nominal_magnification=positive(_said(root, "Magnification", "mag")),
    )
    for image in made:
        image.objective_settings = settings
    said = Metadata(parts.ome(made, _said(root, "User", "name") or None), software, rest)
    if len({key[2] for key in images}) > 1:
        return said  # parts of a site have no axis of their own
    return placed(
        said,
        dataset,
        (
            Place(made[sites.index(s)].id, name_in(dataset, path), slices.index(z), channels.index(c), times.index(t))
            for (c, s, _, z, t), path in images.items()
        ),
    )


def _when(root: _Element) -> datetime | None:
    """Seconds since 1970, in the zone that the local text beside them proves."""
    stamp = number(_said(root, "Date", "uTime"))
    if not stamp or not 0 < stamp < 4e9:
        return None
    utc = datetime.fromtimestamp(stamp, tz=UTC)
    local = (date(_said(root, "Date", "date"), form) for form in ("%m/%d/%Y %H:%M:%S", "%d/%m/%Y %H:%M:%S"))
    return next((found for one in local if (found := with_zone(one, utc))), utc)
