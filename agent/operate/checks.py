"""`scope-agent check`: what is wrong and what to do, in plain words."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from agent.clock import Clock, SystemClock
from agent.config import Config, load
from agent.errors import Damaged, ScopeAgentError
from agent.lock import is_held
from agent.operate import far, folders, hooked
from agent.operate.finding import Finding, tried
from agent.outbox import Outbox
from agent.outbox.recovery import damage
from agent.snapshot import load_profile


def check_all(path: Path, clock: Clock | None = None) -> list[Finding]:
    """Every check that is possible; without a readable config there is only one."""
    try:
        config = load(path)
    except ScopeAgentError as error:
        return [Finding("fail", "config", str(error))]
    return [Finding("ok", "config", str(path)), *check(config, clock or SystemClock())]


def check(config: Config, clock: Clock) -> Iterator[Finding]:
    """Folders first, then what they hold, then what is far."""
    yield from folders.check(config)
    yield from hooked.check(config)
    yield tried("profile", lambda: load_profile(config.profile), str(config.profile or "none is named"))
    yield from _outbox(config)
    yield _daemon(config)
    yield from far.check(config, clock)


def _outbox(config: Config) -> Iterator[Finding]:
    path = config.state / "outbox.sqlite"
    try:
        wrong = damage(path)
        if wrong is None and path.exists():
            with contextlib.closing(Outbox.open(path)) as outbox:
                found = outbox.check()
    except Damaged as error:
        wrong = str(error.__cause__)
    except ScopeAgentError as error:
        yield Finding("fail", "outbox", str(error))
        return
    if wrong is not None:
        yield Finding("fail", "outbox", f"{path} is damaged ({wrong}): the daemon sets it aside at its next start")
    elif path.exists():
        for line in found:
            yield Finding("fail", "outbox", line)
        if not found:
            yield Finding("ok", "outbox", str(path))


def _daemon(config: Config) -> Finding:
    if is_held(config.state, "daemon"):
        return Finding("ok", "daemon", "runs")
    return Finding("warn", "daemon", "does not run: start the service, or 'scope-agent run -c CONFIG'")
