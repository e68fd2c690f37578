"""Install, upgrade in place, and go back when the new version does not come up healthy.

stop the old -> copy its outbox aside -> register and start the new -> healthy? done
                                                                    -> not: stop, register and start the old;
                                                                       it refuses the outbox? put the copy back
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from agent.clock import Clock
from agent.errors import Retryable
from agent.outbox.recovery import PARTS, beside
from agent.service.plan import Plan, needs_password
from agent.service.scm import Scm

log = logging.getLogger(__name__)

_STOP_S = 30.0
_LOOK_S = 0.5

Look = Callable[[], "str | None"]
"""The version that runs and is well; None while none is."""


@dataclass(frozen=True, slots=True)
class Switch:
    """`healthy` says which version runs well, if any; `patience_s` is how long one may take to come up."""

    scm: Scm
    healthy: Look
    clock: Clock
    wait: Callable[[float], object]
    patience_s: float = 90.0

    def to(self, plan: Plan, version: str, state: Path) -> None:
        """Make `plan` the service that runs. Raises Retryable when it did not come up, and the old one is back."""
        before, account = self.scm.command(), self.scm.account()
        if before is not None:
            self.stop()
            _copy(state / "outbox.sqlite", _kept(state))
        self.scm.register(plan)
        try:
            self.scm.start()
            if self._comes_up(version):
                return
            why = f"did not come up healthy within {self.patience_s:g} s"
        except Retryable as error:
            why = str(error)
        self.stop()
        if before is None or before == plan.command:
            raise Retryable(f"scope-agent {version} {why}: see the log in {state / 'log'}")
        # A new account may be what is wrong; one that has a password cannot be named again without it.
        free = account is not None and not needs_password(account)
        who = Plan(before, str(account)) if free else Plan(before, plan.account, plan.password)
        self._back(who, state)
        raise Retryable(f"scope-agent {version} {why}; the version before runs again: see {state / 'log'}")

    def stop(self) -> None:
        """Stop it, and wait until it is. Raises Retryable when it takes too long."""
        self.scm.stop()
        deadline = self.clock.monotonic() + _STOP_S
        while not self.scm.is_stopped():
            if self.clock.monotonic() >= deadline:
                raise Retryable(f"the service did not stop within {_STOP_S:g} s: end it in the Task Manager")
            self.wait(_LOOK_S)

    def _comes_up(self, version: str | None) -> bool:
        deadline = self.clock.monotonic() + self.patience_s
        while self.clock.monotonic() < deadline:
            found = self.healthy()
            if found is not None and version in (None, found):
                return True
            self.wait(_LOOK_S)
        return False

    def _back(self, plan: Plan, state: Path) -> None:
        self.scm.register(plan)
        self.scm.start()
        if self._comes_up(None):
            return
        # A schema that only the new version knows: what it did since is told again by the sources and the facility.
        self.stop()
        _copy(_kept(state), state / "outbox.sqlite")
        self.scm.start()
        if not self._comes_up(None):
            log.error("the version before does not come up either", extra={"action": "service.down"})


def _kept(state: Path) -> Path:
    return state / "before-upgrade" / "outbox.sqlite"


def _copy(path: Path, to: Path) -> None:
    """All parts of a database that nobody has open, as they are."""
    to.parent.mkdir(parents=True, exist_ok=True)
    for part in PARTS:
        beside(to, part).unlink(missing_ok=True)
        if beside(path, part).exists():
            shutil.copy2(beside(path, part), beside(to, part))
