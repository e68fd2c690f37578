"""Real microscope output: the corpus where it is present, and Micro-Manager's demo camera."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

_ROOT = Path(os.environ.get("SCOPE_AGENT_CORPUS", Path(__file__).parents[3].parent / "shared/data"))


@pytest.fixture(scope="session")
def corpus():
    """Folder of the corpus; tests that need it are skipped where it is absent."""
    if not (_ROOT / "MANIFEST.json").is_file():
        pytest.skip(f"no corpus of microscope files at {_ROOT}: set SCOPE_AGENT_CORPUS")
    return _ROOT


@pytest.fixture(scope="session")
def truths(corpus):
    """What independent readers say, by item."""
    return {item["path"]: item for item in json.loads((corpus / "MANIFEST.json").read_text())}


_ACQUIRE = Path(__file__).parent / "demo_acquisition.py"


@pytest.fixture(scope="session")
def acquire(tmp_path_factory):
    """Runs the demo camera in a process of its own; gives the folder that it wrote to."""
    pytest.importorskip("mm_test_adapters", reason="Micro-Manager's demo adapters are not installed")

    def run(*outputs, how="complete", positions=2):
        folder = tmp_path_factory.mktemp("demo")
        command = [sys.executable, "-W", "ignore", str(_ACQUIRE), str(folder), how, str(positions), *outputs]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        expected = -9 if how == "kill" else 0
        if sys.platform != "win32":
            assert done.returncode == expected, done.stderr[-2000:]
        return folder

    return run


@pytest.fixture(scope="session")
def demo(acquire):
    """A complete run of 2 positions x 2 times x 2 channels x 3 planes: `x.ome.tiff` and `y.ome.zarr`."""
    return acquire("x.ome.tiff", "y.ome.zarr")
