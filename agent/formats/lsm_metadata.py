"""What tifffile reads of the tags of an LSM file, as OME: tracks of lasers, detectors and data channels."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from itertools import product
from math import prod
from typing import TYPE_CHECKING, Any

from agent.formats import ome_build, ome_xml
from agent.formats.parts import Parts, given, number, plane, positive

if TYPE_CHECKING:
    from ome_types import OME
    from ome_types.model import ObjectiveSettings

_TYPES = {1: "uint8", 2: "uint16", 3: "uint16", 5: "float"}
_DAYS = (32_000, 60_000)
"""Days since 1899-12-30, of the years 1987 to 2064."""
_IMMERSIONS = {"oil": "Oil", "w": "Water", "water": "Water", "glyc": "Glycerol", "imm": "Multi"}


def ome(name: str, said: Mapping[str, Any], kind: str | None) -> OME:
    """Raises KeyError and ValueError where the sizes are not said."""
    sizes = {axis: int(said[f"Dimension{axis.upper()}"]) for axis in "xyz"}
    sizes |= {"c": int(said["DimensionChannels"]), "t": int(said["DimensionTime"])}
    scan = said.get("ScanInformation") or {}
    parts = Parts()
    channels = _channels(parts, scan, said, sizes["c"])
    bits = {int(one["BitsPerSample"]) for one in _data(scan) if positive(one.get("BitsPerSample"))}
    interval = positive(said.get("TimeIntervall", said.get("TimeInterval")))
    kind = kind or _TYPES[int(said["DataType"])]
    image = ome_build.image(
        0,
        name,
        sizes,
        kind,
        steps=_steps(said, sizes),
        increment_s=interval if sizes["t"] > 1 else None,
        channels=channels,
        planes=_planes(said, sizes),
        date=_date(scan),
        significant_bits=bits.pop() if len(bits) == 1 and kind.startswith("uint") else None,
    )
    image.objective_settings = _objective(parts, _text(scan.get("Objective")))
    return parts.ome([image], _text(scan.get("User")) or None)


def _text(value: object) -> str:
    return str(value or "").strip("\0 ")


def _steps(said: Mapping[str, Any], sizes: Mapping[str, int]) -> dict[str, tuple[float, str]]:
    """Voxels are told in metres."""
    found = {axis: positive(said.get(f"VoxelSize{axis.upper()}")) for axis in "xyz" if axis != "z" or sizes["z"] > 1}
    return {axis: (value * 1e6, "µm") for axis, value in found.items() if value}


def _planes(said: Mapping[str, Any], sizes: Mapping[str, int]) -> list[dict[str, Any]]:
    stamps = [float(one) for one in said["TimeStamps"]] if said.get("TimeStamps") is not None else []
    axes = [sizes[axis] for axis in "tzc"]
    # With an axis of none the others may be of any length, and are counted out all the same.
    few = len(stamps) == sizes["t"] and min(axes) > 0 and prod(axes) <= ome_xml.MAX_PLANES
    where = product(range(sizes["t"]), range(sizes["z"]), range(sizes["c"])) if few else ()
    return [plane(z, c, t, delta_s=stamps[t] - stamps[0]) for t, z, c in where]


def _date(scan: Mapping[str, Any]) -> datetime | None:
    """Days since 1899-12-30 on the clock of the PC."""
    days = number(scan.get("Sample0time"))
    if days is None or not _DAYS[0] < days < _DAYS[1]:
        return None
    return datetime(1899, 12, 30) + timedelta(milliseconds=round(days * 86_400_000))  # noqa: DTZ001 - it names no zone


def _objective(parts: Parts, name: str) -> ObjectiveSettings | None:
    """Magnification, aperture and immersion stand in the name, `Plan-Apochromat 63x/1.40 Oil DIC M27`."""
    found = re.search(r"(\d+(?:\.\d+)?)\s*[xX]\s*/\s*(\d(?:[.,]\d+)?)\s*(\w*)", name)
    return parts.objective(
        model=name or None,
        nominal_magnification=positive(found[1]) if found else None,
        lens_na=positive(found[2].replace(",", ".")) if found else None,
        immersion=_IMMERSIONS.get(found[3].lower()) if found else None,
    )


def _tracks(scan: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    return (one for one in scan.get("Tracks") or () if isinstance(one, dict) and one.get("Acquire", 1))


def _on(listed: object) -> list[Mapping[str, Any]]:
    """The members that are switched on; tifffile keeps the vendor's two spellings."""
    members = listed if isinstance(listed, list) else []
    return [one for one in members if isinstance(one, dict) and one.get("Acquire", one.get("Aquire", 1))]


def _data(scan: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [one for track in _tracks(scan) for one in _on(track.get("DataChannels"))]


def _channels(parts: Parts, scan: Mapping[str, Any], said: Mapping[str, Any], count: int) -> list[dict[str, Any]]:
    """By the tracks, when they have as many data channels as the image; else by the names of the colours."""
    names = [_text(one) for one in (said.get("ChannelColors") or {}).get("ColorNames", ())]
    made: list[dict[str, Any]] = []
    for track in _tracks(scan):
        data, detectors = _on(track.get("DataChannels")), _on(track.get("DetectionChannels"))
        lines = [positive(one.get("Wavelength")) for one in _on(track.get("IlluminationChannels"))]
        for index, one in enumerate(data):
            detector = detectors[index] if len(detectors) == len(data) else {}
            made.append(_channel(parts, one, detector, [line for line in lines if line]))
    if len(made) != count:
        made = [{} for _ in names]
    named = names if len(names) == len(made) else [""] * len(made)
    return [one | given(name=name or one.get("name")) for one, name in zip(made, named, strict=True)]


def _channel(parts: Parts, data: Mapping[str, Any], detector: Mapping[str, Any], lines: list[float]) -> dict[str, Any]:
    from ome_types import model

    for line in lines:
        parts.light("Laser", wavelength_nm=line)
    gain = number(detector.get("DetectorGainFirst"))
    band, name = _text(detector.get("FilterName")), _text(detector.get("DetchannelName"))
    return given(
        name=_text(data.get("Name")),
        fluor=_text(detector.get("DyeName")),
        acquisition_mode=model.Channel_AcquisitionMode.LASER_SCANNING_CONFOCAL_MICROSCOPY if lines else None,
        # Of several lasers that shine at once none is the channel's own.
        excitation_wavelength=lines[0] if len(lines) == 1 else None,
        pinhole_size=positive(detector.get("PinholeDiameter")),
        detector_settings=parts.detector(model=name or None, settings=given(gain=gain)),
        light_path=parts.light_path(emission=[parts.filter(model=band or None)]),
    )
