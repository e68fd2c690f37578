"""The commands; the only place that prints."""

from agent.cli.app import main

__all__ = ["main"]
