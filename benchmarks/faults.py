"""The long run of faults: `python benchmarks/faults.py [ROUNDS] [SEED] [FAR SIDES]`.

500 rounds by default, half of them with our own facility as the far side, the others with an S3 store (SeaweedFS)
and with a share that comes and goes. Run it as root to have disks that fill up as well. What did not hold stays in
the folder that it prints.
"""

from __future__ import annotations

import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.system.fault_rounds import campaign


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(1 << 30)
    sides = sys.argv[3].split(",") if len(sys.argv) > 3 else ["facility", "facility", "folder", "s3"]
    for number, far in enumerate(sorted(set(sides))):
        share = rounds * sides.count(far) // len(sides)
        folder = Path(tempfile.mkdtemp())
        print(f"{far}: seed {seed + number}, folder {folder}", flush=True)
        began = time.monotonic()
        site = campaign(folder, share, seed + number, lambda text: print(text, flush=True), far)
        seconds = time.monotonic() - began
        changed = f"{len(site.replaced)} changed, {len(site.removed)} deleted"
        print(f"{far}: {share} rounds in {seconds:.0f} s, {len(site.truth)} files, {changed}, {site.counts}")
        shutil.rmtree(folder, ignore_errors=True)
    print("every byte is there once, every event was published, every invariant holds, nothing stayed behind")


if __name__ == "__main__":
    main()
