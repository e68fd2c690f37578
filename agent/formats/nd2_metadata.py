"""What the `nd2` package reads of an ND2 file, as OME. Called inside the guard only."""

from __future__ import annotations

import dataclasses
import re
from datetime import UTC, datetime, timedelta, timezone
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.formats import ome_build, ome_xml
from agent.formats.guarded import attempt
from agent.formats.jsonable import jsonable
from agent.formats.parts import Parts, date, first_number, given, number, plane, positive
from agent.formats.port import Metadata

if TYPE_CHECKING:
    from nd2 import ND2File
    from ome_types import OME
    from ome_types.model import Image

_KEPT_BYTES = 2 << 20
_MAX_POSITIONS = 2000
_FORMS = tuple(
    f"{day}  {time}"
    for day in ("%m/%d/%Y", "%d/%m/%Y", "%d.%m.%Y", "%Y-%m-%d", "%Y/%m/%d", "%d-%m-%Y")
    for time in ("%I:%M:%S %p", "%H:%M:%S")
)


def read(path: Path) -> Metadata:
    """Raises whatever the package raises."""
    import nd2

    with nd2.ND2File(path) as file:
        if file.is_legacy:
            return Metadata(
                not_carried_over={"nd2": jsonable(file.unstructured_metadata())},
                notes=("an ND2 file of the older kind: its metadata are kept as they are",),
            )
        said = _Said(file)
        ome, errors = attempt(path, lambda: _ome(path, said))
        rest, more = attempt(path, lambda: _rest(file, said.notes))
        return Metadata(ome, said.software, rest or {}, (*errors, *more), tuple(said.notes))


class _Said:
    """What the file says as a whole, read once."""

    def __init__(self, file: ND2File) -> None:
        self.file = file
        self.sizes = dict(file.sizes)
        self.attributes = file.attributes
        metadata = file.metadata
        self.channels = [] if isinstance(metadata, dict) else list(metadata.channels or [])
        self.text = {key: str(value) for key, value in dict(file.text_info or {}).items()}
        self.sections = _sections(self.text.get("description", ""), len(self.channels))
        self.notes: list[str] = []
        app = dict(file.custom_data).get("AppInfo_V1_0")
        app = app if isinstance(app, dict) else {}
        name = str(app.get("SWNameString") or "")
        self.software = {name: str(app.get("VersionString") or "")} if name else {}


def _sections(description: str, count: int) -> list[str]:
    """The description's part about each channel; empty where it cannot be told which is which."""
    parts = re.split(r"Plane #\d+:", description)[1:]
    if not parts and count == 1:
        return [description]
    return parts if len(parts) == count else []


def _ome(path: Path, said: _Said) -> OME:
    parts = Parts()
    microscope = re.search(r"Microscope: *([^\r\n]+)", said.text.get("description", ""))
    if microscope:
        parts.name_microscope(microscope[1].strip(), "Nikon")
    fields = [_channel(parts, said, index) for index in range(len(said.channels))]
    objective = _objective(parts, said)
    frames = _frames(said)
    positions = said.sizes.get("P", 1)
    if positions > _MAX_POSITIONS:
        raise ValueError(f"{positions} positions are too many to be listed")
    images = []
    for index in range(positions):
        image = _image(path, said, index, positions, fields, frames)
        image.objective_settings = objective
        images.append(image)
    return parts.ome(images)


