"""scope-agent with a clock that jumps: `python skewed.py FILE ARGUMENTS...`; FILE holds how many seconds it is off.

A computer's clock cannot be set for one program alone, so that this stands between the program and the clock.
"""

from __future__ import annotations

import runpy
import sys
import time
from pathlib import Path

_FILE = Path(sys.argv[1])
_LOOK_S = 0.02
_time, _time_ns = time.time, time.time_ns
_last = [0.0, 0.0]


def _offset() -> float:
    now = time.monotonic()
    if now - _last[0] > _LOOK_S:
        try:
            _last[:] = [now, float(_FILE.read_text() or 0)]
        except (OSError, ValueError):
            _last[0] = now
    return _last[1]


time.time = lambda: _time() + _offset()
time.time_ns = lambda: _time_ns() + int(_offset() * 1e9)
sys.argv[:2] = ["scope-agent"]
runpy.run_module("agent", run_name="__main__", alter_sys=True)
