"""What MRC headers say: the standard one, the extended one of FEI and Thermo, the text of Direct Electron."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from agent.formats import binary, ome_build
from agent.formats.jsonable import Json, jsonable
from agent.formats.mrc import HEADER, Header, header
from agent.formats.parts import Parts, given, number, plane, positive
from agent.formats.port import Dataset, Metadata
from agent.formats.tiff_layout import TroubleError

_OLE_DAYS = datetime(1899, 12, 30)  # noqa: DTZ001 - FEI writes local time without a zone
_MAX_TEXT = 1 << 20


def fei(path: Path, found: Header) -> dict[str, Any]:
    """The first record of the extended header by field name; empty where there is none. Needs mrcfile."""
    if found.kind not in ("FEI1", "FEI2") or found.extended <= 0:
        return {}
    import mrcfile.dtypes
    import numpy as np

    form = mrcfile.dtypes.get_ext_header_dtype(found.kind.encode(), found.order)
    with binary.opened(path) as file:
        raw = file.read(HEADER, form.itemsize, "the extended header")
    record = np.frombuffer(raw, form)[0]
    said = {}
    for name in form.names or ():
        value = record[name]
        said[name] = value.split(b"\0")[0].decode("latin-1") if isinstance(value, bytes) else value.item()
    return said


def info(dataset: Dataset) -> dict[str, Json]:
    """The text of a Direct Electron camera."""
    path = next((one for one in dataset.files if one.suffix.lower() == ".txt"), None)
    if path is None:
        return {}
    with path.open("rb") as file:
        text = file.read(_MAX_TEXT).decode("utf-8", errors="replace")
    lines = (line.partition("=") for line in text.splitlines())
    return {key.strip(): value.strip() for key, equals, value in lines if equals}


def ole_date(days: float | None) -> datetime | None:
    """Days since the end of 1899 as a local date; None for what cannot be an acquisition."""
    return _OLE_DAYS + timedelta(days=days) if days is not None and 25_569 < days < 80_000 else None


def _camera(said: dict[str, Json], parts: Parts) -> tuple[Any, float | None, datetime | None]:
    """Detector, exposure in seconds and date of the info text."""
    stamp = number(said.get("Timestamp (seconds since Epoch)"))
    detector = parts.detector(
        model=said.get("Camera Model"), serial_number=said.get("Camera SN"), manufacturer="Direct Electron"
    )
    exposure = positive(said.get("Exposure Time (seconds)"))
    return detector, exposure, datetime.fromtimestamp(stamp, tz=UTC) if stamp and 0 < stamp < 4e9 else None


def read(dataset: Dataset) -> Metadata:
    """The metadata of a stack."""
    try:
        found = header(dataset.main)
    except TroubleError as trouble:
        return Metadata(errors=(f"{dataset.main.name}: {trouble.verdict.reason}",))
    errors: tuple[str, ...] = ()
    said: dict[str, Any] = {}
    try:
        said = fei(dataset.main, found)
    except ImportError:
        errors = ("mrcfile is not installed, the extended header is not read: pip install 'scope-agent[formats]'",)
    except TroubleError as trouble:
        errors = (f"{dataset.main.name}: {trouble.verdict.reason}",)
    text = info(dataset)
    parts = Parts()
    exposure = positive(said.get("Integration time")) if said else None
    date = ole_date(number(said.get("Timestamp")))
    name = str(said.get("STEM Detector name") or said.get("Camera name") or "")
    detector = parts.detector(model=name or None)
    notes: list[str] = []
    if said:
        parts.name_microscope(said.get("Microscope type") or None, "FEI")
        if text:
            notes.append(
                "the info text was written by another program: camera and date are those of the image's header"
            )
    elif text:
        detector, exposure, date = _camera(text, parts)
    rest: dict[str, Json] = {
        "MRC": {"mode": found.mode, "labels": list(found.labels), "extended header": found.kind},
        **({"FEI extended header": jsonable(said)} if said else {}),
        **({"Direct Electron": text} if text else {}),
    }
    software = _software(said, text)
    pixels = ome_build.pixel_type(found.dtype) if found.dtype else None
    if pixels is None or not found.sizes[2]:
        return Metadata(None, software, rest, errors, ("OME has no pixel type for this mode",))
    image = ome_build.image(
        0,
        dataset.main.name,
        dict(zip("xyz", found.sizes, strict=True)),
        pixels,
        steps=_steps(found, notes),
        channels=[given(detector_settings=detector)],
        planes=_plane(said, exposure),
        date=date,
    )
    nominal = positive(said.get("Magnification"))
    if nominal is None and not said:
        nominal = positive(text.get("Instrument Project Magnification"))
    image.objective_settings = parts.objective(nominal_magnification=nominal)
    return Metadata(parts.ome([image]), software, rest, errors, tuple(notes))


def _software(said: dict[str, Any], text: dict[str, Json]) -> dict[str, str]:
    software = {}
    if said.get("Application"):
        software[str(said["Application"])] = str(said.get("Application version") or "")
    if text.get("Server Software Version"):
        software["DEServer"] = str(text["Server Software Version"])
    return software


def _steps(found: Header, notes: list[str]) -> dict[str, tuple[float, str]]:
    """Sizes of a voxel; 1 Å in all directions is what programs write that know nothing."""
    if {round(size, 6) for size in found.angstrom if size > 0} == {1.0}:
        notes.append("a voxel of 1 Å is what programs write that know no size: left out")
        return {}
    axes = zip("xyz" if found.volume else "xy", found.angstrom, strict=False)
    return {axis: (size, "Å") for axis, size in axes if 0 < size < 1e9}


def _plane(said: dict[str, Any], exposure: float | None) -> list[dict[str, Any]]:
    """Stage of the first section, of metres in the extended header."""
    where = [number(said.get(f"{axis}-Stage")) for axis in "XYZ"]
    if exposure is None and all(at is None for at in where):
        return []
    return [plane(0, 0, 0, exposure_s=exposure, um=[None if at is None else at * 1e6 for at in where])]
