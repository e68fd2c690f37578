"""Is it whole? Which files belong together? What does its metadata say?"""

from agent.formats.port import Dataset, Format, Metadata, Verdict, Wholeness
from agent.formats.registry import (
    FORMATS,
    by_name,
    configure,
    datasets_in,
    datasets_written_to,
    identify,
    planes_on_disk,
)

__all__ = [
    "FORMATS",
    "Dataset",
    "Format",
    "Metadata",
    "Verdict",
    "Wholeness",
    "by_name",
    "configure",
    "datasets_in",
    "datasets_written_to",
    "identify",
    "planes_on_disk",
]