def _image(
    path: Path, said: _Said, index: int, positions: int, fields: list[dict[str, Any]], frames: list[dict[str, Any]]
) -> Image:
    size = said.sizes
    rgb = "S" in size
    kind = ome_build.pixel_type(str(said.file.dtype))
    if kind is None:
        raise ValueError(f"pixels of {said.file.dtype} have no place in OME")
    bits = said.attributes.bitsPerComponentSignificant
    loops = {loop.type: loop for loop in said.file.experiment}
    period = getattr(getattr(loops.get("TimeLoop"), "parameters", None), "periodMs", None)
    unknown = [axis for axis in size if axis not in "XYZCTPS" and size[axis] > 1]
    if unknown:
        raise ValueError(f"the axis {unknown[0]} has no place in OME")
    return ome_build.image(
        index,
        path.stem if positions == 1 else f"{path.stem}, {_position_name(said, index)}",
        {axis.lower(): size.get(axis, 1) for axis in "XYZCT"},
        kind,
        steps=_steps(said),
        increment_s=period / 1000 if period and size.get("T", 1) > 1 else None,
        channels=fields,
        samples=size["S"] if rgb else 1,
        planes=[{k: v for k, v in one.items() if k != "p"} for one in frames if one["p"] == index],
        date=_date(said),
        significant_bits=bits if kind.startswith("uint") and bits else None,
    )


def _position_name(said: _Said, index: int) -> str:
    for loop in said.file.experiment:
        points = getattr(getattr(loop, "parameters", None), "points", None)
        if loop.type == "XYPosLoop" and points and index < len(points) and points[index].name:
            return str(points[index].name)
    return f"position {index + 1}"


def _steps(said: _Said) -> dict[str, tuple[float, str]]:
    """Only the axes that are calibrated; z also when the stack says its step."""
    if not said.channels:
        return {}
    volume = said.channels[0].volume
    steps: dict[str, tuple[float, str]] = {}
    for axis, calibrated, value in zip("xyz", volume.axesCalibrated, volume.axesCalibration, strict=False):
        if calibrated and positive(value) and (axis != "z" or said.sizes.get("Z", 1) > 1):
            steps[axis] = (float(value), "µm")
    return steps


def _objective(parts: Parts, said: _Said) -> Any:
    if not said.channels:
        return None
    microscope = said.channels[0].microscope
    return parts.objective(
        model=(microscope.objectiveName or "").strip(),
        nominal_magnification=positive(microscope.objectiveMagnification),
        lens_na=positive(microscope.objectiveNumericalAperture),
        refractive_index=positive(microscope.immersionRefractiveIndex),
    )


def _channel(parts: Parts, said: _Said, index: int) -> dict[str, Any]:
    from ome_types import model

    one = said.channels[index]
    section = said.sections[index] if index < len(said.sections) else ""
    camera = re.search(r"Camera Name: *([^\r\n]+)", section) or re.search(
        r"Camera Name: *([^\r\n]+)", said.text.get("description", "")
    )
    name, _, serial = camera[1].strip().partition(", SN:") if camera else ("", "", "")
    binning = re.search(r"Binning: *(\d+x\d+)", section)
    detector = parts.detector(model=name, serial_number=serial, binning=binning[1] if binning else None)
    flags = set(one.microscope.modalityFlags or ())
    mode = None
    if "laserScanConfocal" in flags:
        mode = model.Channel_AcquisitionMode.LASER_SCANNING_CONFOCAL_MICROSCOPY
    elif "spinningDiskConfocal" in flags:
        mode = model.Channel_AcquisitionMode.SPINNING_DISK_CONFOCAL
    color = one.channel.color
    return given(
        name=one.channel.name,
        color=None if color is None else model.Color((color.r, color.g, color.b)),
        emission_wavelength=positive(one.channel.emissionLambdaNm),
        excitation_wavelength=_excitation(said, index, section),
        pinhole_size=positive(one.microscope.pinholeDiameterUm),
        acquisition_mode=mode,
        detector_settings=detector,
    )


def _excitation(said: _Said, index: int, section: str) -> float | None:
    """The wavelength, unless the file contradicts itself: some name the first laser line for every channel."""
    value = positive(said.channels[index].channel.excitationLambdaNm)
    lines = {float(line) for line in re.findall(r"ExW: *(\d+)[^\r\n]*On", section)}
    others = [one.channel for one in said.channels if one.channel.excitationLambdaNm]
    same = len(others) > 1 and len({one.excitationLambdaNm for one in others}) == 1
    doubtful = same and len({one.emissionLambdaNm for one in others}) > 1
    if value is None or (lines and value not in lines) or (doubtful and not lines):
        if value is not None:
            said.notes.append(f"channel {index}: excitation {value:g} nm is left out, the file contradicts itself")
        return None
    return value


