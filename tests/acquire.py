"""A user's acquisition of one kind: python acquire.py KIND OUTPUT SPOOL. With a spool, the hook is attached."""

import sys
import time

import useq
from pymmcore_plus import CMMCorePlus

KINDS = {
    "plain": {"channels": ["DAPI", "FITC"], "time_plan": {"interval": 0, "loops": 3}},
    "positions": {"channels": ["DAPI"], "stage_positions": [(0, 0, 0), (50, 0, 0)], "z_plan": {"range": 2, "step": 1}},
    "torn": {"time_plan": {"interval": 0, "loops": 26}},
    "slow": {"time_plan": {"interval": 0, "loops": 26}},
    "burst": {"time_plan": {"interval": 0, "loops": 20}},
    "missed": {"time_plan": {"interval": 0, "loops": 20}},
    "large": {"time_plan": {"interval": 0.002, "loops": 40}},
    "long": {"channels": ["DAPI", "FITC"], "time_plan": {"interval": 0.02, "loops": 2000}},
}


def make_core():
    core = CMMCorePlus.instance()
    core.loadSystemConfiguration()
    for axis in "XY":
        core.setProperty("Camera", f"OnCameraCCD{axis}Size", 64)
    core.setExposure(1)
    return core


def whole_bursts(core) -> None:
    """pymmcore-plus 0.18 leaves a burst when its last image arrives between two questions: here it asks once."""
    running, waiting = core.isSequenceRunning, core.getRemainingImageCount
    core.isSequenceRunning = lambda: running() or waiting() > 0


def missed(core) -> None:
    """What then happens: the last image of a burst of 20 stays in the camera's buffer."""
    pop, waiting, popped = core.popNextImageAndMD, core.getRemainingImageCount, []

    def popping(*args):
        popped.append(True)
        return pop(*args)

    core.popNextImageAndMD = popping
    core.getRemainingImageCount = lambda: waiting() if len(popped) < 19 else 0


def main(kind: str, output: str, spool: str) -> None:
    core = make_core()
    if kind == "large":
        for axis in "XY":
            core.setProperty("Camera", f"OnCameraCCD{axis}Size", 512)
    if kind in ("slow", "torn"):
        slow_disk()
    if kind == "burst":
        whole_bursts(core)
    if kind == "missed":
        missed(core)
    if spool:
        from agent.hook import attach

        attach(core, spool)
    print("running", flush=True)
    if kind == "around":
        around(core)
    elif kind == "generator":
        core.mda.run(useq.MDAEvent(index={"t": t}) for t in range(3))
    else:
        core.mda.run(useq.MDASequence(**KINDS[kind]), output=output or None)
    if kind == "slow":
        time.sleep(6)  # the application stays open, its writer ends
    print("done", flush=True)


def slow_disk() -> None:
    """The writer's thread takes longer than the engine waits for it."""
    import tifffile

    write = tifffile.TiffWriter.write

    def slow(self, *arguments, **more):
        result = write(self, *arguments, **more)
        time.sleep(0.35)
        return result

    tifffile.TiffWriter.write = slow


def around(core) -> None:
    """Snaps, live mode and two cores, none of it in a run but the last."""
    core.snapImage()
    core.startContinuousSequenceAcquisition(1)
    time.sleep(0.05)
    core.stopSequenceAcquisition()
    core.startSequenceAcquisition(5, 0, True)
    time.sleep(0.2)
    core.mda.run(useq.MDASequence(channels=["DAPI"]))


if __name__ == "__main__":
    main(*sys.argv[1:4])
