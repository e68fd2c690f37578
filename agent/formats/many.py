"""Is every one of many files whole?"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from agent.formats import binary, tiff_layout
from agent.formats.port import Verdict, Wholeness

MAX_OPENED = 2000
"""Of more files than that the newest are opened, and of the others only the size is looked at."""
_ORDER = (Wholeness.DAMAGED, Wholeness.GROWING, Wholeness.UNKNOWN)


def tiff_verdict(path: Path) -> Verdict:
    """Of one TIFF file, with its name in the reason."""
    found = tiff_layout.layout(path).verdict
    return found if found.state is Wholeness.WHOLE else Verdict(found.state, f"{path.name}: {found.reason}")


def tiffs(paths: Iterable[Path]) -> list[Path]:
    """Those whose name ends as a TIFF's does."""
    return [path for path in paths if path.suffix.lower() in (".tif", ".tiff", ".stk")]


def worst(paths: Iterable[Path], judge: Callable[[Path], Verdict] = tiff_verdict) -> Verdict | None:
    """The worst verdict about any of the files, None when all are whole. Writers write one after the other:
    of very many files those that were changed last are opened."""
    listed = list(paths)
    if len(listed) > MAX_OPENED:
        states = {path: path.stat() for path in listed}
        empty = next((path for path in listed if not states[path].st_size), None)
        if empty is not None:
            return binary.growing(f"{empty.name} is empty")
        listed = sorted(listed, key=lambda path: states[path].st_mtime_ns)[-MAX_OPENED // 4 :]
    found = [judge(path) for path in listed]
    return next((one for state in _ORDER for one in found if one.state is state), None)


def missing_verdict(missing: tuple[str, ...], there: int) -> Verdict | None:
    """Growing while announced files are not there; None when none is missing."""
    if not missing:
        return None
    names = ", ".join(missing[:3]) + (" ..." if len(missing) > 3 else "")
    return binary.growing(f"{len(missing)} of {len(missing) + there} announced files are not there: {names}")


def planes(paths: Iterable[Path]) -> int:
    """Images of all TIFF files whose data is really there."""
    return sum(tiff_layout.layout(path).planes for path in tiffs(paths))
