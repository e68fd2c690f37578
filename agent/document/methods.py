"""A methods paragraph for a paper, from what is known; what is not known is said."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import datetime

from agent.acquisition import Acquisition
from agent.contract.record import Channel, Component
from agent.document.english import Values, article, capital, count, duration, figure, listed, named, number, text
from agent.document.pace import depths_um, even, intervals_s
from agent.document.quality_words import quality
from agent.document.words import channel_named
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
_KEPT = 0.05
"""Share by which the mean interval may differ from what was wanted without a word."""
_EVEN = 0.2
_WRITERS = frozenset(["TIFF Software", "OME Creator"])
_DETECTORS = {"PMT": "photomultiplier", "APD": "avalanche photodiode", "Photodiode": "photodiode"}


def methods(acquisition: Acquisition, snapshot: Snapshot) -> str:
    """One paragraph in English, ending with a line break."""
    used = _used(snapshot)
    unknown: list[str] = []
    sentences = [
        _equipment(snapshot, used, unknown),
        _control(snapshot, unknown),
        _extent(snapshot, unknown),
        *described(snapshot),
        _surroundings(snapshot),
        _ending(acquisition, snapshot),
        quality(snapshot.calibration.metrics),
    ]
    unknown += _unknown_of_channels(snapshot, used)
    # Items that hold an "and" of their own would be hard to tell apart.
    gaps = "; ".join(unknown) if any(" of channel" in one for one in unknown) else listed(unknown)
    sentences.append(f"Not known: {gaps}." if unknown else "")
    return " ".join(sentence for sentence in sentences if sentence) + "\n"


def instrument(snapshot: Snapshot) -> str:
    """The microscope with objective and camera as one line; empty when its make is not known."""
    name = named(snapshot.microscope)
    used = _used(snapshot)
    parts = [_objective(c) for c in used if c.kind == "Objective"] + [
        _detector(c) for c in used if c.kind == "Detector"
    ]
    return f"{name} with {listed(parts)}" if name and parts else name


def recorded(snapshot: Snapshot) -> str:
    """The sentence about number, size and axes of the images; empty when there are none."""
    return _extent(snapshot, [])


def described(snapshot: Snapshot) -> list[str]:
    """A sentence for each channel of which anything is known."""
    used = _used(snapshot)
    return [sentence for channel in snapshot.channels if (sentence := _channel(channel, used))]


def _used(snapshot: Snapshot) -> list[Component]:
    return [component for component in snapshot.components if component.id in snapshot.in_use]


def _equipment(snapshot: Snapshot, used: list[Component], unknown: list[str]) -> str:
    modes = dict.fromkeys(text(channel.settings, "AcquisitionMode") for channel in snapshot.channels)
    kinds = [_MODES[mode] for mode in modes if mode in _MODES]
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
    fitted = listed(with_ + cameras)
    day = _day(snapshot.acquired_at)
    if not day:
        unknown.append("the date")
    return f"Images were acquired{day} with {stand}{f' equipped with {fitted}' if fitted else ''}."


def _day(when: str | None) -> str:
    try:
        day = datetime.fromisoformat(when or "")
    except ValueError:
        return ""
    return f" on {day.day} {day:%B %Y}"


def _stand(values: Values, kinds: list[str]) -> str | None:
    name = named(values)
    if not name:
        return None
    type_ = text(values, "Type").lower()
    words = [*([type_] if type_ in ("inverted", "upright") else []), *kinds, name, "microscope"]
    details = [f"serial number {text(values, 'SerialNumber')}"] if text(values, "SerialNumber") else []
    if pid := text(values, "PersistentIdentifier"):
        details.append(pid)
    return article(" ".join(words)) + (f" ({'; '.join(details)})" if details else "")


def _objective(component: Component) -> str:
    values = component.attributes
    magnification, na = number(values, "NominalMagnification"), number(values, "LensNA")
    optics = "/".join(filter(None, (f"{magnification}×" if magnification else "", f"{na} NA" if na else "")))
    immersion = {"WaterDipping": "water dipping"}.get(text(values, "Immersion"), text(values, "Immersion").lower())
    name = named(values) or component.label or ""
    # "Plan Fluor 40x" says again what follows.
    name = re.sub(r"[, ]*\b\d+(\.\d+)?x$", "", name) if magnification else name
    words = [name, optics, immersion if immersion != "other" else "", "objective"]
    return article(" ".join(filter(None, words))) + ("" if na else " of unknown numerical aperture")


def _detector(component: Component) -> str:
    values = component.attributes
    type_ = text(values, "Type")
    noun = _DETECTORS.get(type_, "camera" if type_ in ("", "Other") else f"{type_} camera")
    pitch = number(values, "PixelWidth")
    size = f" ({pitch} µm pixels)" if pitch else ""
    return article(" ".join(filter(None, (named(values) or component.device or "", noun)))) + size


def _control(snapshot: Snapshot, unknown: list[str]) -> str:
    software = snapshot.software
    found = [f"{name} {software[name]}" for name in ("MMCore", "pymmcore-plus", "Micro-Manager") if software.get(name)]
    if found:
        return f"The microscope was controlled by {listed(found)}."
    if not software:
        unknown.append("the acquisition software")
    # What a file names is what wrote it, which need not be what ran the microscope.
    wrote = [version if name in _WRITERS else f"{name} {version}".strip() for name, version in sorted(software.items())]
    # One program may be named twice, with its version and without.
    wrote = [one for one in dict.fromkeys(wrote) if not any(two.startswith(f"{one} ") for two in wrote)]
    return f"The files were written by {listed(wrote)}." if wrote else ""


def _extent(snapshot: Snapshot, unknown: list[str]) -> str:
    if not snapshot.images:
        unknown.append("number and size of the images")
        return ""
    first = snapshot.images[0]
    x, y, z, c, t = first.size
    parts = [
        count(len(snapshot.images), "position") if len(snapshot.images) > 1 else "",
        _times(first, t),
        _stack(first, z),
        count(c // max(first.samples, 1), "channel") if c > 1 else "",
    ]
    shape = listed([part for part in parts if part])
    frames = snapshot.actual.frames
    bits = re.fullmatch(r"u?int(\d+)", first.pixel_type)
    depth = f"{bits[1]}-bit" if bits else first.pixel_type
    size = f"{x} × {y} pixels ({depth})"
    taken = f"{count(frames, 'frame')} of {size}" if frames else f"images of {size}"
    # A sentence does not begin with a figure.
    taken = f"a total of {taken}" if taken[0].isdigit() else taken
    sentence = f"{capital(taken)} {'was' if frames == 1 else 'were'} recorded"
    return f"{sentence}{f', comprising {shape}' if shape else ''}{_pixel(snapshot, unknown)}."


def _times(image: Image, points: int) -> str:
    if points <= 1:
        return ""
    return f"{count(points, 'time point')}{_intervals(intervals_s(image), image.t_step_s)}"


def _intervals(taken: list[float], nominal: float | None) -> str:
    """As they were; beside what was wanted, where the microscope could not keep up."""
    mean = sum(taken) / len(taken) if taken else 0.0
    if nominal and (not taken or abs(mean - nominal) <= _KEPT * nominal):
        return f" at intervals of {duration(nominal)}"
    if not taken:
        return ""
    wanted = f" (nominally {duration(nominal)})" if nominal else ""
    if even(taken, _EVEN):
        return f" at intervals of {duration(mean)}{wanted}"
    return f" at intervals between {duration(min(taken))} and {duration(max(taken))}{wanted}"


def _stack(image: Image, planes: int) -> str:
    if planes <= 1:
        return ""
    step = f" {figure(image.z_step_um)} µm apart" if image.z_step_um else ""
    taken = depths_um(image)
    if taken and not even(taken, _EVEN):
        step = f" between {figure(min(taken))} and {figure(max(taken))} µm apart"
    return f"{count(planes, 'focal plane')}{step}"


def _pixel(snapshot: Snapshot, unknown: list[str]) -> str:
    size = number(snapshot.pixel_size, "PhysicalSizeX")
    if not size:
        unknown.append("the pixel size")
        return ""
    sure = "" if snapshot.pixel_size["PhysicalSizeX"].source != "derived" else " (from nominal magnifications)"
    return f"; the pixel size in the sample was {size} µm{_through(snapshot)}{sure}"


def _through(snapshot: Snapshot) -> str:
    """Which objective the pixel size is of, where the channels were taken with several."""
    fitted = [component for component in _used(snapshot) if component.kind == "Objective"]
    own = next((one for one in fitted if one.id == snapshot.images[0].objective), None)
    return f" with the {own.label or named(own.attributes)}" if own is not None and len(fitted) > 1 else ""


def _channel(channel: Channel, used: Sequence[Component]) -> str:
    own = [component for component in used if component.id in channel.components]
    values = channel.settings
    parts = []
    exposure = values.get("Exposure")
    if exposure is not None and isinstance(exposure.value, list):
        times = [float(value) for value in exposure.value]
        parts.append(f"exposure times between {figure(min(times))} and {figure(max(times))} ms")
    elif time := number(values, "Exposure"):
        parts.append(f"{time} ms exposure")
    parts += [_light(component, values) for component in own if component.kind in _LAMPS]
    parts += _filters(own, values)
    if (binning := text(values, "Binning")) and binning != "1x1":
        parts.append(f"{binning.replace('x', ' × ')} binning")
    if not parts:
        return ""
    name = capital(channel_named(channel.name)) if channel.name != "unnamed" else "The images"
    return f"{name} {'was' if name != 'The images' else 'were'} recorded with {listed(parts)}."


_LAMPS = {
    "Laser": "laser",
    "LightEmittingDiode": "LED",
    "Arc": "arc lamp",
    "Filament": "lamp",
    "GenericExcitationSource": "light source",
}


def _light(component: Component, values: Values) -> str:
    wavelength = number(component.attributes, "Wavelength")
    name = named(component.attributes) or component.device or ""
    # A model often says the line itself.
    line = f"at {wavelength} nm" if wavelength and f"{wavelength} nm" not in name else ""
    power = number(values, "IlluminationPowerSettings")
    noun = _LAMPS[component.kind]
    at = f"({power} % power)" if power else ""
    return " ".join(filter(None, ("illumination by", article(f"{name} {noun}".strip()), line, at)))


def _filters(own: Sequence[Component], values: Values) -> list[str]:
    found = []
    for component in sorted(own, key=_along_the_light):
        role = text(component.attributes, "Role")
        if component.kind == "Dichroic":
            found.append(article(f"{named(component.attributes) or component.label} dichroic mirror"))
        elif component.kind == "Filter" and role in ("excitation", "emission"):
            name = named(component.attributes) or component.label or ""
            found.append(article(f"{name} {role} filter") + _bands(component.attributes))
    if not found:
        for key, words in (("ExcitationWavelength", "excitation"), ("EmissionWavelength", "emission")):
            if wavelength := number(values, key):
                found.append(f"{words} at {wavelength} nm")
    return found


def _along_the_light(component: Component) -> int:
    role = text(component.attributes, "Role")
    return 0 if role == "excitation" else 1 if component.kind == "Dichroic" else 2


def _bands(values: Values) -> str:
    bands = values.get("TransmittanceBands")
    if bands is None or not isinstance(bands.value, list):
        return ""
    edges = [figure(float(edge)) for edge in bands.value]
    return f" ({', '.join(f'{a}–{b}' for a, b in zip(edges[::2], edges[1::2], strict=False))} nm)"


def _surroundings(snapshot: Snapshot) -> str:
    values = snapshot.environment
    parts = []
    if temperature := number(values, "Temperature"):
        parts.append(f"{temperature} °C")
    if humidity := number(values, "Humidity"):
        parts.append(f"{humidity} % relative humidity")
    if co2 := number(values, "CO2Percent"):
        parts.append(f"{co2} % CO₂")
    return f"The sample was kept at {listed(parts)}." if parts else ""


def _ending(acquisition: Acquisition, snapshot: Snapshot) -> str:
    words = {FinishReason.CANCELED: "stopped by the user", FinishReason.ABORTED: "cut off",
             FinishReason.ERRORED: "ended by an error"}.get(acquisition.reason)  # fmt: skip
    if words is None:
        return ""
    planned, taken = acquisition.plan.frames, snapshot.actual.frames
    of = f" after {taken} of {planned} planned frames" if planned and taken is not None else ""
    return f"The acquisition was {words}{of}."


def _unknown_of_channels(snapshot: Snapshot, used: Sequence[Component]) -> list[str]:
    """What nobody knows of a channel, each with the channels it is missing in."""
    gaps: dict[str, list[str]] = {}
    for channel in snapshot.channels:
        own = [component for component in used if component.id in channel.components]
        for gap in _gaps(channel, own):
            gaps.setdefault(gap, []).append(channel.name)
    together: dict[tuple[str, ...], list[str]] = {}
    for gap, names in gaps.items():
        together.setdefault(tuple(names), []).append(gap)
    return [f"{listed(missing)}{_of(names)}" for names, missing in together.items()]


def _of(names: Sequence[str]) -> str:
    if list(names) == ["unnamed"]:
        return ""
    return f" of {channel_named(names[0])}" if len(names) == 1 else f" of channels {listed(names)}"


def _gaps(channel: Channel, own: Sequence[Component]) -> Iterable[str]:
    values = channel.settings
    if "Exposure" not in values:
        yield "the exposure time"
    if not any(component.kind in _LAMPS for component in own) and not text(values, "ExcitationWavelength"):
        yield "the light source"
    glows = text(values, "ContrastMethod") in ("", "Fluorescence")
    filtered = any(component.kind == "Filter" for component in own) or text(values, "EmissionWavelength")
    if glows and not filtered:
        yield "the emission band"
