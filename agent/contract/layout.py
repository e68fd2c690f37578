"""Where a dataset lies at the facility, and what its own files are called.

{site}/{instrument}/{YYYY}/{MM}/{DD}/{HHMMSS}_{name}_{id8}/
  data/...  metadata.companion.ome  acquisition.json  device-state.json.gz
  ro-crate-metadata.json  ro-crate-preview.html  methods.txt  manifest-sha256.txt
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import PurePosixPath

from agent.clock import utc
from agent.contract.ids import check_slug, is_slug, slug
from agent.errors import Rejected

DATA = "data"
COMPANION = "metadata.companion.ome"
RECORD = "acquisition.json"
DEVICE_STATE = "device-state.json.gz"
CRATE = "ro-crate-metadata.json"
PREVIEW = "ro-crate-preview.html"
METHODS = "methods.txt"
MANIFEST = "manifest-sha256.txt"

STAGED = "staged:"
"""Before the path of a dataset: what a target gathers of it until it is committed."""

_MAX_PATH = 1024
# Asked for every file of a dataset, several times.
_REFUSED = re.compile(r"[\\\x00-\x1f\x7f]")
_LEVELS = re.compile(r"(?:^|/)(?:\.\.?)?(?:/|\Z)")


def dataset_path(site: str, instrument: str, name: str, started_ns: int, acquisition_id: str) -> str:
    """POSIX path of the dataset below the facility's root; the last eight digits of the id end it."""
    when = utc(started_ns)
    id8 = acquisition_id.replace("-", "")[-8:]
    return str(
        PurePosixPath(
            check_slug("site", site),
            check_slug("instrument", instrument),
            f"{when:%Y}",
            f"{when:%m}",
            f"{when:%d}",
            f"{when:%H%M%S}_{slug(name)}_{id8}",
        )
    )


@lru_cache(maxsize=64)
def check_dataset_path(path: str) -> str:
    """Return a dataset path that a client sent, or raise Rejected: six levels of safe characters, nothing else."""
    parts = path.split("/")
    if len(parts) != 6 or not all(is_slug(p) or (len(p) <= 128 and _is_leaf(p)) for p in parts):
        raise Rejected(f"not a dataset path: {path!r}: use site/instrument/YYYY/MM/DD/HHMMSS_name_id8")
    return path


def _is_leaf(part: str) -> bool:
    return bool(part) and all(c.isascii() and (c.isalnum() or c in "._-") for c in part) and part not in (".", "..")


def check_member(path: str) -> str:
    """Return the relative POSIX path of a file inside a dataset, or raise Rejected.

    Refuses absolute paths, `..`, empty levels, backslashes, drive letters and control characters.
    """
    bad = (
        not path
        or len(path.encode()) > _MAX_PATH
        or _REFUSED.search(path) is not None
        or _LEVELS.search(path) is not None
        or (len(path) > 1 and path[1] == ":")
    )
    if bad:
        raise Rejected(f"not a file path inside a dataset: {path!r}")
    return path
