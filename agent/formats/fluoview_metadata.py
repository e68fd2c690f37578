"""What the texts of an Olympus FluoView image say, as OME."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.formats import ome_build
from agent.formats.guarded import attempt
from agent.formats.parts import Parts, date, given, number, plane, positive
from agent.formats.port import Metadata

if TYPE_CHECKING:
    from ome_types import OME

Settings = dict[str, dict[str, str]]


def read(path: Path, main: Settings, planes: dict[str, Settings]) -> Metadata:
    """`planes` are the texts of the planes by the names of their files, in order."""
    ome, errors = attempt(path, lambda: _ome(path, main, planes))
    version = main.get("Version Info", {})
    name = version.get("SystemName", "")
    rest = {"main": main, "first_plane": next(iter(planes.values()), {})}
    return Metadata(ome, {name: version.get("SystemVersion", "")} if name else {}, {"fluoview": rest}, errors)


def _ome(path: Path, main: Settings, planes: dict[str, Settings]) -> OME:
    from agent.formats.fluoview import sizes

    axes = sizes(main)
    others = [axis for axis in axes if axis not in "XYZCT" and axes[axis] > 1]
    if others:
        raise ValueError(f"the axis {others[0]} has no place in OME")
    parts = Parts()
    common = main.get("Acquisition Parameters Common", {})
    parts.name_microscope(common.get("Acquisition Device"), "Olympus")
    for index in range(20):
        laser = main.get(f"Laser {index} Parameters", {})
        if laser.get("Laser Enable") == "1":
            parts.light("Laser", wavelength_nm=positive(laser.get("LaserWavelength")))
    reference = main.get("Reference Image Parameter", {})
    depth = reference.get("ImageDepth", "2")
    bits = positive(reference.get("ValidBitCounts"))
    image = ome_build.image(
        0,
        path.stem,
        {axis.lower(): axes.get(axis, 1) for axis in "XYZCT"},
        {"1": "uint8", "2": "uint16", "4": "float"}.get(depth, "uint16"),
        steps=_steps(main, reference, axes),
        channels=[_channel(parts, main, c + 1) for c in ome_build.channel_range(axes.get("C", 1))],
        planes=_planes(axes, planes),
        date=_date(common),
        significant_bits=int(bits) if bits and depth in ("1", "2") else None,
    )
    image.objective_settings = _objective(parts, list(planes.values()))
    return parts.ome([image], main.get("File Info", {}).get("UserName"))


def _date(common: dict[str, str]) -> Any:
    found = date(common.get("ImageCaputreDate"), "%Y-%m-%d %H:%M:%S")
    millis = common.get("ImageCaputreDate+MilliSec", "")
    return (
        found.replace(microsecond=int(millis) * 1000) if found and millis.isdecimal() and int(millis) < 1000 else found
    )


_CODES, _SECONDS = re.compile(r"([CZT])(\d{3,9})"), {"ms": 1e-3, "s": 1.0, "us": 1e-6, "µs": 1e-6}


def _planes(axes: dict[str, int], planes: dict[str, Settings]) -> list[dict[str, Any]]:
    """Time since the start and height of each plane: where its axes stood, `s_C001Z002T003.pty`."""
    found = []
    for name, said in planes.items():
        stem = name.rpartition("/")[2].upper().partition(".")[0]
        place = {axis: int(number) - 1 for axis, number in _CODES.findall(stem)}
        if any(not 0 <= index < axes.get(axis, 1) for axis, index in place.items()):
            continue
        # The axes are numbered as in the main text: 3 is the height and 4 the time.
        height, time = said.get("Axis 3 Parameters", {}), said.get("Axis 4 Parameters", {})
        second = _SECONDS.get(time.get("AbsPositionUnitName", ""))
        metric = {"nm": 1e-3, "um": 1.0, "µm": 1.0}.get(height.get("AbsPositionUnitName", ""))
        values = (number(time.get("AbsPositionValue")), number(height.get("AbsPositionValue")))
        delta = values[0] * second if values[0] is not None and second else None
        z = values[1] * metric if values[1] is not None and metric else None
        if delta is not None or z is not None:
            where = (place.get("Z", 0), place.get("C", 0), place.get("T", 0))
            found.append(plane(*where, delta_s=delta, um=[None, None, z]))
    return found


def _steps(main: Settings, reference: dict[str, str], axes: dict[str, int]) -> dict[str, tuple[float, str]]:
    steps = {}
    for axis, key in (("x", "Width"), ("y", "Height")):
        value = positive(reference.get(f"{key}ConvertValue"))
        unit = ome_build.length_unit(reference.get(f"{key}Unit"))
        if value and unit:
            steps[axis] = (value, unit)
    for index in range(9):
        one = main.get(f"Axis {index} Parameters Common", {})
        if one.get("AxisCode") == "Z" and axes.get("Z", 1) > 1:
            value, unit = positive(one.get("Interval")), one.get("UnitName", one.get("PixUnit"))
            begin, end = number(one.get("StartPosition")), number(one.get("EndPosition"))
            if begin is not None and end is not None and begin != end:
                value = abs(end - begin) / (axes["Z"] - 1)
            symbol = ome_build.length_unit(unit)
            if value and symbol:
                steps["z"] = (value, symbol)
    return steps


def _objective(parts: Parts, planes: list[Settings]) -> Any:
    """It stands in the text of each plane, not in the main one."""
    found: dict[str, str] = {}
    for section in planes[0].values() if planes else ():
        for key in ("ObjectiveLens Name", "ObjectiveLens NAValue", "Magnification", "ObjectiveLens WDValue"):
            if key in section:
                found.setdefault(key, section[key])
    distance = positive(found.get("ObjectiveLens WDValue"))
    return parts.objective(
        model=found.get("ObjectiveLens Name"),
        lens_na=positive(found.get("ObjectiveLens NAValue")),
        nominal_magnification=positive(found.get("Magnification")),
        # 9999 stands for a distance that nobody entered.
        working_distance_um=None if distance is None or distance >= 9999 else distance,
    )


def _channel(parts: Parts, main: Settings, index: int) -> dict[str, Any]:
    said = main.get(f"Channel {index} Parameters", {})
    wavelength = positive(said.get("ExcitationWavelength"))
    emission = parts.filter(model=_filter(said.get("BF Name")))
    dichroic = parts.dichroic(model=_filter(said.get("ExcitationDM Name")))
    detector = parts.detector(
        kind="PMT" if "AnalogPMTVoltage" in said else None,
        settings=given(voltage=positive(said.get("AnalogPMTVoltage"))),
    )
    return given(
        name=said.get("CH Name"),
        fluor=_filter(said.get("DyeName")),
        excitation_wavelength=wavelength,
        emission_wavelength=positive(said.get("EmissionWavelength")),
        detector_settings=detector,
        light_path=parts.light_path((), dichroic, [emission]),
    )


def _filter(name: str | None) -> str | None:
    return name if name and name not in ("None", "---") else None
