"""Micro-Manager's demo microscope with the real hook, as a quality control simulator; run as a program.

python acquire_demo.py SPOOL FOLDER {guided | images | beads}
"""

from __future__ import annotations

import sys
from pathlib import Path

import useq

from agent.calibration import guided
from agent.hook import attach

NOISE = (
    ("Camera", "Mode", "Noise"),
    ("Camera", "PixelType", "16bit"),
    ("Camera", "BitDepth", "16"),
    ("Camera", "OnCameraCCDXSize", "256"),
    ("Camera", "OnCameraCCDYSize", "256"),
    ("Camera", "ReadNoise (electrons)", "2.5"),
    ("Camera", "Photon Conversion Factor", "0.8"),
    ("Camera", "Offset", "100"),
)
LIGHT, DARK = (("Camera", "Photon Flux", "500"),), (("Camera", "Photon Flux", "2"),)
MOVES = [(0.0, 0.0), (7.5, 0.0), (15.0, 0.0), (0.0, 7.5), (0.0, 15.0), (11.0, 13.0), (-6.0, 9.0)]


def main(spool: str, folder: str, what: str) -> None:
    core = guided.load_core(None)
    attach(core, spool)
    place = Path(folder)
    if what == "guided":
        run = guided.DetectorRun((1, 2, 5, 10, 20, 50, 80), 20, 20, 0.001, DARK, LIGHT)
        before = core.getProperty("Camera", "Photon Flux")
        guided.acquire_detector(core, run, place / "detector.ome.tiff", NOISE)
        assert core.getProperty("Camera", "Photon Flux") == before
    elif what == "images":
        channels = [{"config": "DAPI", "exposure": 5}, {"config": "FITC", "exposure": 5}]
        core.mda.run(useq.MDASequence(channels=channels), output=str(place / "cells.ome.tiff"))
    else:
        beads(core, place)


def beads(core, place: Path) -> None:
    for prop, value in (("PixelType", "16bit"), ("BitDepth", "16"), ("Mode", "Fluorescent Beads")):
        core.setProperty("Camera", prop, value)
    positions = [{"x": x, "y": y, "z": 0} for x, y in MOVES]
    sequence = useq.MDASequence(
        stage_positions=positions,
        channels=[{"config": "DAPI", "exposure": 10}],
        metadata={"calibration": "pixel-size", "name": "moves"},
    )
    core.mda.engine.use_hardware_sequencing = False  # the demo stage stands still while a sequence runs
    core.mda.run(sequence, output=str(place / "moves.ome.tiff"))


if __name__ == "__main__":
    main(*sys.argv[1:])
