"""A microscopist's script: a multi-dimensional acquisition on Micro-Manager's DemoCamera with pymmcore-plus.

It knows nothing of scope-agent. Usage: microscope.py OUTPUT (a name ending in .ome.tiff or .ome.zarr)
Beside the output it writes OUTPUT.frames.json: SHA-256 of the pixels of every frame as the camera gave them.
"""

import hashlib
import json
import sys
from pathlib import Path

import mm_test_adapters
import numpy as np
import useq
from pymmcore_plus import CMMCorePlus

SEQUENCE = useq.MDASequence(
    metadata={"sample": "demo cells", "project": "scope-agent demo"},
    axis_order="tpcz",
    stage_positions=[
        {"name": "A1", "x": 0.0, "y": 0.0, "z": 0.0},
        {"name": "B2", "x": 250.0, "y": 120.0, "z": 2.0},
    ],
    channels=[{"config": "DAPI", "exposure": 5.0}, {"config": "FITC", "exposure": 10.0}],
    z_plan={"range": 4.0, "step": 2.0},
    time_plan={"interval": 0.2, "loops": 3},
)


def set_up() -> CMMCorePlus:
    """Load Micro-Manager's own demo configuration and prepare the microscope as a user would."""
    core = CMMCorePlus()
    core.setDeviceAdapterSearchPaths([str(mm_test_adapters.device_adapter_path())])
    core.loadSystemConfiguration("MMConfig_demo.cfg")
    core.setConfig("Objective", "20X")
    core.setProperty("Camera", "BitDepth", "16")
    core.setProperty("Camera", "PixelType", "16bit")
    core.setProperty("Camera", "OnCameraCCDXSize", 256)
    core.setProperty("Camera", "OnCameraCCDYSize", 256)
    return core


def main(output: Path) -> None:
    core = set_up()
    frames = []

    def remember(image: np.ndarray, event: useq.MDAEvent, _meta: dict) -> None:
        index = {str(axis): number for axis, number in event.index.items()}
        frames.append({"index": index, "sha256": hashlib.sha256(image.tobytes()).hexdigest()})

    core.mda.events.frameReady.connect(remember)
    output.parent.mkdir(parents=True, exist_ok=True)
    core.mda.run(SEQUENCE, output=str(output))
    Path(f"{output}.frames.json").write_text(json.dumps(frames), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
