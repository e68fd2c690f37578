"""What camera adapters call the same thing: property names by device library, after their sources.

The names in "" hold where a library has none of its own; a profile adds more under [camera_properties.LIBRARY].
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import replace

from agent.contract.record import Captured
from agent.snapshot.devices import Reading, State
from agent.snapshot.values import number, scalar

_Names = Mapping[str, tuple[str, ...]]

SETTINGS: dict[str, _Names] = {
    "": {
        "Binning": ("Binning",),
        "Gain": ("Gain",),
        "AmplificationGain": ("EMGain",),
        "Offset": ("Offset",),
        "BitDepth": ("BitDepth",),
        "ReadOutRate": ("ReadoutRate", "PixelReadoutRate", "PixelRate"),
        "ReadoutMode": ("ReadoutMode", "ScanMode"),
        "SensorExposureMode": ("ShutterMode",),
        "TriggerMode": ("TriggerMode",),
        "Temperature": ("CCDTemperature", "SensorTemperature"),
    },
    "DemoCamera": {"Temperature": ("CCDTemperature RO",)},
    "PVCAM": {
        "AmplificationGain": ("MultiplierGain",),
        "ReadOutRate": ("ReadoutRateName", "ReadoutRate"),
        "SensorExposureMode": ("ExposeOutMode",),
        "ReadoutMode": ("Port",),
    },
    "Andor": {
        "Gain": ("Pre-Amp-Gain",),
        "AmplificationGain": ("Gain",),
        # What the adapter calls the readout mode is the horizontal shift speed: "10.000 MHz".
        "ReadOutRate": ("ReadoutMode",),
        "ReadoutMode": ("Output_Amplifier",),
        "BitDepth": ("AD_Converter",),
        "Offset": ("BaselineClamp",),
    },
    "AndorSDK3": {
        "Gain": ("SimplePreAmpGainControl", "Sensitivity/DynamicRange"),
        "ReadOutRate": ("PixelReadoutRate",),
        "SensorExposureMode": ("ElectronicShutteringMode",),
        "BitDepth": ("PixelEncoding",),
        "FrameRate": ("FrameRate",),
    },
    "PCO_Camera": {"ReadOutRate": ("PixelRate",), "ReadoutMode": ("Noisefilter",)},
    "BaslerPylon": {"SensorExposureMode": ("ShutterMode",), "ReadoutMode": ("SensorReadoutMode",),
                    "FrameRate": ("ResultingFrameRate",), "Temperature": ("Temperature",)},
    "HamamatsuHam": {
        # The adapter's source is not public: names of the DCAM interface, and those that its users' metadata show.
        "Gain": ("CONTRAST GAIN", "Gain"),
        "AmplificationGain": ("SENSITIVITY", "EMGain"),
        "Offset": ("CONVERSION FACTOR OFFSET", "Offset"),
        "BitDepth": ("BIT PER CHANNEL", "BitDepth"),
        "ReadOutRate": ("READOUT SPEED", "ScanMode"),
        "ReadoutMode": ("SENSOR MODE", "ReadoutMode"),
        "SensorExposureMode": ("SHUTTER MODE", "TRIGGER GLOBAL EXPOSURE"),
        "TriggerMode": ("TRIGGER SOURCE", "Trigger"),
        "Temperature": ("SENSOR TEMPERATURE", "CCDTemperature"),
        "FrameRate": ("INTERNAL FRAME RATE",),
    },
    "TSI": {"Temperature": ("TemperatureC",)},
    "SpinnakerCamera": {"BitDepth": ("ADC Bit Depth",), "Offset": ("Black Level",), "TriggerMode": ("Trigger Mode",),
                        "FrameRate": ("Frame Rate",)},
    "IDSPeak": {"Temperature": ("Sensor temperature",)},
    "TUCam": {"BitDepth": ("DepthMode",), "Temperature": ("Temperature",)},
}  # fmt: skip

IDENTITY: dict[str, _Names] = {
    "": {
        "SerialNumber": ("SerialNumber", "Serial Number", "CameraSerialNumber"),
        "FirmwareVersion": ("FirmwareVersion", "CameraFirmware", "Firmware Version"),
        "Model": ("CameraModel", "ChipName", "CameraType", "CameraName"),
        "SensorWidth": ("SensorWidth",),
        "SensorHeight": ("SensorHeight",),
        "ElectronicConversionFactor": (),
        "PixelWellCapacity": (),
    },
    "DemoCamera": {
        "FirmwareVersion": ("CameraID",),
        "Model": ("CameraName",),
        "SensorWidth": ("OnCameraCCDXSize",),
        "SensorHeight": ("OnCameraCCDYSize",),
    },
    "PVCAM": {"Model": ("ChipName",), "PixelWellCapacity": ("FullWellCapacity",)},
    "Andor": {"Model": ("Camera", "CameraName"), "SerialNumber": ("Camera",)},
    "AndorSDK3": {"Model": ("CameraModel",), "FirmwareVersion": ("CameraFirmware",)},
    "PCO_Camera": {"Model": ("CameraType",), "ElectronicConversionFactor": ("Conversion factor*100",)},
    "BaslerPylon": {"Model": ("CameraModel", "DeviceModelName")},
    "HamamatsuHam": {"Model": ("CameraName",), "SerialNumber": ("CameraID",),
                     "ElectronicConversionFactor": ("CONVERSION FACTOR COEFF",)},
    "TSI": {"FirmwareVersion": ("FirmwareVersion",)},
    "SpinnakerCamera": {"SerialNumber": ("Serial Number",)},
    "IDSPeak": {"SerialNumber": ("Serial Number",)},
}  # fmt: skip

_UNITS = {"ReadOutRate": "MHz", "Temperature": "degC", "FrameRate": "Hz", "SensorWidth": "px", "SensorHeight": "px",
          "ElectronicConversionFactor": "e-/ADU", "PixelWellCapacity": "e-"}  # fmt: skip
_NUMERIC = frozenset(["Gain", "AmplificationGain", "Offset", *_UNITS]) - {"ReadOutRate"}
_SCALES = {("PCO_Camera", "ElectronicConversionFactor"): 0.01}
"""Factor from the adapter's number to the unit above."""
_INSIDE = {
    ("Andor", "Camera", "Model"): re.compile(r"\|\s*([^|]+?)\s*\|\s*([^|]+?)\s*\|.*"),
    ("Andor", "Camera", "SerialNumber"): re.compile(r"\|[^|]+\|[^|]+\|\s*(\w+)\s*\|"),
    ("HamamatsuHam", "CameraID", "SerialNumber"): re.compile(r"(?:S/N:)?\s*(\w+)"),
}
"""Where an adapter says several things in one: `| iXon Ultra | DU897_BV | 8172 |`, `S/N: 500975`."""


