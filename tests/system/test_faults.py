"""A short run of faults against the real processes; benchmarks/faults.py runs the long one."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from tests import servers
from tests.system.fault_rounds import campaign

ROUNDS = int(os.environ.get("SCOPE_AGENT_FAULTS", "25"))


@pytest.mark.system
@pytest.mark.timeout(600 + 10 * ROUNDS)
@pytest.mark.parametrize("far", ["facility", "folder", "s3"])
def test_whatever_happens_everything_arrives_once(tmp_path: Path, far: str) -> None:
    seed = int(os.environ.get("SCOPE_AGENT_SEED", random.randrange(1 << 30)))
    print("seed", seed)
    if far == "s3":
        servers.obstore_or_skip()
        servers.program("weed")
    site = campaign(tmp_path, ROUNDS, seed, print, far)
    assert site.truth
    assert sum(site.counts.values()) == ROUNDS
