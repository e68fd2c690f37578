"""The devices of a Micro-Manager core, asked in a process of its own: a driver that hangs or crashes is not ours."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from agent.errors import Misconfigured

_MARK = "scope-agent summary: "
_PROGRAM = f"""
import json, os, sys
os.environ.setdefault("PYMM_LOG_LEVEL", "ERROR")
from pymmcore_plus import CMMCorePlus
from pymmcore_plus.metadata import summary_metadata
core = CMMCorePlus.instance()
core.loadSystemConfiguration(*sys.argv[1:])
sys.stdout.write({_MARK!r} + json.dumps(summary_metadata(core), default=str) + "\\n")
sys.stdout.flush()
os._exit(0)  # not every driver survives its own unloading
"""


def ask_core(python: str, cfg: Path | None, timeout_s: float = 120) -> dict[str, Any]:
    """pymmcore-plus' summary of `cfg` (None: the demo configuration) in the environment of `python`.

    Opens the hardware that the configuration names. Raises Misconfigured in one line when that fails.
    """
    command = [python, "-c", _PROGRAM, *([str(cfg.absolute())] if cfg else [])]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, encoding="utf-8", errors="replace", timeout=timeout_s, check=False
        )
    except OSError as error:
        raise Misconfigured(f"{python} cannot be started: {error.strerror or error}") from error
    except subprocess.TimeoutExpired:
        raise Misconfigured(
            f"the devices did not answer within {timeout_s:g} s: switch them on and close other software that uses them"
        ) from None
    for line in done.stdout.splitlines():
        if line.startswith(_MARK):
            found: dict[str, Any] = json.loads(line.removeprefix(_MARK))
            return found
    last = next((line for line in reversed(done.stderr.splitlines()) if line.strip()), "it said nothing")
    raise Misconfigured(f"{python} could not load {cfg or 'the demo configuration'}: {last.strip()}")
