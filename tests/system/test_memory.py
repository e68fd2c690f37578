"""The daemon's memory hardly grows with a dataset; the full size is benchmarks/memory.py --daemon."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.system, pytest.mark.slow, pytest.mark.timeout(600)]
FEW, MANY = 1_000, 20_000
MOST_BYTES = 2_000
"""For each further file, with room for what two runs of the same differ by; a hundred thousand make 1,000 each."""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux keeps the peak; elsewhere it is sampled")
@pytest.mark.parametrize("kind", ["folder", "facility"])
def test_a_file_more_costs_the_daemon_little(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    from benchmarks.memory import BAR_MB, peak_of_daemon

    few, many = (peak_of_daemon(tmp_path / "site", count, kind, 4) for count in (FEW, MANY))
    assert many < BAR_MB
    assert (many - few) * 1e6 < (MANY - FEW) * MOST_BYTES
