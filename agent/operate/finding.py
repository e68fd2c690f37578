"""One finding of `scope-agent check`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Literal

from agent.errors import ScopeAgentError

Level = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Finding:
    """`text` says what is wrong and what to do, in one line."""

    level: Level
    subject: str
    text: str

    def as_dict(self) -> dict[str, str]:
        return asdict(self)


def tried(subject: str, action: Callable[[], object], fine: str) -> Finding:
    """ok with `fine`, or what the action says is wrong."""
    try:
        action()
    except (ScopeAgentError, OSError) as error:
        return Finding("fail", subject, str(error))
    return Finding("ok", subject, fine)
