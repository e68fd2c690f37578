"""Settings of what goes into delivered files."""

from __future__ import annotations

from typing import Literal

from agent.contract.settings import Settings

Policy = Literal["embed", "sidecar"]
_FAMILIES = {
    "ome_tiff": (
        "ome-tiff", "micromanager-1.4", "micromanager-2.0", "leica-matrix-ome-tiff", "prairieview", "thorimage",
    ),
    "tiff": ("tiff", "imagej-tiff", "ndtiff", "cellvoyager", "operetta-phenix", "sem-tiff", "tem-tiff"),
    "vendor_tiff": ("imagexpress", "metamorph-nd", "metamorph-tif", "scanimage", "hamamatsu-streak"),
    "ome_zarr": ("ome-zarr",),
}  # fmt: skip
_FORMATS = {name: family for family, names in _FAMILIES.items() for name in names}


class DocumentSettings(Settings):
    """`embed`: the delivered copy carries the OME-XML, its pixels bit-identical. `sidecar`: it stays beside the data.

    Files of every other format are always delivered as they are.
    """

    ome_tiff: Policy = "embed"
    """OME-TIFF, also as Micro-Manager, Leica's Matrix Screener, PrairieView and ThorImage write it."""
    tiff: Policy = "embed"
    """TIFF whose readers find all they need outside of the description, or in a second one: plain, ImageJ, NDTiff,
    CellVoyager, Operetta, electron microscopes."""
    vendor_tiff: Policy = "sidecar"
    """TIFF whose vendor's readers want their own text as the first description: MetaMorph, ImageXpress, ScanImage,
    Hamamatsu streak cameras. `embed` makes their text the second one."""
    ome_zarr: Policy = "embed"
    """OME-Zarr: OME/METADATA.ome.xml and a key of our own in the root's JSON."""

    def embeds(self, format_name: str | None) -> bool:
        """Does the OME-XML go into files of this format?"""
        family = _FORMATS.get(format_name or "")
        return family is not None and getattr(self, family) == "embed"
