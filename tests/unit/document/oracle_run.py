"""SequenceTester acquires and writes down what its pixels say of the hardware; run as a program."""

import json
import sys
from pathlib import Path

import msgspec
import useq
from pymmcore_plus import CMMCorePlus

from agent.hook import attach, wiring

SWITCHER, FREE, STAGE, CAMERA = "TSwitcher-0", "TSwitcher-1", "TZStage-0", "TCamera-0"


def made() -> CMMCorePlus:
    core = CMMCorePlus()
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


def truth(image) -> dict[str, object]:
    """`device.property` to the value at the exposure, out of the pixels (MessagePack, padded with zeros)."""
    packed = image.tobytes().rstrip(b"\0")
    for zeros in range(9):
        try:
            packet = msgspec.msgpack.decode(packed + b"\0" * zeros)
        except msgspec.DecodeError:
            continue
        return {f"{device}.{name}": value for (device, name), (_, value) in packet[5]}
    raise AssertionError("the image holds no packet")


def events():
    """Steps a second wheel within the channels, and exposures with it: what no preset says."""
    for t in range(3):
        for c, channel in enumerate(("red", "blue")):
            for z in range(2):
                yield useq.MDAEvent(
                    index={"t": t, "c": c, "z": z},
                    channel={"config": channel, "group": "Channel"},
                    exposure=1 + t,
                    z_pos=10 + z,
                    properties=[(FREE, "State", str((t * 2 + z) % 3))],
                )


def main() -> None:
    spool, out, kind = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    core = made()
    core.mda.engine.use_hardware_sequencing = kind == "triggered"
    attach(core, spool)
    seen = []
    core.mda.events.frameReady.connect(
        lambda image, event, *_: seen.append({"index": dict(event.index), "said": truth(image)})
    )
    if kind == "stepped":
        core.mda.run(list(events()))
    else:
        core.mda.run(
            useq.MDASequence(
                axis_order="tzc",
                channels=["red", "blue"],
                z_plan={"range": 4, "step": 1},
                time_plan={"interval": 0, "loops": 2},
                stage_positions=[{"z": 10}],
            )
        )
    wiring._recorders[core.mda].journal.close()
    out.write_text(json.dumps(seen, default=str))


main()
