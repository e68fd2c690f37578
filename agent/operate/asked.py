"""The daemon answers `check --as-daemon` itself: what it can reach is what its account can reach.

The command puts a file into the state folder; the daemon, which looks once a second, answers beside it.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path

from agent.errors import Misconfigured, Retryable
from agent.operate.finding import Finding

_ASKED, _ANSWER = "check-asked", "check.json"


def ask(state: Path, seconds: float = 60) -> list[Finding]:
    """What the running daemon finds. Raises Retryable when it does not answer in time."""
    answer = state / _ANSWER
    try:
        answer.unlink(missing_ok=True)
        (state / _ASKED).touch()
    except OSError as error:
        raise Misconfigured(
            f"{state} cannot be written ({error.strerror}): run this as administrator or root"
        ) from error
    for _ in range(int(seconds * 10)):
        if answer.exists():
            said = json.loads(answer.read_text(encoding="utf-8"))
            return [Finding(**one) for one in said]
        threading.Event().wait(0.1)
    (state / _ASKED).unlink(missing_ok=True)
    raise Retryable("the daemon does not answer: does it run? See 'scope-agent status'")


class Answering:
    """Owned by the daemon. A stuck check holds up nothing else."""

    def __init__(self, state: Path, check: Callable[[], list[Finding]]) -> None:
        self._state, self._check = state, check

    def run(self, stop: threading.Event) -> None:
        """Answer until `stop`: a duty of the supervisor."""
        while not stop.wait(1.0):
            if (self._state / _ASKED).exists():
                (self._state / _ASKED).unlink(missing_ok=True)
                self._answer()

    def _answer(self) -> None:
        making = self._state / f"{_ANSWER}.making"
        making.write_text(json.dumps([one.as_dict() for one in self._check()]), encoding="utf-8")
        making.replace(self._state / _ANSWER)
