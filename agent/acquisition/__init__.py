"""What the events add up to: one state machine an acquisition."""

from agent.acquisition.model import Acquisition, FoundBy, SourceFile, State
from agent.acquisition.moves import TRANSITIONS, IllegalMove, fold, move

__all__ = [
    "TRANSITIONS",
    "Acquisition",
    "FoundBy",
    "IllegalMove",
    "SourceFile",
    "State",
    "fold",
    "move",
]
