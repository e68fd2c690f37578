"""A short run of faults against the real processes; benchmarks/faults.py runs the long one."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from tests.system.fault_rounds import campaign

ROUNDS = int(os.environ.get("SCOPE_AGENT_FAULTS", "25"))


@pytest.mark.system
@pytest.mark.timeout(600 + 10 * ROUNDS)
def test_whatever_happens_everything_arrives_once(tmp_path: Path) -> None:
    seed = int(os.environ.get("SCOPE_AGENT_SEED", random.randrange(1 << 30)))
    print("seed", seed)
    site = campaign(tmp_path, ROUNDS, seed, print)
    assert site.truth
    assert sum(site.counts.values()) == ROUNDS
