"""ImageJ and Fiji: a stack in one piece behind one header; sizes, unit and spacing in the description."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agent.formats import ome_build
from agent.formats.parts import number, positive
from agent.formats.port import Dataset, Metadata
from agent.formats.tiff_layout import IMAGE_DESCRIPTION, layout
from agent.formats.tiff_page import X_RESOLUTION, Head
from agent.formats.vendor_tiff import VendorTiff

if TYPE_CHECKING:
    from ome_types.model import Image

_SECONDS = {"s": 1.0, "sec": 1.0, "second": 1.0, "seconds": 1.0, "ms": 1e-3, "msec": 1e-3, "min": 60.0, "h": 3600.0}
_MAX_AXIS = 1 << 24


class ImageJTiff(VendorTiff):
    """A file that ImageJ saved; whatever acquired it, ImageJ's description is what it says."""

    name = "imagej-tiff"

    def claims(self, head: Head) -> bool:
        return head.raw(IMAGE_DESCRIPTION, 16).startswith(b"ImageJ=")

    def read(self, head: Head, dataset: Dataset) -> Metadata:
        text = head.text(IMAGE_DESCRIPTION, 1 << 20)
        said = {key: value for key, _, value in (line.partition("=") for line in text.splitlines())}
        rest: dict[str, Any] = {"ImageJ": dict(said), **_private(head)}
        version = said.get("ImageJ")
        software = {**head.software(), **({"ImageJ": version} if version else {})}
        image = _image(head, said)
        if image is None:
            return Metadata(None, software, rest, notes=("OME has no pixel type for this image",))
        from ome_types import OME

        return Metadata(OME(images=[image]), software, rest)


def _private(head: Head) -> dict[str, Any]:
    """Labels, the acquiring program's own text, overlays: in private tags that tifffile takes apart."""
    if 50838 not in head.tags or 50839 not in head.tags:
        return {}
    import tifffile

    from agent.formats.jsonable import jsonable

    with tifffile.TiffFile(head.path) as tiff:
        said = dict(tiff.imagej_metadata or {})
    kept = {key: jsonable(said[key]) for key in ("Info", "Labels", "Ranges", "Properties") if key in said}
    return {"ImageJ metadata": kept} if kept else {}


def _sizes(said: dict[str, str], planes: int) -> dict[str, int]:
    """Channels, slices and frames, whose product is the number of planes; unnamed planes count as frames."""
    found = {
        axis: int(positive(said.get(key)) or 1) for axis, key in (("c", "channels"), ("z", "slices"), ("t", "frames"))
    }
    product = found["c"] * found["z"] * found["t"]
    images = int(positive(said.get("images")) or 1)
    if product in (planes, images) and product < _MAX_AXIS:
        return found
    return {"t": max(planes, 1)}


def _image(head: Head, said: dict[str, str]) -> Image | None:
    page = head.page
    if page.pixels is None:
        return None
    sizes = _sizes(said, layout(head.path).planes)
    unit = ome_build.length_unit(said.get("unit"))
    steps: dict[str, tuple[float, str]] = {}
    for axis, code in (("x", X_RESOLUTION), ("y", X_RESOLUTION + 1)):
        ratio = head.values(code)
        axis_unit = ome_build.length_unit(said.get(f"{axis}unit")) or unit
        if axis_unit and len(ratio) == 2 and all(ratio):
            steps[axis] = (ratio[1] / ratio[0], axis_unit)
    spacing = number(said.get("spacing"))
    z_unit = ome_build.length_unit(said.get("zunit")) or unit
    if spacing and z_unit and sizes.get("z", 1) > 1:
        steps["z"] = (abs(spacing), z_unit)
    interval = positive(said.get("finterval"))
    factor = _SECONDS.get(said.get("tunit", "s").strip().lower())
    return ome_build.image(
        0,
        head.path.name,
        {"x": page.width, "y": page.height, **sizes},
        page.pixels,
        steps=steps,
        increment_s=interval * factor if interval and factor and sizes.get("t", 1) > 1 else None,
        samples=page.samples,
    )