def camera_settings(
    device: str, library: str, state: State, extra: Mapping[str, Mapping[str, str]]
) -> dict[str, Captured]:
    """A camera's settings by OME name, read from `state` by the names that its adapter uses."""
    return _read(SETTINGS, device, library, state, extra)


def camera_identity(
    device: str, library: str, state: State, extra: Mapping[str, Mapping[str, str]]
) -> dict[str, Captured]:
    """What a camera is (model, serial number, firmware, sensor) as its adapter tells; what it does not is left out."""
    return _read(IDENTITY, device, library, state, extra)


def property_of(
    name: str, library: str, present: Collection[str], extra: Mapping[str, Mapping[str, str]]
) -> str | None:
    """Which of the properties that a camera has holds the setting or fact `name`; None when none does."""
    table = IDENTITY if name in IDENTITY[""] else SETTINGS
    names = _names(table, library, extra).get(name, ())
    found = next((one for one in names if one in present), None)
    # A text that says more than that would be no good value in a profile; a snapshot takes the part of it.
    return None if (library, found, name) in _INSIDE else found


def _read(
    table: Mapping[str, _Names],
    device: str,
    library: str,
    state: State,
    extra: Mapping[str, Mapping[str, str]],
) -> dict[str, Captured]:
    found: dict[str, Captured] = {}
    for name, names in _names(table, library, extra).items():
        readings = ((one, state.get((device, one))) for one in names)
        source, reading = next(((one, r) for one, r in readings if r is not None and r.value.strip()), ("", None))
        if reading is not None and (form := _INSIDE.get((library, source, name))) is not None:
            inside = form.fullmatch(reading.value.strip())
            reading = replace(reading, value=" ".join(inside.groups())) if inside else None
        captured = _converted(name, reading) if reading else None
        scale = _SCALES.get((library, name))
        if captured is not None and scale and isinstance(captured.value, int | float):
            captured = captured.model_copy(update={"value": captured.value * scale})
        if captured is not None:
            found[name] = captured
    return found


def _names(
    table: Mapping[str, _Names], library: str, extra: Mapping[str, Mapping[str, str]]
) -> dict[str, tuple[str, ...]]:
    """Properties by what they mean: the profile's, then the adapter's own, then those that all adapters share.

    What an adapter calls by another name must not be read from a property that means something else there.
    """
    identity = table is IDENTITY
    added = {k: (v,) for k, v in extra.get(library, {}).items() if (k in IDENTITY[""]) == identity}
    return {**table[""], **table.get(library, {}), **added}


def _converted(name: str, reading: Reading) -> Captured | None:
    if name == "Binning":
        return reading.captured(binning(reading.value))
    if name == "BitDepth":
        depth = number(reading.value)
        return None if depth is None else reading.captured(f"{depth:g}bit")
    if name == "ReadOutRate":
        rate = number(reading.value)
        if rate is None or "hz" not in reading.value.lower():
            return reading.captured(reading.value)
        return reading.captured(rate / 1000 if "khz" in reading.value.lower() else rate, "MHz")
    value = scalar(reading.value)
    if name in _NUMERIC and not isinstance(value, str):
        return reading.captured(value, _UNITS.get(name))
    return reading.captured(reading.value)


def normal(settings: dict[str, Captured]) -> dict[str, Captured]:
    """Binning and bit depth in one spelling, wherever they were read."""
    spelled = dict(settings)
    for name in ("Binning", "BitDepth"):
        if (value := settings.get(name)) is not None:
            text = str(value.value)
            depth = number(text)
            plain = binning(text) if name == "Binning" else f"{depth:g}bit" if depth else text
            spelled[name] = value.model_copy(update={"value": plain})
    return spelled


def binning(text: str) -> str:
    """`2`, `2x2` and `2 x 2` as OME writes it: `2x2`."""
    parts = re.findall(r"\d+", text)
    return f"{int(parts[0])}x{int(parts[-1])}" if parts else text
