"""A user's script: it knows nothing of scope-agent. It notes what it sees, as the truth to compare with."""

import json
import sys
from pathlib import Path

import useq
from pymmcore_plus import CMMCorePlus

output, truth, loops = sys.argv[1], sys.argv[2], int(sys.argv[3])
core = CMMCorePlus.instance()
core.loadSystemConfiguration()
core.setProperty("Camera", "OnCameraCCDXSize", 64)
core.setProperty("Camera", "OnCameraCCDYSize", 64)

seen = []


def note(_image, event, meta):
    seen.append(
        {
            "index": dict(event.index),
            "channel": event.channel.config,
            "exposure": core.getExposure(),
            "position": event.pos_name,
            "x": core.getXPosition(),
            "z": core.getZPosition(),
            "emission": core.getProperty("Emission", "Label"),
            "gain": core.getProperty("Camera", "Gain"),
        }
    )
    if len(seen) == 7:
        core.setProperty("Camera", "Gain", 3)  # somebody turns a knob


core.mda.events.frameReady.connect(note)
sequence = useq.MDASequence(
    axis_order="tpcz",
    channels=[{"config": "DAPI", "exposure": 2}, {"config": "FITC", "exposure": 4}],
    stage_positions=[{"x": 0, "y": 0, "z": 0, "name": "A1"}, {"x": 100, "y": 50, "z": 3, "name": "B1"}],
    time_plan={"interval": 0, "loops": loops},
    z_plan={"range": 2, "step": 1},
    metadata={"user": "ada", "sample": {"slide": 7}},
)
print("running", flush=True)
core.mda.run(sequence, output=output)
Path(truth).write_text(json.dumps(seen))
