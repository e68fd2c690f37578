"""SequenceTester acquires and writes down what its pixels say of the hardware; run as a program."""

import json
import sys
from pathlib import Path

import useq
from pymmcore_plus import CMMCorePlus

from agent.hook import attach, wiring
from tests.sequence_tester import FREE, loaded, truth


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
    core = loaded(CMMCorePlus())
    core.mda.engine.use_hardware_sequencing = kind == "triggered"
    attach(core, spool)
    seen = []
    core.mda.events.frameReady.connect(
        lambda image, event, *_: seen.append(
            {"index": dict(event.index), "said": {".".join(key): value for key, value in truth(image).items()}}
        )
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
