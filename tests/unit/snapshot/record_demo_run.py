"""A real acquisition on Micro-Manager's demo microscope with the real hook; run as a program, one core a process.

python record_demo_run.py SPOOL OUTPUT SEQUENCE_JSON [CORE_SETTINGS_JSON]
"""

import json
import sys
from pathlib import Path

import mm_test_adapters
import useq
from pymmcore_plus import CMMCorePlus

from agent.hook import attach


def main(spool: str, output: str, sequence: str, settings: str = "[]") -> None:
    core = CMMCorePlus()
    core.setDeviceAdapterSearchPaths([str(mm_test_adapters.device_adapter_path())])
    core.loadSystemConfiguration(str(Path(mm_test_adapters.device_adapter_path()) / "MMConfig_demo.cfg"))
    attach(core, spool)
    for one in json.loads(settings):
        if len(one) == 4:  # a further device: label, library, name, ""
            core.loadDevice(*one[:3])
            core.initializeDevice(one[0])
        else:
            core.setProperty(*one)
    core.mda.run(useq.MDASequence(**json.loads(sequence)), output=output or None)


if __name__ == "__main__":
    main(*sys.argv[1:])
