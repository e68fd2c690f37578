"""TIFF of scanning electron and ion microscopes: FEI and Thermo xT, ZEISS SmartSEM, ZEISS Orion, Fibics Atlas, TESCAN.

A TESCAN image has its metadata in a .hdr beside it; the two are one dataset.
"""

from __future__ import annotations

from pathlib import Path

from agent.formats import sem_vendors as vendors
from agent.formats import tiff_layout
from agent.formats.binary import head as first_bytes
from agent.formats.port import Dataset, Metadata, Verdict, Wholeness
from agent.formats.sem_fields import Scan, to_metadata
from agent.formats.tiff_page import MAKE, Head
from agent.formats.vendor_tiff import VendorTiff

_IMAGES = (".tif", ".tiff", ".png", ".bmp", ".jpg")
_SECTION = b"[MAIN]"


def _is_header(path: Path) -> bool:
    if path.suffix.lower() != ".hdr":
        return False
    start = first_bytes(path, 64).lstrip(b"\xef\xbb\xbf \r\n")
    return start.startswith(_SECTION) or (len(start) > 0 and _SECTION.startswith(start))


def _image_of(header: Path) -> Path | None:
    """`a.hdr` and, of older software, `a-tif.hdr` belong to `a.tif`."""
    stems = [header.stem, *[header.stem.removesuffix(f"-{end[1:]}") for end in _IMAGES]]
    candidates = (header.with_name(stem + end) for stem in dict.fromkeys(stems) for end in _IMAGES)
    return next((path for path in candidates if path.is_file()), None)


def _header_of(image: Path) -> Path | None:
    names = (f"{image.stem}.hdr", f"{image.stem}-{image.suffix[1:]}.hdr")
    return next((path for name in names if _is_header(path := image.with_name(name))), None)


class SemTiff(VendorTiff):
    """One image of a scanning microscope."""

    name = "sem-tiff"

    def claims(self, head: Head) -> bool:
        tags = head.tags
        if vendors.FEI_SFEG in tags or vendors.FIBICS in tags or vendors.CZ_SEM in tags:
            return True
        if vendors.FEI_HELIOS in tags:
            return not head.raw(vendors.FEI_HELIOS, 64).lstrip().startswith(b"<")
        if vendors.ORION in tags and b"<ImageTags" in head.raw(vendors.ORION, 256):
            return True
        return vendors.TESCAN in tags or "TESCAN" in head.text(MAKE, 256).upper()

    def matches(self, path: Path) -> bool:
        if path.suffix.lower() == ".hdr":
            return _is_header(path)
        return super().matches(path)

    def dataset(self, path: Path) -> Dataset:
        if path.suffix.lower() == ".hdr":
            image = _image_of(path)
            if image is None:
                return Dataset(self.name, path, path.parent, (path,), (f"{path.stem}.tif",))
            path = image
        header = _header_of(path)
        files = (path,) if header is None else tuple(sorted((path, header)))
        return Dataset(self.name, path, path.parent, files)

    def is_whole(self, dataset: Dataset) -> Verdict:
        if dataset.missing:
            return Verdict(Wholeness.GROWING, f"the image of {dataset.main.name} is not there")
        if dataset.main.suffix.lower() not in (".tif", ".tiff"):
            return Verdict(Wholeness.UNKNOWN, "the image has no sign of its end: only quiet time can tell")
        found = tiff_layout.layout(dataset.main)
        if found.verdict.state is Wholeness.WHOLE and len(dataset.files) == 1 and self._is_tescan(dataset.main):
            return Verdict(
                Wholeness.UNKNOWN, "TESCAN software mostly writes a .hdr beside the image, there is none yet"
            )
        # A text beside the image has no sign of its end.
        return found.verdict if len(dataset.files) == 1 else found.verdict.without_end()

    def _is_tescan(self, path: Path) -> bool:
        head = Head(path)
        return vendors.TESCAN in head.tags or "TESCAN" in head.text(MAKE, 256).upper()

    def planes_on_disk(self, dataset: Dataset) -> int | None:
        if dataset.main.suffix.lower() not in (".tif", ".tiff"):
            return None
        return super().planes_on_disk(dataset)

    def read(self, head: Head, dataset: Dataset) -> Metadata:
        return to_metadata(head, _scan(head, dataset))


def _scan(head: Head, dataset: Dataset) -> Scan:
    for code in (vendors.FEI_SFEG, vendors.FEI_HELIOS):
        if code in head.tags:
            return vendors.fei(head.text(code))
    if vendors.ORION in head.tags:
        return vendors.orion(head.raw(vendors.ORION))
    if vendors.FIBICS in head.tags:
        return vendors.fibics(head.raw(vendors.FIBICS))
    if vendors.CZ_SEM in head.tags:
        return vendors.smartsem(head.raw(vendors.CZ_SEM))
    return vendors.tescan(head, next((path for path in dataset.files if path.suffix.lower() == ".hdr"), None))
