"""Quality control: analyses (pure functions on arrays), the registry of results, and what is in force for an image."""

from agent.calibration.entry import Entry, Holds, Input, entry_of
from agent.calibration.holding import Setup, setup_of, state_at, state_for
from agent.calibration.registry import Due, Registry
from agent.calibration.result import KINDS, Analysis, Kind, Measurement
from agent.calibration.settings import CalibrationSettings

__all__ = [
    "KINDS",
    "Analysis",
    "CalibrationSettings",
    "Due",
    "Entry",
    "Holds",
    "Input",
    "Kind",
    "Measurement",
    "Registry",
    "Setup",
    "entry_of",
    "setup_of",
    "state_at",
    "state_for",
]
