"""Is there what the analyses compute with? The daemon and the documents do without."""

from __future__ import annotations

from importlib.util import find_spec

from agent.errors import Rejected


def check_installed() -> None:
    """Raises Rejected, before `agent.calibration.run` is imported, where the extra `qc` is not installed."""
    if find_spec("scipy") is None:
        raise Rejected("the analysis of a calibration needs scipy: pip install 'scope-agent[qc]'")
