"""What the XML, the directory and the subblocks of a CZI file say, as OME."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.formats import binary, czi_layout, ome_build, ome_xml, safe_xml
from agent.formats.czi_instrument import channel_fields, instrument
from agent.formats.guarded import attempt
from agent.formats.parts import Parts, date, number, plane, positive
from agent.formats.port import Metadata
from agent.formats.safe_xml import child, child_text, children, tree
from agent.formats.tiff_layout import TroubleError

if TYPE_CHECKING:
    from lxml.etree import _Element
    from ome_types import OME
    from ome_types.model import Image

_MANY_IMAGES = 2000
_KEPT_BYTES = 2 << 20


@dataclass(slots=True)
class _Series:
    """The blocks of one scene (and view, phase, rotation ...): one OME image."""

    where: tuple[tuple[str, int], ...]
    pixels: int = 0
    low: dict[str, int] = field(default_factory=dict)
    high: dict[str, int] = field(default_factory=dict)
    planes: dict[tuple[int, int, int], czi_layout.Block] = field(default_factory=dict)

    def add(self, block: czi_layout.Block) -> None:
        self.pixels = block.pixels
        for axis, (start, size) in block.dims.items():
            self.low[axis] = min(self.low.get(axis, start), start)
            self.high[axis] = max(self.high.get(axis, start), start + size)
        place = tuple(block.dims.get(axis, (0, 1))[0] for axis in "ZCT")
        if len(self.planes) <= ome_xml.MAX_PLANES:
            self.planes.setdefault((place[0], place[1], place[2]), block)

    def size(self, axis: str) -> int:
        return self.high.get(axis, 1) - self.low.get(axis, 0)

    @property
    def name(self) -> str:
        return ", ".join(f"{axis}={value}" for axis, value in self.where)


def read(path: Path) -> Metadata:
    """Raises TroubleError and UnreadableError; an OME that cannot be built leaves the rest as it is."""
    with binary.opened(path) as file:
        header = czi_layout.header(file)
        raw = czi_layout.metadata(file, header)
        root = safe_xml.parse(raw, "the metadata")
        found = child(root, "Metadata")
        top = root if found is None else found
        ome, errors = attempt(path, lambda: _ome(path, file, header, top))
    notes: list[str] = []
    rest = _rest(top, raw, notes)
    return Metadata(ome, _software(child(top, "Information")), rest, errors, tuple(notes))


def _ome(path: Path, file: binary.Binary, header: czi_layout.Header, top: _Element) -> OME:
    info = child(top, "Information")
    parts = Parts()
    objective = instrument(parts, info)
    stamps = _stamps(file, header)
    images = [
        _image(index, one, path, top, parts, _planes(file, one, top, stamps))
        for index, one in enumerate(_series(file, header)[:_MANY_IMAGES])
    ]
    for image in images:
        image.objective_settings = objective
    return parts.ome(images, child_text(info, "Document", "UserName"))


def _series(file: binary.Binary, header: czi_layout.Header) -> list[_Series]:
    found: dict[tuple[tuple[str, int], ...], _Series] = {}
    varying: dict[str, set[int]] = defaultdict(set)
    blocks = []
    for block in czi_layout.blocks(file, header):
        if not block.reduced:
            blocks.append(block)
            for axis, (start, _) in block.dims.items():
                if axis not in "XYZCTM":
                    varying[axis].add(start)
    axes = [axis for axis in sorted(varying) if len(varying[axis]) > 1]
    for block in blocks:
        where = tuple((axis, block.dims.get(axis, (0, 1))[0]) for axis in axes)
        found.setdefault(where, _Series(where)).add(block)
    return [found[where] for where in sorted(found)]


def _image(index: int, series: _Series, path: Path, top: _Element, parts: Parts, planes: list[dict[str, Any]]) -> Image:
    kind, samples = czi_layout.PIXELS.get(series.pixels, ("", 1))
    if not kind:
        raise ValueError(f"pixel type {series.pixels} of CZI has no place in OME")
    info = child(top, "Information", "Image")
    sizes = {axis.lower(): series.size(axis) for axis in "XYZCT"}
    bits = positive(child_text(info, "ComponentBitCount"))
    depth = int("".join(filter(str.isdigit, kind)) or 0)
    scene = dict(series.where).get("S")
    return ome_build.image(
        index,
        ", ".join(filter(None, (path.stem, _scene_name(info, scene) or series.name))),
        sizes,
        kind,
        steps=_steps(top, sizes),
        channels=[channel_fields(parts, top, c) for c in ome_build.channel_range(sizes["c"])],
        samples=samples,
        planes=planes,
        date=date(child_text(info, "AcquisitionDateAndTime")),
        significant_bits=int(bits) if bits and bits <= depth else None,
    )


def _scene_name(info: _Element | None, scene: int | None) -> str | None:
    for one in children(info, "Dimensions", "S", "Scenes", "Scene"):
        if scene is not None and one.get("Index") == str(scene):
            return one.get("Name")
    return None


def _steps(top: _Element, sizes: dict[str, int]) -> dict[str, tuple[float, str]]:
    """Scaling is in metres; a value of nothing, and Z of a single plane, are unknown."""
    steps = {}
    for one in children(top, "Scaling", "Items", "Distance"):
        axis, value = (one.get("Id") or "").lower(), positive(child_text(one, "Value"))
        if axis in ("x", "y", "z") and value and (axis != "z" or sizes["z"] > 1):
            steps[axis] = (value * 1e6, "µm")
    return steps


def _stamps(file: binary.Binary, header: czi_layout.Header) -> list[float]:
    try:
        return czi_layout.timestamps(file, header)
    except TroubleError:
        return []


def _planes(file: binary.Binary, series: _Series, top: _Element, stamps: list[float]) -> list[dict[str, Any]]:
    """Time and stage of every plane, from its subblock; time from the attachment where the subblock has none."""
    if len(series.planes) > ome_xml.MAX_PLANES:
        return []
    info = child(top, "Information", "Image")
    began = date(child_text(info, "AcquisitionDateAndTime"))
    exposures = {
        c: value * 1e-9
        for c, one in enumerate(children(info, "Dimensions", "Channels", "Channel"))
        if (value := positive(child_text(one, "ExposureTime")))
    }
    said = {place: _block_tags(file, block) for place, block in series.planes.items()}
    times = {place: date(child_text(tags, "AcquisitionTime")) for place, tags in said.items()}
    known = [time for time in times.values() if time is not None]
    start = began or (min(known) if known and len({time.tzinfo for time in known}) == 1 else None)
    offset = {axis: series.low.get(axis, 0) for axis in "ZCT"}
    scene = _scene_position(info, dict(series.where).get("S", 0))
    planes = []
    for (z, c, t), tags in sorted(said.items()):
        stage = [number(child_text(tags, f"Stage{axis}Position")) for axis in "XY"]
        stage.append(number(child_text(tags, "FocusPosition")))
        delta = _seconds(start, times[z, c, t])
        if delta is None and t - offset["T"] < len(stamps):
            delta = stamps[t - offset["T"]] - stamps[0]
        fields = plane(
            z - offset["Z"],
            c - offset["C"],
            t - offset["T"],
            delta_s=delta,
            exposure_s=exposures.get(c),
            um=stage if stage[0] is not None else scene,
        )
        planes.append(fields)
    return planes if any(len(fields) > 3 for fields in planes) else []


def _block_tags(file: binary.Binary, block: czi_layout.Block) -> _Element | None:
    try:
        raw = czi_layout.block_metadata(file, block)
        return child(safe_xml.parse(raw), "Tags") if raw else None
    except (TroubleError, ome_xml.UnreadableError):
        return None


def _seconds(start: datetime | None, time: datetime | None) -> float | None:
    if start is None or time is None or (start.tzinfo is None) != (time.tzinfo is None):
        return None
    return (time - start).total_seconds()


def _scene_position(info: _Element | None, scene: int) -> list[float | None]:
    """Where a scene with a single position lies; a mosaic has several and no answer."""
    for one in children(info, "Dimensions", "S", "Scenes", "Scene"):
        if one.get("Index", "0") == str(scene):
            places = children(one, "Positions", "Position")
            if len(places) == 1:
                return [number(places[0].get(axis)) for axis in "XYZ"]
    return []


def _software(info: _Element | None) -> dict[str, str]:
    name, version = child_text(info, "Application", "Name"), child_text(info, "Application", "Version")
    return {name: version or ""} if name else {}


def _rest(top: _Element, raw: bytes, notes: list[str]) -> dict[str, Any]:
    """The whole XML as JSON; of a very long one the part that describes the acquisition."""
    if len(raw) <= _KEPT_BYTES:
        return {"czi_metadata": tree(top)}
    notes.append(f"{len(raw)} bytes of settings stay in the file, they are too many to be repeated here")
    names = ("Information", "Scaling")
    return {"czi_metadata": {name: tree(part) for name in names if (part := child(top, name)) is not None}}
