"""How fast a delivery may go now: limits by time of day, and giving way while the microscope is busy."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from agent.clock import Clock, utc
from agent.delivery.settings import LimitSettings

Mode = Literal["full", "slow", "pause"]

_LOOK_S = 1.0
_SLICE_S = 0.25
_MIB = 1 << 20


@dataclass(slots=True)
class Pace:
    """Shared by all threads that send. `acquiring` is the hook's word."""

    limits: LimitSettings
    clock: Clock
    acquiring: Callable[[], bool]
    busy: Callable[[LimitSettings], bool] = field(default=lambda limits: machine_busy(limits))
    """Asked for everything that the hook does not know."""
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _never: threading.Event = field(default_factory=threading.Event)
    _mode: Mode = "full"
    _looked: float = float("-inf")
    _free_at: float = 0.0

    def mode(self) -> Mode:
        """What is allowed now; looked at once a second."""
        now = self.clock.monotonic()
        if now - self._looked >= _LOOK_S:
            self._looked = now
            if self.limits.while_acquiring == "off":
                self._mode = "full"
            else:
                busy = self.acquiring() or self.busy(self.limits)
                self._mode = self.limits.while_acquiring if busy else "full"
        return self._mode

    def mib_per_s(self) -> float:
        """The lowest of the limits that hold now; 0: none."""
        held = [self.limits.mib_per_s]
        if self.mode() == "slow":
            held.append(self.limits.slow_mib_per_s)
        if within(self.limits.busy_hours, self._minute()):
            held.append(self.limits.busy_mib_per_s)
        return min((limit for limit in held if limit), default=0.0)

    def spend(self, size: int, stop: Callable[[], bool]) -> None:
        """Return when `size` bytes may go, or `stop` says so."""
        limit = self.mib_per_s() * _MIB
        if not limit:
            return
        with self._lock:
            # Bytes that were not sent in time are not saved up for a burst.
            self._free_at = max(self._free_at, self.clock.monotonic()) + size / limit
            until = self._free_at
        while (left := until - self.clock.monotonic()) > 0 and not stop():
            self.clock.wait(self._never, min(left, _SLICE_S))

    def _minute(self) -> int:
        local = utc(self.clock.now_ns()).astimezone()
        return local.hour * 60 + local.minute


def within(hours: str, minute: int) -> bool:
    """Does a minute of the day lie in "08:00-18:00"? "22:00-06:00" goes over midnight; "" holds none."""
    if not hours:
        return False
    begin, end = (int(part[:2]) * 60 + int(part[3:]) for part in hours.split("-"))
    return begin <= minute < end if begin <= end else minute >= begin or minute < end


_last_disk: list[tuple[float, float]] = []


def machine_busy(limits: LimitSettings) -> bool:
    """Load, memory, disk and programs of this machine, as far as there are limits for them."""
    import psutil

    if limits.busy_cpu_percent and psutil.cpu_percent(None) > limits.busy_cpu_percent:
        return True
    if limits.low_memory_mib and psutil.virtual_memory().available < limits.low_memory_mib * _MIB:
        return True
    if limits.busy_disk_percent and _disk_percent() > limits.busy_disk_percent:
        return True
    if not limits.busy_processes:
        return False
    names = {name.lower().removesuffix(".exe") for name in limits.busy_processes}
    running = (process.info["name"] or "" for process in psutil.process_iter(["name"]))
    return any(name.lower().removesuffix(".exe") in names for name in running)


def _disk_percent() -> float:
    """Time that the busiest disk was busy since the last call, in percent; 0 where the system does not tell."""
    import time

    import psutil

    disks = psutil.disk_io_counters(perdisk=True).values()
    busy = max((float(getattr(disk, "busy_time", 0)) for disk in disks), default=0.0)
    now = time.monotonic()
    then = _last_disk.pop() if _last_disk else (now, busy)
    _last_disk.append((now, busy))
    passed = now - then[0]
    return (busy - then[1]) / 10 / passed if passed > 0 else 0.0
