"""The hook: runs inside the acquisition process and journals what its cores do.

    .pth -> boot (waits for pymmcore-plus) -> wiring (connects to the signals of each core)
         -> recorder (callbacks, one object a core) -> journal (batched lines)
         -> spool/<unix ms>-<pid>-<random>.jsonl

It imports nothing of ours and is copied as `scope_agent_hook` into the environment of the acquisition
software, so imports are relative, it runs on Python 3.10 too, and this module imports nothing: each start of
Python in that environment executes it.
"""

TYPE_CHECKING = False  # importing typing would cost every Python start a few milliseconds
if TYPE_CHECKING:
    import os
    from pathlib import Path

    from pymmcore_plus import CMMCorePlus

__version__ = "0.1.0"


def attach(core: "CMMCorePlus", spool: "os.PathLike[str] | str | None" = None) -> None:
    """Journal everything that `core` does; for applications that no .pth reaches.

    A second call for the same core does nothing. Never raises: what goes wrong is counted in the journal.
    """
    from .wiring import attach as attach_core

    attach_core(core, spool)


def default_spool() -> "Path":
    """The folder of the journals: `SCOPE_AGENT_SPOOL`, else that of the installation, else the platform's."""
    from .spool import default_spool as find

    return find()
