"""What the texts of an Olympus FluoView image say, as OME."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.formats import ome_build
from agent.formats.guarded import attempt
from agent.formats.parts import Parts, date, given, number, positive
from agent.formats.port import Metadata

if TYPE_CHECKING:
    from ome_types import OME

Settings = dict[str, dict[str, str]]


def read(path: Path, main: Settings, planes: list[Settings]) -> Metadata:
    """`planes` are the texts of the planes, in the order of their names."""
    ome, errors = attempt(path, lambda: _ome(path, main, planes))
    version = main.get("Version Info", {})
    name = version.get("SystemName", "")
    rest = {"main": main, "first_plane": planes[0] if planes else {}}
    return Metadata(ome, {name: version.get("SystemVersion", "")} if name else {}, {"fluoview": rest}, errors)


def _ome(path: Path, main: Settings, planes: list[Settings]) -> OME:
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
        date=_date(common),
        significant_bits=int(bits) if bits and depth in ("1", "2") else None,
    )
    image.objective_settings = _objective(parts, planes)
    return parts.ome([image], main.get("File Info", {}).get("UserName"))


def _date(common: dict[str, str]) -> Any:
    found = date(common.get("ImageCaputreDate"), "%Y-%m-%d %H:%M:%S")
    millis = common.get("ImageCaputreDate+MilliSec", "")
    return (
        found.replace(microsecond=int(millis) * 1000) if found and millis.isdecimal() and int(millis) < 1000 else found
    )


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
