"""The errors of the hook's installer. It imports nothing of ours, so they are not in the agent's tree."""

from __future__ import annotations


class HookError(OSError):
    """The hook cannot be installed, removed or looked at; the message is one line that says what to do."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""
