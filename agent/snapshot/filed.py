"""What the files say in OME: images with their planes, channels and components, each value with source `file`."""

from __future__ import annotations

import math
import posixpath
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from agent.contract.record import Captured, Channel, Component, Session
from agent.snapshot.model import Block, Image, Planes
from agent.snapshot.values import number
from agent.sources.spelling import original, portable, shown

if TYPE_CHECKING:
    from lxml.etree import _Element
    from ome_types import OME
    from ome_types import model as ome

    from agent.formats.port import Place, PlaneColumns

_SECONDS = {"s": 1.0, "ms": 1e-3, "µs": 1e-6, "ns": 1e-9, "min": 60.0, "h": 3600.0, "d": 86400.0}
_MICRONS = {"µm": 1.0, "nm": 1e-3, "mm": 1e3, "cm": 1e4, "m": 1e6, "pm": 1e-6, "Å": 1e-4}
_COMPONENTS = ("Objective", "Detector", "Filter", "Dichroic", "Laser", "LightEmittingDiode", "Arc", "Filament",
               "GenericExcitationSource")  # fmt: skip
_LINKS = frozenset(["ID", "SamplesPerPixel"])
UNITS = {"µm": "um", "°C": "degC"}
"""OME's spelling of units to the record's, where they differ."""
DEFAULT_UNITS = {"WorkingDistance": "um", "Power": "mW", "Wavelength": "nm", "ExcitationWavelength": "nm",
                 "EmissionWavelength": "nm", "CutIn": "nm", "CutOut": "nm", "Temperature": "degC",
                 "ReadOutRate": "MHz", "Voltage": "V", "PinholeSize": "um"}  # fmt: skip


@dataclass(slots=True)
class Filed:
    """What the files say."""

    skeleton: bytes | None = None
    images: list[Image] = field(default_factory=list)
    channels: list[Channel] = field(default_factory=list)
    components: list[Component] = field(default_factory=list)
    in_use: list[str] = field(default_factory=list)
    microscope: dict[str, Captured] = field(default_factory=dict)
    objective_settings: dict[str, Captured] = field(default_factory=dict)
    environment: dict[str, Captured] = field(default_factory=dict)
    session: Session = field(default_factory=Session)
    pixel_size: dict[str, Captured] = field(default_factory=dict)
    acquired_at: str | None = None
    """The first image's date, as the file writes it."""


def read_files(
    said: OME | None,
    names: tuple[str, ...],
    places: Sequence[Place] = (),
    columns: Mapping[str, PlaneColumns] | None = None,
) -> Filed:
    """The content of `said`; `names` are the dataset-relative names of the files, to name them the same way.

    `places` say where planes lie in the files that `said` does not address itself, `columns` are the planes
    that are too many for `said`, by image.
    """
    filed = Filed()
    if said is None or not said.images:
        return filed
    from lxml import etree
    from ome_types import to_xml

    kept = [_stripped(image) for image in said.images]
    filed.skeleton = to_xml(said.model_copy(update={"images": [image for image, _ in kept]})).encode()
    root = etree.fromstring(filed.skeleton)
    addressed = _addressed(places)
    _instrument(root, filed)
    for number_, (element, image) in enumerate(zip(root.findall("{*}Image"), said.images, strict=True)):
        made = _image(element, image, names, filed, keeps_planes=kept[number_][1])
        if (listed := (columns or {}).get(image.id)) is not None:
            planes = _of_columns(listed)
            made = replace(made, planes=planes, size=(*made.size[:4], max(made.size[4], max(planes.the_t) + 1)))
        filed.images.append(made if made.blocks else replace(made, blocks=tuple(addressed.get(image.id, ()))))
    _context(root, filed)
    return filed


def _stripped(image: ome.Image) -> tuple[ome.Image, bool]:
    """The image without planes and TIFF addresses; planes that carry annotations of their own stay."""
    rich = any(plane.annotation_refs or plane.hash_sha1 for plane in image.pixels.planes)
    gone: dict[str, Any] = {"tiff_data_blocks": [], "bin_data_blocks": [], "metadata_only": None}
    if not rich:
        gone["planes"] = []
    pixels = image.pixels.model_copy(update=gone)
    return image.model_copy(update={"pixels": pixels}), rich


def captured(element: _Element, skip: frozenset[str] = _LINKS) -> dict[str, Captured]:
    """The attributes of an element, numbers as numbers, with the unit that the file gives or that OME implies."""
    found = {}
    for name, text in element.attrib.items():
        key = str(name)
        if key in skip or (key.endswith("Unit") and key != "Unit"):
            continue
        unit = element.get(f"{key}Unit")
        unit = UNITS.get(unit, unit) if unit else DEFAULT_UNITS.get(key)
        found[key] = Captured(value=_plain(str(text)), unit=unit, source="file")
    return found


