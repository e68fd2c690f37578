"""A core with Micro-Manager's SequenceTester, whose camera writes the true state of the hardware into its pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from pymmcore_plus import CMMCorePlus

SWITCHER, FREE, STAGE, CAMERA = "TSwitcher-0", "TSwitcher-1", "TZStage-0", "TCamera-0"
"""`FREE` is a wheel that no preset sets and no trigger steps."""


def loaded(core: CMMCorePlus) -> CMMCorePlus:
    """`core` with the devices, the wheel and the stage triggered by the camera, and two channels."""
    core.loadDevice("THub", "SequenceTester", "THub")
    core.initializeDevice("THub")
    for name in (CAMERA, SWITCHER, FREE, STAGE):
        core.loadDevice(name, "SequenceTester", name)
        core.setParentLabel(name, "THub")
    core.setProperty(CAMERA, "ImageMode", "MachineReadable")
    core.setProperty(CAMERA, "ImageWidth", "128")
    core.setProperty(CAMERA, "ImageHeight", "128")
    for name in (CAMERA, SWITCHER, FREE, STAGE):
        core.initializeDevice(name)
    for name in (SWITCHER, STAGE):
        core.setProperty(name, "TriggerSourceDevice", CAMERA)
        core.setProperty(name, "TriggerSourcePort", "ExposureStartEdge")
        core.setProperty(name, "TriggerSequenceMaxLength", "100")
    core.setCameraDevice(CAMERA)
    core.setFocusDevice(STAGE)
    core.setAutoShutter(False)
    core.setExposure(1)
    for preset, state in {"red": "1", "blue": "2"}.items():
        core.defineConfig("Channel", preset, SWITCHER, "State", state)
    core.setChannelGroup("Channel")
    return core


def truth(image: Any) -> dict[tuple[str, str], object]:
    """(device, property) to the value at the exposure, out of the pixels (MessagePack, padded with zeros)."""
    packed = image.tobytes().rstrip(b"\0")
    for zeros in range(9):
        try:
            packet = msgspec.msgpack.decode(packed + b"\0" * zeros)
        except msgspec.DecodeError:
            continue
        return {(device, name): value for (device, name), (_, value) in packet[5]}
    raise AssertionError("the image holds no packet")
