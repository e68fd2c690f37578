"""Headers that claim terabytes cost neither memory nor time, whatever the format.

SCOPE_AGENT_LONG=1 tries a hundred claims a format instead of three.
"""

import json
import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT

ROUNDS = 100 if os.environ.get("SCOPE_AGENT_LONG") else 3


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the memory of a process is limited with RLIMIT_AS")
@pytest.mark.timeout(1800)
def test_no_claim_costs_memory_or_time(corpus, tmp_path):
    command = [sys.executable, "-m", "tests.unit.formats.claims", str(corpus), str(tmp_path), str(ROUNDS), "1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout) == []
