"""A delivery stays within 200 MiB, whatever the dataset and the workers; benchmarks/memory.py has more shapes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests import servers
from tests.conftest import ROOT

_CODE = """
import os, sys
sys.path[:0] = [{root!r}, {root!r} + "/benchmarks"]
os.environ["FOLDER"] = {folder!r}
from pathlib import Path
import memory
print(memory.peak(Path({folder!r}), {shape}, {workers}))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no module resource")
@pytest.mark.parametrize(("shape", "workers"), [((64, 16 << 20), 64), ((20_000, 1 << 10), 64)])
def test_many_workers_need_no_more_than_200_mib(tmp_path: Path, shape: tuple[int, int], workers: int) -> None:
    servers.obstore_or_skip()
    code = _CODE.format(root=str(ROOT), folder=str(tmp_path), shape=shape, workers=workers)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert float(done.stdout.split()[-1]) < 200
