"""Settings of what goes into delivered files."""

from __future__ import annotations

from typing import Literal

from agent.contract.settings import Settings

Policy = Literal["embed", "sidecar"]
_FORMATS = {
    "ome-tiff": "ome_tiff",
    "micromanager-1.4": "ome_tiff",
    "micromanager-2.0": "ome_tiff",
    "tiff": "tiff",
    "ome-zarr": "ome_zarr",
}


class DocumentSettings(Settings):
    """`embed`: the delivered copy carries the OME-XML, its pixels bit-identical. `sidecar`: it stays beside the data.

    Files of every other format are always delivered as they are.
    """

    ome_tiff: Policy = "embed"
    """OME-TIFF, and the stacks of Micro-Manager, which are OME-TIFF."""
    tiff: Policy = "embed"
    """TIFF that no vendor's software needs to read its own way."""
    ome_zarr: Policy = "embed"
    """OME-Zarr: OME/METADATA.ome.xml and a key of our own in the root's JSON."""

    def embeds(self, format_name: str | None) -> bool:
        """Does the OME-XML go into files of this format?"""
        family = _FORMATS.get(format_name or "")
        return family is not None and getattr(self, family) == "embed"
