"""`scope-agent check` and `status`: what is wrong and what to do, in plain words."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from agent.acquisition import State
from agent.config import Config, load
from agent.contract.topics import Topics
from agent.delivery.targets import open_target
from agent.errors import ScopeAgentError
from agent.hook import default_spool
from agent.lock import is_held, prepare_folder
from agent.outbox import Outbox
from agent.outbox.recovery import damage
from agent.snapshot import load_profile
from agent.telemetry.settings import MqttSettings

_LOW_DISK = 5 << 30


@dataclass(frozen=True, slots=True)
class Line:
    """One finding."""

    level: Literal["ok", "warn", "fail"]
    subject: str
    text: str

    def as_dict(self) -> dict[str, str]:
        return asdict(self)


def check_all(path: Path) -> list[Line]:
    """Every check that is possible; without a readable config there is only one."""
    try:
        config = load(path)
    except ScopeAgentError as error:
        return [Line("fail", "config", str(error))]
    return [Line("ok", "config", str(path)), *_folders(config), *_others(config)]


def _folders(config: Config) -> Iterator[Line]:
    yield _try("state", lambda: prepare_folder(config.state), str(config.state))
    spool = config.hook.spool or default_spool()
    if spool.is_dir():
        yield Line("ok", "hook spool", str(spool))
    else:
        yield Line("warn", "hook spool", f"{spool} does not exist yet: the hook makes it at the first acquisition")
    for watch in config.watch:
        if watch.path.is_dir():
            yield Line("ok", "watch", str(watch.path))
        else:
            yield Line("fail", "watch", f"{watch.path} is not there: make it, mount it, or take it out of the config")
    if config.state.is_dir():
        yield _disk(config.state)


def _disk(folder: Path) -> Line:
    free = shutil.disk_usage(folder).free
    text = f"{free / 2**30:.1f} GiB free at {folder}"
    return Line("ok", "disk", text) if free > _LOW_DISK else Line("warn", "disk", f"only {text}: make room")


def _others(config: Config) -> Iterator[Line]:
    yield _try("profile", lambda: load_profile(config.profile), str(config.profile or "none is named"))
    yield from _outbox(config)
    yield from _target(config)
    if config.mqtt is None:
        yield Line("warn", "mqtt", "no broker is configured: events wait in the outbox")
    else:
        mqtt = config.mqtt
        topics = Topics(config.site, config.instrument, mqtt.prefix)
        yield _try("mqtt", lambda: _ask_broker(mqtt, topics), f"{mqtt.host}:{mqtt.port}")


def _try(subject: str, action: Callable[[], object], fine: str) -> Line:
    try:
        action()
    except (ScopeAgentError, OSError) as error:
        return Line("fail", subject, str(error))
    return Line("ok", subject, fine)


def _outbox(config: Config) -> Iterator[Line]:
    path = config.state / "outbox.sqlite"
    wrong = damage(path)
    if wrong is not None:
        yield Line("fail", "outbox", f"{path} is damaged ({wrong}): the daemon sets it aside at its next start")
    elif path.exists():
        with contextlib.closing(Outbox.open(path)) as outbox:
            found = outbox.check()
        for line in found:
            yield Line("fail", "outbox", line)
        if not found:
            yield Line("ok", "outbox", str(path))


def _target(config: Config) -> Iterator[Line]:
    """Does the target answer, accept us, and guarantee what we need?"""
    subject = config.delivery.target
    try:
        target = open_target(config.delivery, "check")
        try:
            target.check()
            doubts = target.doubts()
        finally:
            target.close()
    except ScopeAgentError as error:
        yield Line("fail", subject, str(error))
        return
    yield Line("ok", subject, config.delivery.place)
    for doubt in doubts:
        yield Line("warn", subject, doubt)


def _ask_broker(settings: MqttSettings, topics: Topics) -> None:
    from agent.telemetry.probe import probe

    probe(settings, topics)


def status_of(config: Config) -> dict[str, Any]:
    """What `status` prints; works while the daemon runs and while it does not."""
    path = config.state / "outbox.sqlite"
    beat = config.state / "heartbeat.json"
    said: dict[str, Any] = {"running": is_held(config.state, "daemon")}
    said["heartbeat"] = json.loads(beat.read_text(encoding="utf-8")) if beat.exists() else None
    said |= {"acquisitions": {}, "current": None, "bytes_left": 0, "errors": []}
    if not path.exists():
        return said
    outbox = Outbox.open(path)
    try:
        said["acquisitions"] = {state.value: n for state, n in outbox.counts().items()}
        said["bytes_left"] = outbox.bytes_left()
        newest = outbox.newest(200)
    finally:
        outbox.close()
    running = [entry.acquisition for entry in newest if entry.acquisition.state is State.ACQUIRING]
    said["current"] = {"id": running[0].id, "name": running[0].name} if running else None
    said["errors"] = [
        {
            "id": e.acquisition.id,
            "name": e.acquisition.name,
            "state": e.acquisition.state.value,
            "error": e.error,
        }
        for e in newest
        if e.error
    ]
    return said
