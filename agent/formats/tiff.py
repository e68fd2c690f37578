"""Plain TIFF, ImageJ TIFF and the TIFF of Micro-Manager 1.4: whole when the chain ends inside the file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.formats import ome_build, tiff_layout
from agent.formats.jsonable import jsonable
from agent.formats.parts import date
from agent.formats.port import Dataset, Metadata, Verdict, Wholeness
from agent.formats.tiff_kinds import TiffKinds

if TYPE_CHECKING:
    from ome_types import OME
    from tifffile import TiffFile, TiffPage

_SUFFIXES = (".tif", ".tiff", ".tf2", ".tf8", ".btf")
_VENDOR = ("micromanager_metadata", "imagej_metadata", "shaped_metadata")


class Tiff:
    """Any TIFF file that no other format claims, alone."""

    name = "tiff"

    def matches(self, path: Path) -> bool:
        try:
            with path.open("rb") as file:
                head = file.read(4)
        except OSError:
            return False
        if head in tiff_layout.MAGIC:
            return True
        begun = any(magic.startswith(head) for magic in tiff_layout.MAGIC)
        return begun and path.name.lower().endswith(_SUFFIXES)

    def dataset(self, path: Path) -> Dataset:
        return Dataset(self.name, path, path.parent, (path,))

    def is_whole(self, dataset: Dataset) -> Verdict:
        return tiff_layout.layout(dataset.main).verdict.without_end()

    def planes_on_disk(self, dataset: Dataset) -> int | None:
        """Full-size images whose data is really there; ImageJ stacks count every plane."""
        found = tiff_layout.layout(dataset.main)
        return None if found.verdict.state is Wholeness.DAMAGED else found.planes

    def metadata(self, dataset: Dataset) -> Metadata:
        kinds = TiffKinds()
        found = tiff_layout.layout(dataset.main, visit=kinds)
        if found.verdict.state is not Wholeness.WHOLE:
            return Metadata(errors=(f"{dataset.main.name}: {found.verdict.reason}",))
        software = tiff_layout.text(dataset.main, found, tiff_layout.SOFTWARE, 4096).strip()
        # Where thumbnails or a pyramid lie between the planes, their place in the file is not their number.
        plain = found.ifds == found.planes
        said = _read(dataset.main, found.planes, {"TIFF Software": software} if software else {}, plain=plain)
        if len(kinds.images) > 1 and not said.errors:
            said = replace(said, ome=kinds.ome(dataset.main.name))
        return said if said.ome or said.errors else replace(said, notes=("OME has no pixel type for this image",))


def alone(dataset: Dataset) -> Metadata:
    """What one image says without the text that describes it and its neighbours, which is not there."""
    note = f"what is said of the images stands in {', '.join(dataset.missing)}, which is not there"
    if len(dataset.files) > 1:
        return Metadata(notes=(note,))
    said = Tiff().metadata(dataset)
    return replace(said, notes=(*said.notes, note))


def _read(path: Path, planes: int, software: dict[str, str], *, plain: bool) -> Metadata:
    """tifffile raises anything on odd files (eight kinds were counted): each becomes one line."""
    import tifffile

    try:
        with tifffile.TiffFile(path) as tiff:
            vendor: dict[str, Any] = {}
            for name in _VENDOR:
                if value := getattr(tiff, name):
                    vendor[name] = jsonable(value)
            if description := str(tiff.pages.first.aspage().description):
                vendor.setdefault("ImageDescription", description)
            return Metadata(_addressed(_ome(path, tiff, planes), planes if plain else 0), software, vendor)
    except OSError:
        raise
    except Exception as error:  # noqa: BLE001
        return Metadata(software=software, errors=(f"{path.name}: tifffile cannot read it: {error}",))


def _addressed(ome: OME | None, planes: int) -> OME | None:
    """With the place of the planes in the file, where it is sure."""
    from ome_types.model import TiffData

    if ome is not None and planes:
        pixels = ome.images[0].pixels
        pixels.metadata_only, pixels.tiff_data_blocks = None, [TiffData(ifd=0, plane_count=planes)]
    return ome


def _ome(path: Path, tiff: TiffFile, planes: int) -> OME | None:
    from ome_types import OME, model

    page = tiff.pages.first.aspage()
    imagej = tiff.imagej_metadata or {}
    pixels = ome_build.pixel_type(str(page.dtype))
    if pixels is None:
        return None
    order, sizes = _shaped(tiff, planes) or (None, _sizes(imagej, planes))
    channels, slices, frames = sizes
    interval = imagej.get("finterval")
    image = ome_build.image(
        0,
        path.name,
        {"x": page.imagewidth, "y": page.imagelength, "z": slices, "c": channels, "t": frames},
        pixels,
        steps=_steps(page, imagej, slices),
        increment_s=interval if frames > 1 and isinstance(interval, (int, float)) else None,
        samples=int(page.samplesperpixel),
        # "Date and time of image creation", says TIFF; it names no zone.
        date=date(_text(page, "DateTime"), "%Y:%m:%d %H:%M:%S"),
    )
    if order is not None:
        image.pixels.dimension_order = model.Pixels_DimensionOrder(order)
    return OME(images=[image])


def _shaped(tiff: TiffFile, planes: int) -> tuple[str, tuple[int, int, int]] | None:
    """OME's order and (channels, slices, frames) as tifffile wrote them; None where it did not name the axes."""
    said = tiff.shaped_metadata or ()
    axes, shape = (str(said[0].get("axes", "")), said[0].get("shape", ())) if len(said) == 1 else ("", ())
    page = tiff.pages.first.aspage()
    # Samples are stored within a page, behind its rows or one plane behind the other.
    named = [(axis, size) for axis, size in zip(axes, shape, strict=False) if axis in "ZCT" and size > 1]
    if page.samplesperpixel > 1 and page.planarconfig != 1 and named and named[-1][1] == page.samplesperpixel:
        named.pop()
    sizes = {axis: int(size) for axis, size in named}
    found = (sizes.get("C", 1), sizes.get("Z", 1), sizes.get("T", 1))
    if len(axes) != len(shape) or len(sizes) != len(named) or found[0] * found[1] * found[2] != planes:
        return None
    order = "".join(sizes)[::-1]
    return "XY" + order + "".join(axis for axis in "CZT" if axis not in order), found