def _plain(text: str) -> str | float | bool:
    if text in ("true", "false"):
        return text == "true"
    try:
        value = float(text)
    except ValueError:
        return text
    # Serial and lot numbers such as 0042 are text.
    exact = math.isfinite(value) and not (text.lstrip("-").startswith("0") and text[1:2].isdigit())
    return value if exact else text


def _instrument(root: _Element, filed: Filed) -> None:
    for microscope in root.iterfind("{*}Instrument/{*}Microscope"):
        filed.microscope = captured(microscope)
    for kind in _COMPONENTS:
        for element in root.iterfind(f"{{*}}Instrument/{{*}}{kind}"):
            values = captured(element, _LINKS)
            for band in element.iterfind("{*}TransmittanceRange"):
                values |= captured(band)
            text_only = {"SerialNumber", "LotNumber", "Model"}
            for name in text_only & values.keys():
                values[name] = values[name].model_copy(update={"value": str(element.get(name))})
            filed.components.append(
                Component(id=str(element.get("ID")), kind=kind, label=element.get("Model"), attributes=values)
            )


def _image(element: _Element, image: ome.Image, names: tuple[str, ...], filed: Filed, *, keeps_planes: bool) -> Image:
    pixels = image.pixels
    objective = element.find("{*}ObjectiveSettings")
    if objective is not None:
        _use(filed, [str(objective.get("ID"))])
        filed.objective_settings = filed.objective_settings or captured(objective)
    surroundings = element.find("{*}ImagingEnvironment")
    if surroundings is not None and not filed.environment:
        filed.environment = _environment(captured(surroundings))
    _pixel_size(element, filed)
    channels = element.findall("{*}Pixels/{*}Channel")
    return Image(
        name=image.name or image.id,
        size=(pixels.size_x, pixels.size_y, pixels.size_z, pixels.size_c, _times(pixels)),
        pixel_type=pixels.type.value,
        samples=next((c.samples_per_pixel for c in pixels.channels if c.samples_per_pixel), 1),
        order=pixels.dimension_order.value,
        significant_bits=pixels.significant_bits,
        z_step_um=_micron(pixels.physical_size_z, pixels.physical_size_z_unit),
        t_step_s=pixels.time_increment,
        channels=tuple(_channel(channel, image, n, filed) for n, channel in enumerate(channels)),
        objective=None if objective is None else objective.get("ID"),
        planes=_planes(pixels),
        blocks=tuple(_blocks(pixels, names)),
        keeps_planes=keeps_planes,
    )


def _times(pixels: ome.Pixels) -> int:
    """SizeT, or more: writers that were canceled count whole time points only, and list planes of a further one."""
    return max([pixels.size_t, *(plane.the_t + 1 for plane in pixels.planes)])


def _environment(values: dict[str, Captured]) -> dict[str, Captured]:
    """OME's fractions as the percentages that the record uses."""
    for name in ("Humidity", "CO2Percent"):
        share = values.get(name)
        if share is not None and isinstance(share.value, float):
            values[name] = share.model_copy(update={"value": round(share.value * 100, 6), "unit": "%"})
    return values


def _use(filed: Filed, ids: list[str]) -> None:
    filed.in_use += [i for i in ids if i not in filed.in_use]


def _channel(element: _Element, image: ome.Image, index: int, filed: Filed) -> int:
    """Number of the channel among those of the snapshot; images that share a channel share the number."""
    settings = captured(element, _LINKS | {"Name", "Color"})
    refs = []
    for path in ("DetectorSettings", "LightSourceSettings", "LightPath/*", "FilterSetRef"):
        for child in element.iterfind("{*}" + path.replace("/*", "/{*}*")):
            refs.append(str(child.get("ID")))
            settings |= captured(child) if path.endswith("Settings") else {}
    exposures = {
        round(p.exposure_time * _SECONDS.get(p.exposure_time_unit.value, 1.0) * 1e3, 6)
        for p in image.pixels.planes
        if p.the_c == index and p.exposure_time is not None
    }
    if len(exposures) == 1:
        settings["Exposure"] = Captured(value=exposures.pop(), unit="ms", source="file")
    known = {component.id for component in filed.components}
    used = [ref for ref in refs if ref in known]
    _use(filed, used)
    one = Channel(name=element.get("Name") or f"channel {index}", settings=settings, components=used)
    if one not in filed.channels:
        filed.channels.append(one)
    return filed.channels.index(one)


