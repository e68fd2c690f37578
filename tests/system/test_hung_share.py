"""A share that hangs in a call to the system: the daemon goes on, tells of it, and ends when it is asked to."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile

from tests.conftest import ROOT

pytestmark = [
    pytest.mark.system,
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="ends the daemon by a signal"),
]
_HANGS = """
import sys, threading
from agent.cli import main
from agent.delivery import small_files

def never(path, *_):
    if ".scope-agent" in str(path):
        threading.Event().wait()
    return plain(path, *_)

plain, small_files.os.open = small_files.os.open, never
sys.argv = ["scope-agent", "run", "-c", sys.argv[1]]
main()
"""
"""No mount can be made to hang in every place where tests run: a call that does not return is the same to Python."""


def until(condition: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.2)


def agent(*words: object) -> list[dict] | dict:
    command = [sys.executable, "-m", "agent", *map(str, words)]
    return json.loads(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout or "[]")


def states(config: Path) -> list[str]:
    return sorted(run["state"] for run in agent("acquisitions", "list", "--json", "-c", config))


def test_a_share_that_hangs_holds_up_neither_the_others_nor_the_end(tmp_path: Path) -> None:
    for name in ("share", "images"):
        (tmp_path / name).mkdir()
    config = tmp_path / "config.toml"
    config.write_text(
        'site = "lab"\ninstrument = "scope"\nstate = "state"\n[hook]\nspool = "spool"\nlogs = []\n'
        '[[watch]]\npath = "images"\nquiet_s = 1\n[delivery]\ntarget = "folder"\n[delivery.folder]\npath = "share"\n'
    )
    daemon = subprocess.Popen([sys.executable, "-c", _HANGS, str(config)], cwd=ROOT, stderr=subprocess.DEVNULL)
    try:
        for number, wanted in enumerate((["delivering"], ["delivering", "queued"])):
            tifffile.imwrite(tmp_path / "images" / f"{number}.tif", np.zeros((8, 8), np.uint16))
            until(lambda wanted=wanted: states(config) == wanted)
        assert agent("status", "--json", "-c", config)["running"]
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(15) == 0
    finally:
        daemon.kill()
        daemon.wait()
