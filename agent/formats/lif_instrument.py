"""The hardware setting of a Leica image: objective, detectors, lasers, channels, stage."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from agent.formats.parts import Parts, given, number, positive
from agent.formats.safe_xml import children

if TYPE_CHECKING:
    from lxml.etree import _Element
    from ome_types.model import ObjectiveSettings

_DEFINITIONS = ("ATLConfocalSettingDefinition", "ATLCameraSettingDefinition")


@dataclass(slots=True)
class Setting:
    """What is known of all channels of one image."""

    objective: ObjectiveSettings | None = None
    stage: tuple[float | None, ...] = ()
    """x and y in micrometres."""
    channels: list[dict[str, Any]] = field(default_factory=list)
    exposures_s: list[float | None] = field(default_factory=list)
    software: dict[str, str] = field(default_factory=dict)

    def channel(self, index: int, count: int) -> dict[str, Any]:
        """Fields of an OME channel; nothing when the setting speaks of another number of channels."""
        return self.channels[index] if len(self.channels) == count else {}

    def exposure(self, index: int) -> float | None:
        """Seconds of light."""
        return self.exposures_s[index] if index < len(self.exposures_s) else None


def setting(parts: Parts, image: _Element) -> Setting:
    """The hardware setting of an image, its parts put into `parts`."""
    found = Setting()
    for attachment in children(image, "Attachment"):
        if attachment.get("Name") != "HardwareSetting":
            continue
        if software := attachment.get("Software"):
            name, _, version = software.rpartition(" ")
            found.software = {name or software: version if name else ""}
        # A sequential scan repeats the setting for each of its steps; the first one speaks for all.
        definitions = list(attachment.iter(*_DEFINITIONS))
        if definitions:
            _of(parts, definitions[0], found, sequential=len(definitions) > 1)
            model = definitions[0].get("MicroscopeModel") or attachment.get("SystemTypeName")
            if model and model != "SIMULATOR":
                parts.name_microscope(model, "Leica Microsystems")
    return found


def _of(parts: Parts, one: _Element, found: Setting, *, sequential: bool) -> None:
    found.objective = parts.objective(
        model=(one.get("ObjectiveName") or "").strip(),
        lens_na=positive(one.get("NumericalAperture")),
        nominal_magnification=positive(one.get("Magnification")),
        immersion=one.get("Immersion"),
        refractive_index=positive(one.get("RefractionIndex")),
    )
    x, y = number(one.get("StagePosX")), number(one.get("StagePosY"))
    found.stage = tuple(None if value is None else value * 1e6 for value in (x, y))
    for line in one.iter("LaserLineSetting"):
        if positive(line.get("IntensityDev")):
            parts.light("Laser", wavelength_nm=positive(line.get("LaserLine")))
    if sequential:
        return
    if str(one.tag).startswith("ATLConfocal"):
        _confocal(parts, one, found)
    else:
        _camera(one, found)


def _confocal(parts: Parts, one: _Element, found: Setting) -> None:
    """Active detectors are the channels, in order."""
    from ome_types import model

    bands = {band.get("Channel"): band for band in one.iter("MultiBand")}
    pinhole = positive(one.get("Pinhole"))
    for detector in one.iter("Detector"):
        if detector.get("IsActive") != "1":
            continue
        kind = detector.get("Type")
        settings = parts.detector(
            kind="PMT" if kind == "PMT" else None,
            model=detector.get("Name"),
            settings=given(gain=number(detector.get("Gain")), offset=number(detector.get("Offset"))),
        )
        band = bands.get(detector.get("Channel"))
        fields = given(
            detector_settings=settings,
            acquisition_mode=model.Channel_AcquisitionMode.LASER_SCANNING_CONFOCAL_MICROSCOPY,
            pinhole_size=None if pinhole is None else pinhole * 1e6,
        )
        if band is not None:
            # The dye is the user's choice of a preset and names the channel, as in LAS X.
            fields |= given(name=band.get("DyeName"), fluor=band.get("DyeName"), light_path=_band(parts, band))
        found.channels.append(fields)


def _band(parts: Parts, band: _Element) -> Any:
    """The window of the spectral detector as an emission filter."""
    edges = (positive(band.get("LeftWorld")), positive(band.get("RightWorld")))
    return parts.light_path(emission=[parts.filter(model="spectral detection window", cut_nm=edges)])


def _camera(one: _Element, found: Setting) -> None:
    for channel in one.iter("WideFieldChannelInfo"):
        found.channels.append(
            given(
                name=channel.get("UserDefName") or channel.get("FluoCubeName"),
                emission_wavelength=positive(channel.get("EmissionWavelength")),
            )
        )
        found.exposures_s.append(positive(channel.get("ExposureTime")))