def _exposure(said: _Said, index: int) -> float | None:
    """Seconds; cameras only, as a laser scanner's exposure means something else."""
    if index >= len(said.sections) or "camera" not in (said.channels[index].microscope.modalityFlags or ()):
        return None
    found = re.search(r"Exposure: *([\d.]+) *(ms|s|µs|us|min)\b", said.sections[index])
    if not found:
        return None
    value = first_number(found[1])
    return None if value is None else value * {"s": 1.0, "ms": 1e-3, "min": 60.0}.get(found[2], 1e-6)


def _frames(said: _Said) -> list[dict[str, Any]]:
    """A plane for every frame and channel: time since the start, stage position, exposure."""
    places = said.file.loop_indices
    channels = max(said.sizes.get("C", 1), 1)
    if len(places) * channels > ome_xml.MAX_PLANES:
        said.notes.append(f"{len(places)} frames are too many to be repeated here, they stay in the file")
        return []
    found = []
    for frame, where in enumerate(places):
        told = said.file.frame_metadata(frame)
        told_channels = [] if isinstance(told, dict) else told.channels
        for c in range(channels):
            one = told_channels[min(c, len(told_channels) - 1)] if told_channels else None
            stage = one.position.stagePositionUm if one is not None else None
            time = number(one.time.relativeTimeMs) if one is not None else None
            fields = plane(
                where.get("Z", 0),
                c,
                where.get("T", 0),
                delta_s=None if time is None else time / 1000,
                exposure_s=_exposure(said, c),
                um=() if stage is None else [number(getattr(stage, axis, None)) for axis in "xyz"],
            )
            found.append(fields | {"p": where.get("P", 0)})
    return found


def _date(said: _Said) -> datetime | None:
    """The local time that the text says, with the zone that the Julian day of the first frame implies."""
    text = said.text.get("date", "").strip()
    told = said.file.frame_metadata(0) if said.attributes.sequenceCount else None
    time = None if told is None or isinstance(told, dict) or not told.channels else told.channels[0].time
    day = number(getattr(time, "absoluteJulianDayNumber", None))
    candidates = {found for form in _FORMS if (found := date(text, form)) is not None and found.year > 1900}
    if day is None or not 2.4e6 < day < 2.5e6:
        return next(iter(candidates)) if len(candidates) == 1 else None
    since = number(getattr(time, "relativeTimeMs", None)) or 0.0
    start = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=day - 2440587.5, milliseconds=-since)
    for local, quarters in product(candidates, range(-48, 57)):
        zone = timezone(timedelta(minutes=15 * quarters))
        # Two minutes: the text is written when the run is prepared, the frame's time when it begins.
        if abs((local.replace(tzinfo=zone) - start).total_seconds()) < 120:
            # Without an offset the Julian day may be local time as well: then the zone is not known.
            return local.replace(tzinfo=zone) if quarters else local
    return next(iter(candidates)) if len(candidates) == 1 else None


def _rest(file: ND2File, notes: list[str]) -> dict[str, Any]:
    """Everything that the package finds, as it is."""
    found: dict[str, Any] = {
        "text_info": jsonable(dict(file.text_info or {})),
        "attributes": jsonable(_plain(file.attributes)),
        "metadata": jsonable(_plain(file.metadata)),
        "experiment": [jsonable(_plain(loop)) for loop in file.experiment],
    }
    if (file.attributes.sequenceCount or 0) <= ome_xml.MAX_PLANES:
        found["events"] = [jsonable(row) for row in file.events(orient="records")]
    raw = file.unstructured_metadata()
    custom = jsonable({"unstructured": raw, "custom_data": dict(file.custom_data)})
    if len(str(custom)) <= _KEPT_BYTES:
        found["raw"] = custom
    else:
        notes.append("the raw settings stay in the file, they are too many to be repeated here")
    return {"nd2": found}


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    return value._asdict() if hasattr(value, "_asdict") else value
