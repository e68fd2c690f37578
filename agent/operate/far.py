"""What is far: the target, the broker, their clocks and their certificates."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import urlsplit

from agent.clock import Clock, utc
from agent.config import Config
from agent.contract.topics import Topics
from agent.delivery.settings import DeliverySettings, read_token
from agent.delivery.targets import open_target
from agent.delivery.wire import Wire
from agent.errors import Misconfigured, ScopeAgentError, Unreachable
from agent.operate import certificates
from agent.operate.finding import Finding, Level, tried
from agent.outbox import Outbox
from agent.steps.dispatch import has_delivered
from agent.telemetry.settings import MqttSettings

_SHARE_S = 15.0
_OFF_S, _WRONG_S = 5.0, 300.0
"""A clock that is off by more is worth a warning; by more, and times in records mislead."""


def check(config: Config, clock: Clock) -> Iterator[Finding]:
    """Target, its clock and certificate; broker and its certificates."""
    now = utc(clock.now_ns())
    yield from target(config.delivery, used=_has_delivered(config))
    address = _address(config.delivery)
    if address is not None:
        yield from offset(address, config.delivery.ca_file, clock)
        yield from _shown("facility certificate", address, now)
    yield from _filed("facility certificate", config.delivery.ca_file, now)
    if config.mqtt is None:
        yield Finding("warn", "mqtt", "no broker is configured: events wait in the outbox")
        return
    yield from broker(config.mqtt, Topics(config.site, config.instrument, config.mqtt.prefix), now)


def target(settings: DeliverySettings, *, used: bool = False) -> Iterator[Finding]:
    """Does the target answer, accept us, and guarantee what we need? `used`: we have delivered there."""
    subject = settings.target
    try:
        _named(settings)
        doubts = _in_time(settings, used) if subject == "folder" else _doubts(settings, used)
    except ScopeAgentError as error:
        yield Finding("fail", subject, _away(error))
        return
    yield Finding("ok", subject, settings.place)
    for doubt in doubts:
        yield Finding("warn", subject, doubt)


def _doubts(settings: DeliverySettings, used: bool) -> list[str]:
    """What a target that answers does not guarantee."""
    found = open_target(settings, "check", used=used)
    try:
        found.check()
        return found.doubts()
    finally:
        found.close()


def _in_time(settings: DeliverySettings, used: bool) -> list[str]:
    """The same in a thread: a call to a share may never return, and nothing can end it."""
    said: queue.SimpleQueue[list[str] | ScopeAgentError] = queue.SimpleQueue()

    def ask() -> None:
        try:
            said.put(_doubts(settings, used))
        except ScopeAgentError as error:
            said.put(error)

    threading.Thread(target=ask, name="scope-agent-check", daemon=True).start()
    try:
        answer = said.get(timeout=_SHARE_S)
    except queue.Empty:
        raise Unreachable(f"{settings.place} does not answer within {_SHARE_S:.0f} s: is its share away?") from None
    if isinstance(answer, ScopeAgentError):
        raise answer
    return answer


def _has_delivered(config: Config) -> bool:
    try:
        with contextlib.closing(Outbox.view(config.state / "outbox.sqlite")) as outbox:
            return has_delivered(outbox, config.delivery)
    except ScopeAgentError:
        return False  # another check looks at the outbox


def _named(settings: DeliverySettings) -> None:
    """Misconfigured without a token: the facility may answer those who bring none, and takes nothing from them."""
    if settings.target == "facility" and not read_token(settings):
        place = settings.token_file or f"the environment variable {settings.token_env}"
        raise Misconfigured(
            f"{place} holds no token: put there what 'scope-agent facility token create SITE/INSTRUMENT' prints"
        )


def _away(error: Exception) -> str:
    """What an error says, and what to look at where nobody answers at all."""
    nobody = isinstance(error.__cause__, OSError) and not isinstance(error, Misconfigured)
    return f"{error}: is it on, and is the address right?" if nobody else str(error)


def broker(settings: MqttSettings, topics: Topics, now: datetime) -> Iterator[Finding]:
    """Does it take us and our events, and when do the certificates end?"""
    from agent.telemetry.probe import probe

    found = tried("mqtt", lambda: probe(settings, topics), f"{settings.host}:{settings.port}")
    yield found
    if found.level == "ok":
        yield from _told(settings, topics)
    if settings.ca_file is not None:
        yield from _shown("mqtt certificate", f"https://{settings.host}:{settings.port}", now)
        yield from _filed("mqtt certificate", settings.ca_file, now)
    yield from _filed("mqtt certificate", settings.certificate_file, now)


def _told(settings: MqttSettings, topics: Topics) -> Iterator[Finding]:
    """What room sensors and the booking system say, where they are configured."""
    from agent.telemetry.overhear import overhear

    wanted = settings.inbound
    if not wanted:
        return
    heard, wrong = overhear(settings, topics)
    for line in wrong:
        yield Finding("fail", "mqtt inbound", f"{line}: correct what sends it, or the topic in [mqtt]")
    if not wrong:
        silent = [topic for topic in wanted if topic not in heard]
        text = f"nothing was heard for 2 s of {', '.join(silent)}" if silent else f"{', '.join(wanted)} are understood"
        yield Finding("ok", "mqtt inbound", text)


def offset(address: str, ca_file: Path | None, clock: Clock) -> Iterator[Finding]:
    """How far this machine's clock is from the server's, by the Date of an answer (its resolution is a second)."""
    try:
        wire = Wire(address, "server", 5, ca_file)
        before = clock.now_ns()
        began = time.monotonic()
        answer = wire.ask("HEAD", "/")
        took = time.monotonic() - began
        wire.close()
    except (ScopeAgentError, OSError):
        return  # the target said already that it does not answer
    told = str(answer.headers.get("Date", ""))
    if not told:
        yield Finding("warn", "clock", f"{wire.host} tells no time: compare this machine's clock by hand")
        return
    there = parsedate_to_datetime(told).replace(tzinfo=UTC).timestamp() + 0.5
    off = before / 1e9 + took / 2 - there
    text = f"this machine's clock is {abs(off):.0f} s {'ahead of' if off > 0 else 'behind'} {wire.host}"
    if abs(off) <= _OFF_S:
        yield Finding("ok", "clock", f"agrees with {wire.host} within {max(1, round(abs(off)))} s")
    else:
        level: Level = "fail" if abs(off) > _WRONG_S else "warn"
        yield Finding(level, "clock", f"{text}: turn on time synchronisation (NTP, Windows Time)")


def _address(settings: DeliverySettings) -> str | None:
    """The server that is asked for its time; None for targets that are no HTTP servers."""
    if settings.target == "facility" and settings.url is not None:
        return str(settings.url)
    if settings.target == "s3" and settings.s3 is not None:
        return str(settings.s3.endpoint)
    return None


def _shown(subject: str, address: str, now: datetime) -> Iterator[Finding]:
    parts = urlsplit(address)
    if parts.scheme != "https" or parts.hostname is None:
        return
    port = parts.port or 443
    try:
        der = certificates.of_server(parts.hostname, port)
    except OSError:
        return  # told already that it does not answer
    yield certificates.judge(subject, f"{parts.hostname}:{port}", der, now)


def _filed(subject: str, path: Path | None, now: datetime) -> Iterator[Finding]:
    if path is None:
        return
    try:
        found = list(certificates.in_file(path))
    except OSError as error:
        yield Finding("fail", subject, f"{path} cannot be read ({error.strerror}): name the file of the certificate")
        return
    if not found:
        yield Finding("fail", subject, f"{path} holds no certificate (PEM)")
    for der in found:
        yield certificates.judge(subject, str(path), der, now)
