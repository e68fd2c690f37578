"""The long run of faults: `python benchmarks/faults.py [ROUNDS] [SEED]`, 500 rounds by default."""

from __future__ import annotations

import random
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.system.fault_rounds import campaign


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(1 << 30)
    print(f"seed {seed}", flush=True)
    began = time.monotonic()
    folder = Path(tempfile.mkdtemp())
    site = campaign(folder, rounds, seed, lambda text: print(text, flush=True))
    seconds = time.monotonic() - began
    print(f"{rounds} rounds in {seconds:.0f} s: {len(site.truth)} files, {len(site.replaced)} changed, {site.counts}")
    print("every byte is at the facility once, every invariant holds, nothing stayed behind")


if __name__ == "__main__":
    main()