def _pixel_size(element: _Element, filed: Filed) -> None:
    pixels = element.find("{*}Pixels")
    if filed.pixel_size or pixels is None:
        return
    for axis in "XYZ":
        factor = _MICRONS.get(pixels.get(f"PhysicalSize{axis}Unit", "µm"))
        value = number(pixels.get(f"PhysicalSize{axis}", ""))
        if value and factor:
            size = Captured(value=value * factor, unit="um", source="file")
            filed.pixel_size[f"PhysicalSize{axis}"] = size


def _context(root: _Element, filed: Filed) -> None:
    filed.acquired_at = next((date.text for date in root.iterfind("{*}Image/{*}AcquisitionDate") if date.text), None)
    who = root.find("{*}Experimenter")
    if who is None:
        return
    full = " ".join(filter(None, (who.get("FirstName"), who.get("LastName"))))
    name = full or who.get("UserName") or who.get("Email")
    if name:
        filed.session = Session(user=Captured(value=name, source="file"), confidence=0.7)


def _micron(value: float | None, unit: Any) -> float | None:
    factor = _MICRONS.get(unit.value)
    return None if value is None or factor is None else value * factor


def _planes(pixels: ome.Pixels) -> Planes:
    planes = pixels.planes
    units = {plane.position_x_unit.value for plane in planes} or {"µm"}
    unit = units.pop() if len(units) == 1 else "reference frame"
    scale = _MICRONS.get(unit, 1.0)

    def floats(read: Callable[[ome.Plane], float | None], factor: float = 1.0) -> array[float]:
        values = (read(plane) for plane in planes)
        return array("d", [math.nan if value is None else value * factor for value in values])

    return Planes(
        array("q", [plane.the_z for plane in planes]),
        array("q", [plane.the_c for plane in planes]),
        array("q", [plane.the_t for plane in planes]),
        floats(lambda p: _seconds(p.delta_t, p.delta_t_unit)),
        floats(lambda p: _seconds(p.exposure_time, p.exposure_time_unit)),
        floats(lambda p: p.position_x, scale),
        floats(lambda p: p.position_y, scale),
        floats(lambda p: p.position_z, scale),
        "µm" if unit in _MICRONS else unit,
    )


def _of_columns(said: PlaneColumns) -> Planes:
    """As _planes, from columns."""

    def ints(name: str) -> array[int]:
        return array("q", [0 if math.isnan(value) else int(value) for value in said.values[name]])

    def floats(name: str, factor: float | None) -> array[float]:
        return array("d", [math.nan if factor is None else value * factor for value in said.values[name]])

    def seconds(name: str) -> array[float]:
        return floats(name, _SECONDS.get(said.units.get(name) or "s"))

    units = {
        said.units.get(f"Position{axis}") or "reference frame" for axis in "XYZ" if f"Position{axis}" in said.units
    }
    unit = units.pop() if len(units) == 1 else "reference frame"
    x, y, z = (floats(f"Position{axis}", _MICRONS.get(unit, 1.0)) for axis in "XYZ")
    return Planes(
        ints("TheZ"), ints("TheC"), ints("TheT"), seconds("DeltaT"), seconds("ExposureTime"), x, y, z,
        "µm" if unit in _MICRONS else unit,
    )  # fmt: skip


def _seconds(value: float | None, unit: Any) -> float | None:
    factor = _SECONDS.get(unit.value)
    return None if value is None or factor is None else value * factor


def is_tiff(name: str) -> bool:
    """Is this the name of a TIFF file?"""
    return name.lower().endswith((".tif", ".tiff", ".tf2", ".tf8", ".btf"))


def _addressed(places: Sequence[Place]) -> dict[str, list[Block]]:
    found: dict[str, list[Block]] = {}
    for one in places:
        found.setdefault(one.image, []).append(Block(portable(one.file), None, one.ifd, one.z, one.c, one.t, one.count))
    return found


def _blocks(pixels: ome.Pixels, names: tuple[str, ...]) -> Iterator[Block]:
    # A file says of others what they are called here, not what they are called where they are delivered.
    called = {shown(original(name)): name for name in names}
    by_leaf = {posixpath.basename(name): known for name, known in called.items()}
    tiffs = [name for name in names if is_tiff(name)]
    # Without a name the planes lie in the file that says so, and only one can.
    itself = tiffs[0] if len(tiffs) == 1 else None
    for block in pixels.tiff_data_blocks:
        said = block.uuid.file_name if block.uuid else None
        leaf = posixpath.basename(said.replace("\\", "/")) if said else None
        file = called.get(said, by_leaf.get(leaf or "", said)) if said else itself
        yield Block(
            file,
            block.uuid.value if block.uuid else None,
            block.ifd,
            block.first_z,
            block.first_c,
            block.first_t,
            block.plane_count,
        )
