"""The live mirror: the last thing every instrument said over MQTT. Nothing of it outlives the process."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from agent.clock import Clock, SystemClock
from agent.contract.event import MAX_PAYLOAD, AcquisitionData, CalibrationData, Progress, StatusData
from agent.contract.ids import is_slug
from agent.facility.catalogue import Measurement
from agent.facility.measured import Light, measurements

log = logging.getLogger(__name__)

_MAX_INSTRUMENTS = 2000
_MAX_ALERTS = 50
_MAX_LIGHTS = 20
_Model = TypeVar("_Model", bound=BaseModel)


class Alert(BaseModel):
    """An alert that is on."""

    model_config = ConfigDict(frozen=True)

    code: str
    text: str
    since: str | None = None


class Live(BaseModel):
    """What an instrument said last; None where it said nothing yet."""

    model_config = ConfigDict(frozen=True)

    site: str
    instrument: str
    status: StatusData | None = None
    status_at: str | None = None
    current: AcquisitionData | None = None
    progress: Progress | None = None
    progress_at: float | None = None
    """Monotonic seconds, for the rate."""
    frames_per_s: float | None = None
    last_event: str | None = None
    last_event_at: str | None = None
    alerts: dict[str, Alert] = {}
    lights: dict[str, Light] = {}
    """Quality control by kind."""

    @property
    def key(self) -> str:
        return f"{self.site}/{self.instrument}"


class Mirror:
    """Keeps `Live` per instrument; the broker's thread writes, and calls `on_change`; the page reads."""

    def __init__(self, prefix: str, clock: Clock | None = None) -> None:
        self._levels = prefix.split("/")
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()
        self._live: dict[str, Live] = {}
        self._connected: bool | None = None
        self.on_change: Callable[[], None] = lambda: None
        self.on_measured: Callable[[list[Measurement]], None] = lambda found: None
        self.deliveries = 0
        """Rises with every delivery that an instrument announced, to this or to another replica."""

    @property
    def connected(self) -> bool | None:
        """Is the broker there? None where none is configured."""
        return self._connected

    def set_connected(self, connected: bool) -> None:
        self._connected = connected
        self.on_change()

    def all(self) -> dict[str, Live]:
        """By `site/instrument`, a snapshot."""
        with self._lock:
            return dict(sorted(self._live.items()))

    def is_acquiring(self, key: str) -> bool:
        """Does `site/instrument` acquire now, as far as anybody said?"""
        with self._lock:
            live = self._live.get(key)
        on = live is not None and (live.status is None or live.status.state != "offline")
        return on and live is not None and live.current is not None and live.current.finished_at is None

    def apply(self, topic: str, payload: bytes) -> None:
        """Take one message; what is not understood is logged and left alone."""
        levels = topic.split("/")
        count = len(self._levels)
        site, instrument, *rest = levels[count:] if len(levels) > count + 2 else ("", "", "")
        if levels[:count] != self._levels or not is_slug(site) or not is_slug(instrument):
            return
        if len(payload) > MAX_PAYLOAD:
            log.warning("a message on %r is larger than %d bytes: ignored", topic[:200], MAX_PAYLOAD)
            return
        key = f"{site}/{instrument}"
        with self._lock:
            if key not in self._live and len(self._live) >= _MAX_INSTRUMENTS:
                return
            before = self._live.get(key, Live(site=site, instrument=instrument))
            try:
                after = before.model_copy(update=self._change(before, "/".join(rest), payload))
            except (ValueError, ValidationError) as error:
                log.warning("a message on %r is not understood: %s", topic[:200], str(error).splitlines()[0])
                return
            self._live[key] = after
        if after != before:
            self.on_change()

    def _change(self, before: Live, kind: str, payload: bytes) -> dict[str, Any]:
        """The fields that a message changes. Raises ValueError."""
        if kind.startswith("alert/"):
            return {"alerts": _alerts(before.alerts, kind.removeprefix("alert/"), payload)}
        if kind == "progress":
            return self._progress(before, _read(Progress, _object(payload)))
        if kind == "status":
            data, at = _opened(payload)
            return {"status": _read(StatusData, data), "status_at": at} if data else {}
        if kind == "acquisition/current":
            data, _ = _opened(payload)
            return self._current(before, _read(AcquisitionData, data) if data else None)
        if kind.startswith("calibration/"):
            return self._calibrated(before, kind.removeprefix("calibration/"), payload)
        if kind.startswith("acquisition/"):
            self.deliveries += kind == "acquisition/verified"
            _, at = _opened(payload)
            if at is not None and before.last_event_at is not None and at < before.last_event_at:
                return {}  # sent again for somebody who missed it
            return {"last_event": kind.removeprefix("acquisition/")[:40], "last_event_at": at}
        return {}

    def _current(self, before: Live, current: AcquisitionData | None) -> dict[str, Any]:
        same = current is not None and before.current is not None and before.current.id == current.id
        return {"current": current} if same else {"current": current, "frames_per_s": None}

    def _calibrated(self, before: Live, kind: str, payload: bytes) -> dict[str, Any]:
        kept = {known: light for known, light in before.lights.items() if known != kind}
        data, _ = _opened(payload)
        if data is None or not is_slug(kind) or len(kept) >= _MAX_LIGHTS:
            return {"lights": kept}
        said = _read(CalibrationData, data)
        self.on_measured(measurements(before.site, before.instrument, said))
        return {"lights": dict(sorted((kept | {kind: Light.of(kind, said)}).items()))}

    def _progress(self, before: Live, now: Progress) -> dict[str, Any]:
        at, rate = self._clock.monotonic(), None
        earlier = before.progress
        if earlier and before.progress_at is not None and earlier.acquisition == now.acquisition:
            seconds = at - before.progress_at
            rate = max(0.0, now.frames - earlier.frames) / seconds if seconds > 0.05 else before.frames_per_s
        return {"progress": now, "progress_at": at, "frames_per_s": rate}


def _alerts(before: Mapping[str, Alert], code: str, payload: bytes) -> dict[str, Alert]:
    kept = {known: alert for known, alert in before.items() if known != code}
    if not payload or not is_slug(code) or len(kept) >= _MAX_ALERTS:
        return kept
    said, at = _opened(payload)
    if said is None:
        return kept
    text = next((str(said[key]) for key in ("message", "text", "reason", "detail") if said.get(key)), code)
    return kept | {code: Alert(code=code, text=text[:300], since=at)}


def _opened(payload: bytes) -> tuple[dict[str, Any] | None, str | None]:
    """Data and time of an envelope; a last will may come without one. An empty payload clears."""
    if not payload or payload.strip() == b"null":
        return None, None
    said = _object(payload)
    if "specversion" not in said:
        return said, None
    data, at = said.get("data"), said.get("time")
    if data is not None and not isinstance(data, dict):
        raise ValueError("the data of the event is not an object")
    return data, at if isinstance(at, str) else None


def _object(payload: bytes) -> dict[str, Any]:
    said = json.loads(payload)
    if not isinstance(said, dict):
        raise ValueError("not a JSON object")
    return said


def _read(model: type[_Model], data: Mapping[str, Any]) -> _Model:
    """Fields of a newer agent that this facility does not know are left out."""
    return model.model_validate({key: value for key, value in data.items() if key in model.model_fields})
