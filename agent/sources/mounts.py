"""Is a folder on this machine or on a network share?"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path

from agent.sources.longpaths import plain

_REMOTE = frozenset(
    (
        *("nfs", "nfs4", "cifs", "smb", "smb2", "smb3", "smbfs", "ncpfs", "afs", "afpfs", "webdav", "davfs"),
        *("9p", "ceph", "glusterfs", "lustre", "gpfs", "beegfs", "vboxsf", "prl_fs", "vmhgfs", "virtiofs"),
        *("drvfs", "osxfuse", "macfuse"),
    )
)
_DRIVE_REMOTE = 4


def is_network(path: Path) -> bool | None:
    """True for a network share, which tells of no events; None where it cannot be told."""
    if sys.platform == "win32":
        return _windows(path)
    kind = file_system(path)
    return None if kind is None else kind in _REMOTE or kind.startswith("fuse")


def file_system(path: Path) -> str | None:
    """Kind of the file system that holds `path` (`ext4`, `nfs4`); None where it cannot be told, as on Windows."""
    try:
        return _kind_of(path.stat().st_dev, str(path)) if sys.platform != "win32" else None
    except OSError:
        return None


def is_away(folder: str, device: str = "") -> bool:
    """Not there or not readable; or empty and on another device than its files were (`device`), as a mount point is
    while its share is away."""
    try:
        with os.scandir(folder) as entries:
            if next(entries, None) is not None:
                return False
        return bool(device) and device != str(os.stat(folder).st_dev)  # noqa: PTH116
    except OSError:
        return True


def away_below(roots: Sequence[str]) -> Callable[[str, str], bool]:
    """A question about a path and the identity (`device:number`) of what was there: is its watched folder away?"""

    def asked(path: str, file_id: str) -> bool:
        device = file_id.rpartition(":")[0]
        return any(Path(path).is_relative_to(root) and is_away(root, device) for root in roots)

    return asked


@lru_cache(maxsize=256)
def _kind_of(device: int, path: str) -> str | None:
    """Name of the file system that holds `path`; `device` makes a new mount a new question."""
    import psutil

    real = os.path.realpath(path)
    best, kind = "", None
    try:
        mounts = psutil.disk_partitions(all=True)
    except (OSError, psutil.Error):
        return None
    for mount in mounts:
        point = mount.mountpoint.rstrip("/") + "/"
        if (real + "/").startswith(point) and len(point) >= len(best):
            best, kind = point, mount.fstype.lower()
    return kind


def _windows(path: Path) -> bool | None:
    if sys.platform == "win32":
        import ctypes

        anchor = Path(plain(str(path.absolute()))).anchor
        if anchor.startswith("\\\\") and not anchor.startswith("\\\\.\\"):
            return True
        drive_type: int = ctypes.windll.kernel32.GetDriveTypeW(anchor)
        return drive_type == _DRIVE_REMOTE if drive_type > 1 else None
    return None
