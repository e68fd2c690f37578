"""What the instrument was: profile, live state, files and session in one frozen value."""

from agent.snapshot.model import Block, Image, Planes, Snapshot, StageLabel
from agent.snapshot.profile import Profile, load_profile
from agent.snapshot.take import take

__all__ = ["Block", "Image", "Planes", "Profile", "Snapshot", "StageLabel", "load_profile", "take"]
