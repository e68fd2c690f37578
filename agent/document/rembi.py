"""The image acquisition part of REMBI 1.5: method with its term in the FBbi ontology, instrument, parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from agent.contract.record import Captured, Tier
from agent.document.completeness import How, Need, summed, ways
from agent.document.methods import described, instrument, recorded
from agent.document.words import channel_named
from agent.snapshot import Snapshot

ONTOLOGY = "Biological Imaging Methods Ontology (FBbi)"
_IRI = "http://purl.obolibrary.org/obo/FBbi_"
_BY_MODE = {
    "LaserScanningConfocalMicroscopy": ("single-spot confocal microscopy", "00000252"),
    "SpinningDiskConfocal": ("spinning disk confocal microscopy", "00000253"),
    "SlitScanConfocal": ("slit-scan confocal microscopy", "00000392"),
    "MultiPhotonMicroscopy": ("multi-photon microscopy", "00000255"),
    "StructuredIllumination": ("structured illumination microscopy (SIM)", "00000332"),
    "TotalInternalReflection": ("evanescent wave microscopy", "00000617"),
    "PALM": ("PALM (photoactivation localization microscopy)", "00000335"),
    "STED": ("stimulated emission depletion (STED)", "00000334"),
    "BrightField": ("bright-field microscopy", "00000243"),
}
_BY_CONTRAST = {
    "Brightfield": ("bright-field microscopy", "00000243"),
    "Phase": ("phase contrast microscopy", "00000247"),
    "DIC": ("differential interference contrast microscopy", "00000245"),
    "Darkfield": ("dark-field microscopy", "00000244"),
    "Fluorescence": ("wide-field fluorescence microscopy", "00100013"),
}
_SETTINGS = {"Exposure": "exposure time", "ExcitationWavelength": "excitation", "EmissionWavelength": "emission"}


def image_acquisition(snapshot: Snapshot) -> dict[str, str]:
    """The fields that are known, by their REMBI names; of several methods each, separated by semicolons."""
    methods = dict.fromkeys(filter(None, (_method(channel.settings) for channel in snapshot.channels)))
    said: dict[str, str] = {}
    if methods:
        said["imaging_method.value"] = "; ".join(name for name, _ in methods)
        said["imaging_method.ontology_name"] = ONTOLOGY
        said["imaging_method.ontology_id"] = "; ".join(_IRI + number for _, number in methods)
    if text := instrument(snapshot):
        said["imaging_instrument"] = text
    if text := " ".join(filter(None, (recorded(snapshot), *described(snapshot)))):
        said["image_acquisition_parameters"] = text
    return said


def completeness(snapshot: Snapshot) -> Tier:
    """Of the five required fields, the parameters taken apart into what each channel must say."""
    return summed(_needs(snapshot))


def _needs(snapshot: Snapshot) -> Iterator[Need]:
    said = image_acquisition(snapshot)
    modes = [_mode(channel.settings) for channel in snapshot.channels]
    how = next((way for way in modes if way is not How.MISSING), How.MISSING)
    for field, name in (("value", "name"), ("ontology_name", "ontology"), ("ontology_id", "term in the ontology")):
        yield Need(1, how if f"imaging_method.{field}" in said else How.MISSING, f"imaging method: {name}")
    stand = [*ways(snapshot.microscope).values(), How.CAPTURED][0]
    yield Need(1, stand if "imaging_instrument" in said else How.MISSING, "imaging instrument: make and model")
    size = ways(snapshot.pixel_size).get("PhysicalSizeX", How.MISSING)
    yield Need(1, size, "acquisition parameters: pixel size")
    yield Need(1, How.CAPTURED if snapshot.images else How.MISSING, "acquisition parameters: size of the images")
    for channel in snapshot.channels:
        known = ways(channel.settings)
        unfluorescent = channel.settings.get("ContrastMethod")
        lightless = unfluorescent is not None and unfluorescent.value != "Fluorescence"
        for field, words in _SETTINGS.items():
            way = How.NOT_APPLICABLE if lightless and field != "Exposure" else known.get(field, How.MISSING)
            yield Need(1, way, f"acquisition parameters: {words} of {channel_named(channel.name)}")


def _method(settings: Mapping[str, Captured]) -> tuple[str, str] | None:
    mode, contrast = (_text(settings, name) for name in ("AcquisitionMode", "ContrastMethod"))
    # A widefield image may be one of many things: its contrast says which.
    return _BY_MODE.get(mode) or _BY_CONTRAST.get(contrast)


def _mode(settings: Mapping[str, Captured]) -> How:
    name = "AcquisitionMode" if _text(settings, "AcquisitionMode") in _BY_MODE else "ContrastMethod"
    return ways(settings).get(name, How.MISSING)


def _text(settings: Mapping[str, Captured], name: str) -> str:
    return str(settings[name].value) if name in settings else ""
