"""One owner for every thread: started in order, stopped in reverse, a failing one becomes a state and is restarted."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from agent.clock import Clock, SystemClock

log = logging.getLogger(__name__)

_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 60.0
_RECOVERY_S = 10.0
_TIRING, _LAZIEST = 1.05, 3.0


@dataclass(slots=True)
class Duty:
    """A thread: `body` runs until its stop event is set. `problem` is why it failed last."""

    name: str
    body: Callable[[threading.Event], None]
    stop: threading.Event = field(default_factory=threading.Event)
    problem: str | None = None
    well_at: float = 0.0
    """When it counts as recovered if nothing fails until then."""
    thread: threading.Thread | None = None


class Supervisor:
    """Owns the duties. Not for several threads."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._duties: list[Duty] = []

    def start(self, name: str, body: Callable[[threading.Event], None]) -> Duty:
        """Start a duty; the last started is the first stopped."""
        duty = Duty(name, body)
        duty.thread = threading.Thread(target=self._run, args=(duty,), name=f"scope-agent-{name}", daemon=True)
        self._duties.append(duty)
        duty.thread.start()
        return duty

    def loop(self, name: str, step: Callable[[], bool], idle_s: float) -> Duty:
        """Start a duty that calls `step` again and again, resting `idle_s` after each that had nothing to do.

        The longer there was nothing to do the longer the rest, up to three times, so that an idle agent costs little.
        """

        def body(stop: threading.Event) -> None:
            rest = idle_s
            while not stop.is_set():
                if step():
                    rest = idle_s
                else:
                    self._clock.wait(stop, rest)
                    rest = min(rest * _TIRING, idle_s * _LAZIEST)

        return self.start(name, body)

    def problems(self) -> list[str]:
        """What fails now, or failed a moment ago, one line a duty."""
        now = self._clock.monotonic()
        return [f"{duty.name}: {duty.problem}" for duty in self._duties if duty.problem and now < duty.well_at]

    def ask_to_stop(self) -> None:
        """Tell every duty but the first started, which outlives the others, that it is time."""
        for duty in self._duties[1:]:
            duty.stop.set()

    def stop(self, seconds: float) -> list[str]:
        """Stop all, last started first, within `seconds` altogether; returns the names of those still running."""
        deadline = self._clock.monotonic() + seconds
        self.ask_to_stop()
        for duty in reversed(self._duties):
            duty.stop.set()
            if duty.thread is not None:
                duty.thread.join(max(0.05, deadline - self._clock.monotonic()))
        return [duty.name for duty in self._duties if duty.thread is not None and duty.thread.is_alive()]

    def _run(self, duty: Duty) -> None:
        pause = _FIRST_PAUSE_S
        while not duty.stop.is_set():
            began = self._clock.monotonic()
            try:
                duty.body(duty.stop)
            except Exception as error:  # the supervisor: any failure of a duty becomes its state
                duty.problem = f"{type(error).__name__}: {error}"
                log.exception("%s failed", duty.name, extra={"action": "duty.failed"})
                if self._clock.monotonic() - began > _LONGEST_PAUSE_S:
                    pause = _FIRST_PAUSE_S
                duty.well_at = self._clock.monotonic() + pause + _RECOVERY_S
                self._clock.wait(duty.stop, pause)
                pause = min(pause * 2, _LONGEST_PAUSE_S)
