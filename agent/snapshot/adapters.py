"""What camera adapters call the same thing: property names by device library, after their sources.

The names in "" hold where a library has none of its own; a profile adds more under [camera_properties.LIBRARY].
"""

from __future__ import annotations

import re
from collections.abc import Mapping

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
    "TSI": {"Temperature": ("TemperatureC",)},
    "SpinnakerCamera": {"BitDepth": ("ADC Bit Depth",)},
    "IDSPeak": {"Temperature": ("Sensor temperature",)},
    "TUCam": {"BitDepth": ("DepthMode",), "Temperature": ("Temperature",)},
}  # fmt: skip

IDENTITY: dict[str, _Names] = {
    "": {
        "SerialNumber": ("SerialNumber", "Serial Number", "CameraSerialNumber"),
        "FirmwareVersion": ("FirmwareVersion", "CameraFirmware"),
        "Model": ("CameraModel", "ChipName", "CameraType", "CameraName"),
    },
}

_UNITS = {"ReadOutRate": "MHz", "Temperature": "degC", "FrameRate": "Hz"}
_NUMERIC = frozenset(["Gain", "AmplificationGain", "Offset", "Temperature", "FrameRate"])


def camera_settings(
    device: str, library: str, state: State, extra: Mapping[str, Mapping[str, str]]
) -> dict[str, Captured]:
    """A camera's settings by OME name, read from `state` by the names that its adapter uses."""
    return _read(SETTINGS, device, library, state, extra)


def camera_identity(device: str, library: str, state: State) -> dict[str, Captured]:
    """Model, serial number and firmware as the adapter tells them; what it does not tell is left out."""
    return _read(IDENTITY, device, library, state, {})


def _read(
    table: Mapping[str, _Names],
    device: str,
    library: str,
    state: State,
    extra: Mapping[str, Mapping[str, str]],
) -> dict[str, Captured]:
    found: dict[str, Captured] = {}
    own, generic, added = table.get(library, {}), table[""], extra.get(library, {})
    for name in dict.fromkeys((*added, *own, *generic)):
        # What an adapter calls by another name must not be read from a property that means something else there.
        names = (added[name],) if name in added else own.get(name) or generic[name]
        readings = (state.get((device, property_name)) for property_name in names)
        reading = next((r for r in readings if r is not None and r.value.strip()), None)
        captured = _converted(name, reading) if reading else None
        if captured is not None:
            found[name] = captured
    return found


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