def _text(page: TiffPage, name: str) -> str:
    tag = page.tags.get(name)
    return str(tag.value).strip("\0 ") if tag is not None else ""


def _sizes(imagej: dict[str, Any], planes: int) -> tuple[int, int, int]:
    """(channels, slices, frames), whose product is the number of planes; unnamed planes count as frames."""
    sizes = tuple(int(imagej.get(key, 1) or 1) for key in ("channels", "slices", "frames"))
    product = sizes[0] * sizes[1] * sizes[2]
    return (sizes[0], sizes[1], sizes[2]) if product == planes else (1, 1, max(planes, 1))


def _steps(page: TiffPage, imagej: dict[str, Any], slices: int) -> dict[str, tuple[float, str]]:
    """Size of a voxel, only where its unit is said: a bare TIFF resolution is a print size."""
    unit = ome_build.length_unit(imagej.get("unit"))
    if unit is None:
        return {}
    steps: dict[str, tuple[float, str]] = {}
    for axis, name in (("x", "XResolution"), ("y", "YResolution")):
        tag = page.tags.get(name)
        above, below = tag.value if tag is not None and isinstance(tag.value, tuple) else (0, 0)
        if above and below:
            steps[axis] = (below / above, unit)
    spacing = imagej.get("spacing")
    if slices > 1 and isinstance(spacing, (int, float)):
        steps["z"] = (float(spacing), unit)
    return steps
