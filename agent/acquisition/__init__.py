"""What the events add up to: one state machine an acquisition."""

from agent.acquisition.files import Files, SourceFile, compact
from agent.acquisition.model import Acquisition, FoundBy, State
from agent.acquisition.moves import TRANSITIONS, IllegalMove, fold, move

__all__ = [
    "TRANSITIONS",
    "Acquisition",
    "Files",
    "FoundBy",
    "IllegalMove",
    "SourceFile",
    "State",
    "compact",
    "fold",
    "move",
]
