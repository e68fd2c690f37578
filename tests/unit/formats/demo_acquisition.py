"""FOLDER HOW POSITIONS OUTPUT...: a real acquisition with the demo camera, 12 frames of 64 x 48 a position.

HOW is complete, cancel (after 7 frames) or kill (the process ends itself after 7 frames).
"""

import os
import signal
import sys
import threading

import mm_test_adapters
import useq
from pymmcore_plus import CMMCorePlus

folder, how, positions, *outputs = sys.argv[1:]

core = CMMCorePlus()
core.setDeviceAdapterSearchPaths([mm_test_adapters.device_adapter_path()])
for label, device in (
    ("Camera", "DCam"),
    ("Z", "DStage"),
    ("XY", "DXYStage"),
    ("Dichroic", "DWheel"),
    ("Shutter", "DShutter"),
):
    core.loadDevice(label, "DemoCamera", device)
core.initializeAllDevices()
core.setCameraDevice("Camera")
core.setFocusDevice("Z")
core.setXYStageDevice("XY")
core.setShutterDevice("Shutter")
core.definePixelSizeConfig("20x")
core.setPixelSizeUm("20x", 0.65)
core.setROI(0, 0, 64, 48)
core.setExposure(2)
for state, channel in enumerate(("DAPI", "FITC")):
    core.defineConfig("Channel", channel, "Dichroic", "State", str(state))
sequence = useq.MDASequence(
    channels=["DAPI", "FITC"],
    z_plan={"range": 2, "step": 1},
    time_plan={"interval": 0, "loops": 2},
    stage_positions=[(10 * p, 20 * p, 0) for p in range(int(positions))],
)
seen = 0


def stop_early(*_):
    global seen
    seen += 1
    if seen == 7 and how == "cancel":
        threading.Thread(target=core.mda.cancel).start()
    if seen == 7 and how == "kill":
        os.kill(os.getpid(), signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)


core.mda.events.frameReady.connect(stop_early)
for output in outputs:
    core.run_mda(sequence, output=f"{folder}/{output}", block=True)
