"""What the idle daemon loads: nothing heavy, whatever else is installed beside it."""

from __future__ import annotations

import json
import subprocess
import sys

from tests.conftest import ROOT

HEAVY = [
    *("numpy", "pandas", "tifffile", "ome_types", "lxml", "fastapi", "uvicorn", "sqlalchemy"),
    *("pymmcore_plus", "matplotlib", "scipy", "h5py", "obstore", "rich.live", "asyncio"),
]
ASK = (
    "import agent.daemon, agent.logs, agent.cli.app, json, sys; print(json.dumps([m for m in {0} if m in sys.modules]))"
)


def test_the_daemon_loads_nothing_heavy() -> None:
    done = subprocess.run(
        [sys.executable, "-c", ASK.format(HEAVY)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == []


def test_sqlite_utils_still_knows_what_is_loaded_later() -> None:
    """What was kept away while sqlite-utils was loaded can be loaded afterwards."""
    code = "import agent.outbox, sys; assert 'numpy' not in sys.modules; import numpy; print(numpy.zeros(1).sum())"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "0.0", done.stderr
