"""Another program, as a vendor's would: writes a TIFF stack plane by plane into a folder.

It knows nothing of scope-agent. Usage: vendor.py FILE.tif
"""

import sys
import time
from pathlib import Path

import numpy as np
import tifffile


def main(path: Path) -> None:
    random = np.random.default_rng(7)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tifffile.TiffWriter(path) as writer:
        for _ in range(5):
            writer.write(random.integers(90, 4000, (256, 256), dtype=np.uint16), contiguous=False)
            time.sleep(0.2)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
