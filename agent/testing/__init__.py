"""Fakes with the same contract suite as the real things; never imported at run time."""
