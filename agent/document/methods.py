"""A methods paragraph for a paper, from what is known; what is not known is said."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from agent.acquisition import Acquisition
from agent.clock import utc
from agent.contract.record import Captured, Channel, Component
from agent.snapshot import Image, Snapshot
from agent.sources.events import FinishReason

_MODES = {
    "WideField": "widefield",
    "LaserScanningConfocalMicroscopy": "laser scanning confocal",
    "SpinningDiskConfocal": "spinning disk confocal",
    "MultiPhotonMicroscopy": "multiphoton",
    "TotalInternalReflection": "TIRF",
    "StructuredIllumination": "structured illumination",
    "SPIM": "light sheet",
}
_DETECTORS = {"PMT": "photomultiplier", "APD": "avalanche photodiode", "Photodiode": "photodiode"}
_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
Values = Mapping[str, Captured]


def methods(acquisition: Acquisition, snapshot: Snapshot) -> str:
    """One paragraph in English, ending with a line break."""
    used = [component for component in snapshot.components if component.id in snapshot.in_use]
    unknown: list[str] = []
    sentences = [
        _equipment(acquisition, snapshot, used, unknown),
        _control(snapshot),
        _extent(snapshot, unknown),
        *(_channel(channel, used) for channel in snapshot.channels),
        _surroundings(snapshot),
        _ending(acquisition, snapshot),
        "Quality-control measurements of this instrument were not available.",
        f"Not known: {_listed(unknown)}." if unknown else "",
    ]
    return " ".join(sentence for sentence in sentences if sentence) + "\n"


def _equipment(acquisition: Acquisition, snapshot: Snapshot, used: list[Component], unknown: list[str]) -> str:
    modes = dict.fromkeys(_text(channel.settings, "AcquisitionMode") for channel in snapshot.channels)
    kinds = [_MODES[mode] for mode in modes if mode in _MODES]
    when = utc(acquisition.started_ns)
    stand = _stand(snapshot.microscope, kinds)
    if stand is None:
        unknown.append("make and model of the microscope")
        stand = "a " + " ".join([*kinds, "microscope"])
    with_ = [_objective(c) for c in used if c.kind == "Objective"]
    if not with_:
        unknown.append("the objective")
    cameras = [_detector(c) for c in used if c.kind == "Detector"]
    if not cameras:
        unknown.append("the detector")
    fitted = _listed(with_ + cameras)
    day = f"{when.day} {when:%B %Y}"
    return f"Images were acquired on {day} with {stand}{f' equipped with {fitted}' if fitted else ''}."


def _stand(values: Values, kinds: list[str]) -> str | None:
    name = _named(values)
    if not name:
        return None
    type_ = _text(values, "Type").lower()
    words = [*([type_] if type_ in ("inverted", "upright") else []), *kinds, name, "microscope"]
    details = [f"serial number {_text(values, 'SerialNumber')}"] if _text(values, "SerialNumber") else []
    if pid := _text(values, "PersistentIdentifier"):
        details.append(pid)
    return _article(" ".join(words)) + (f" ({'; '.join(details)})" if details else "")


def _objective(component: Component) -> str:
    values = component.attributes
    magnification, na = _number(values, "NominalMagnification"), _number(values, "LensNA")
    optics = "/".join(filter(None, (f"{magnification}×" if magnification else "", f"{na} NA" if na else "")))
    immersion = {"WaterDipping": "water dipping"}.get(_text(values, "Immersion"), _text(values, "Immersion").lower())
    name = _named(values) or component.label or ""
    # "Plan Fluor 40x" says again what follows.
    name = re.sub(r"[, ]*\b\d+(\.\d+)?x$", "", name) if magnification else name
    words = [name, optics, immersion if immersion != "other" else "", "objective"]
    return _article(" ".join(filter(None, words))) + ("" if na else " of unknown numerical aperture")


def _detector(component: Component) -> str:
    values = component.attributes
    type_ = _text(values, "Type")
    noun = _DETECTORS.get(type_, "camera" if type_ in ("", "Other") else f"{type_} camera")
    pitch = _number(values, "PixelWidth")
    size = f" ({pitch} µm pixels)" if pitch else ""
    return _article(" ".join(filter(None, (_named(values) or component.device or "", noun)))) + size


def _control(snapshot: Snapshot) -> str:
    names = ("MMCore", "pymmcore-plus", "Micro-Manager", "OME Creator")
    found = [f"{name} {snapshot.software[name]}" for name in names if snapshot.software.get(name)]
    return f"The microscope was controlled by {_listed(found)}." if found else ""


def _extent(snapshot: Snapshot, unknown: list[str]) -> str:
    if not snapshot.images:
        unknown.append("number and size of the images")
        return ""
    first = snapshot.images[0]
    x, y, z, c, t = first.size
    parts = [
        _count(len(snapshot.images), "position") if len(snapshot.images) > 1 else "",
        _times(first, t),
        _stack(first, z),
        _count(c // max(first.samples, 1), "channel") if c > 1 else "",
    ]
    shape = _listed([part for part in parts if part])
    frames = snapshot.actual.frames
    bits = re.fullmatch(r"u?int(\d+)", first.pixel_type)
    depth = f"{bits[1]}-bit" if bits else first.pixel_type
    size = f"{x} × {y} pixels ({depth})"
    recorded = f"{_count(frames, 'frame')} of {size}" if frames else f"images of {size}"
    sentence = f"{recorded[0].upper()}{recorded[1:]} {'was' if frames == 1 else 'were'} recorded"
    return f"{sentence}{f', comprising {shape}' if shape else ''}{_pixel(snapshot, unknown)}."


def _times(image: Image, count: int) -> str:
    if count <= 1:
        return ""
    every = f" at intervals of {image.t_step_s:.4g} s" if image.t_step_s else ""
    return f"{_count(count, 'time point')}{every}"


def _stack(image: Image, count: int) -> str:
    if count <= 1:
        return ""
    step = f" {image.z_step_um:.4g} µm apart" if image.z_step_um else ""
    return f"{_count(count, 'focal plane')}{step}"


def _pixel(snapshot: Snapshot, unknown: list[str]) -> str:
    size = _number(snapshot.pixel_size, "PhysicalSizeX")
    if not size:
        unknown.append("the pixel size")
        return ""
    sure = "" if snapshot.pixel_size["PhysicalSizeX"].source != "derived" else " (from nominal magnifications)"
    return f"; the pixel size in the sample was {size} µm{sure}"


def _channel(channel: Channel, used: Sequence[Component]) -> str:
    own = [component for component in used if component.id in channel.components]
    values = channel.settings
    parts = []
    exposure = values.get("Exposure")
    if exposure is not None and isinstance(exposure.value, list):
        parts.append(f"exposure times between {min(map(float, exposure.value)):.4g} and "
                     f"{max(map(float, exposure.value)):.4g} ms")  # fmt: skip
    elif time := _number(values, "Exposure"):
        parts.append(f"{time} ms exposure")
    parts += [_light(component, values) for component in own if component.kind in _LAMPS]
    parts += _filters(own, values)
    if (binning := _text(values, "Binning")) and binning != "1x1":
        parts.append(f"{binning.replace('x', ' × ')} binning")
    if not parts:
        return ""
    name = f"Channel {channel.name}" if channel.name != "unnamed" else "The images"
    return f"{name} {'was' if name != 'The images' else 'were'} recorded with {_listed(parts)}."


_LAMPS = {
    "Laser": "laser",
    "LightEmittingDiode": "LED",
    "Arc": "arc lamp",
    "Filament": "lamp",
    "GenericExcitationSource": "light source",
}


def _light(component: Component, values: Values) -> str:
    wavelength = _number(component.attributes, "Wavelength")
    name = _named(component.attributes) or component.device or ""
    # A model often says the line itself.
    line = f"at {wavelength} nm" if wavelength and f"{wavelength} nm" not in name else ""
    power = _number(values, "IlluminationPowerSettings")
    noun = _LAMPS[component.kind]
    at = f"({power} % power)" if power else ""
    return " ".join(filter(None, ("illumination by", _article(f"{name} {noun}".strip()), line, at)))


def _filters(own: Sequence[Component], values: Values) -> list[str]:
    found = []
    for component in sorted(own, key=_along_the_light):
        role = _text(component.attributes, "Role")
        if component.kind == "Dichroic":
            found.append(_article(f"{_named(component.attributes) or component.label} dichroic mirror"))
        elif component.kind == "Filter" and role in ("excitation", "emission"):
            name = _named(component.attributes) or component.label or ""
            found.append(_article(f"{name} {role} filter") + _bands(component.attributes))
    if not found:
        for key, words in (("ExcitationWavelength", "excitation"), ("EmissionWavelength", "emission")):
            if wavelength := _number(values, key):
                found.append(f"{words} at {wavelength} nm")
    return found


def _along_the_light(component: Component) -> int:
    role = _text(component.attributes, "Role")
    return 0 if role == "excitation" else 1 if component.kind == "Dichroic" else 2


def _bands(values: Values) -> str:
    bands = values.get("TransmittanceBands")
    if bands is None or not isinstance(bands.value, list):
        return ""
    edges = [f"{float(edge):.4g}" for edge in bands.value]
    return f" ({', '.join(f'{a}–{b}' for a, b in zip(edges[::2], edges[1::2], strict=False))} nm)"


def _surroundings(snapshot: Snapshot) -> str:
    values = snapshot.environment
    parts = []
    if temperature := _number(values, "Temperature"):
        parts.append(f"{temperature} °C")
    if humidity := _number(values, "Humidity"):
        parts.append(f"{humidity} % relative humidity")
    if co2 := _number(values, "CO2Percent"):
        parts.append(f"{co2} % CO₂")
    return f"The sample was kept at {_listed(parts)}." if parts else ""


def _ending(acquisition: Acquisition, snapshot: Snapshot) -> str:
    words = {FinishReason.CANCELED: "stopped by the user", FinishReason.ABORTED: "cut off",
             FinishReason.ERRORED: "ended by an error"}.get(acquisition.reason)  # fmt: skip
    if words is None:
        return ""
    planned, taken = acquisition.plan.frames, snapshot.actual.frames
    of = f" after {taken} of {planned} planned frames" if planned and taken is not None else ""
    return f"The acquisition was {words}{of}."


def _named(values: Values) -> str:
    maker, model = _text(values, "Manufacturer"), _text(values, "Model")
    return model if maker and model.lower().startswith(maker.lower()) else f"{maker} {model}".strip()


def _text(values: Values, name: str) -> str:
    captured = values.get(name)
    return "" if captured is None or captured.value is None else str(captured.value).strip()


def _number(values: Values, name: str) -> str:
    """To four significant digits, which is more than any of these is known to; empty when not known."""
    captured = values.get(name)
    known = captured.value if captured else None
    return f"{known:.4g}" if isinstance(known, int | float) and not isinstance(known, bool) else ""


def _article(words: str) -> str:
    # An LED, an sCMOS, an 8x: the sound decides, and letters that are spelled out sound like vowels.
    first = words.split()[0] if words else ""
    spelled = len(first) > 1 and first[:2].isupper() and first[0] in "FHLMNRSX"
    return f"{'an' if first[:1].lower() in 'aeio8' or spelled else 'a'} {words}"


def _count(number: int, noun: str) -> str:
    word = _NUMBERS[number] if number < len(_NUMBERS) else f"{number:,}"
    return f"{word} {noun}{'' if number == 1 else 's'}"


def _listed(parts: Sequence[str]) -> str:
    if len(parts) < 2:
        return "".join(parts)
    return f"{', '.join(parts[:-1])}{',' if len(parts) > 2 else ''} and {parts[-1]}"
