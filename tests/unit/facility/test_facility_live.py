"""Live: a real broker, the mirror, the stream of events, and the page in a real browser."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from agent.contract.event import AcquisitionData, Envelope, Progress, StatusData
from agent.contract.topics import Topics
from agent.facility.live import Mirror

from .rig import Running, broker, files, free_port, running, wait_for

TOPICS = Topics("lab", "scope1")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip


def event(kind: str, data: dict[str, Any] | None) -> bytes:
    said = Envelope(
        id="1", source="/lab/scope1", type=f"org.scope-agent.{kind}.v1", subject="s",
        time="2026-03-04T10:11:12Z", sequence=1, data=data,
    )  # fmt: skip
    return said.model_dump_json().encode()


def acquiring(name: str = "cells", **more: Any) -> bytes:
    data = AcquisitionData(
        id="a1", name=name, state="acquiring", found_by="hook", started_at="2026-03-04T10:11:12Z",
        frames_planned=60, **more,
    )  # fmt: skip
    return event("acquisition.started", data.model_dump())


def progress(frames: int, **more: Any) -> bytes:
    said = {"acquisition": "a1", "frames": frames, "planned": 60, "queue": 2, "bytes_left": 0, "disk_free": 10**12}
    return Progress.model_validate(said | more).model_dump_json().encode()


@contextmanager
def publisher(port: int) -> Iterator[Any]:
    client = mqtt.Client(CallbackAPIVersion.VERSION2)
    client.connect("127.0.0.1", port)
    client.loop_start()

    def publish(topic: str, payload: bytes, retain: bool = True) -> None:
        client.publish(topic, payload, qos=1, retain=retain).wait_for_publish(5)

    try:
        yield publish
    finally:
        client.disconnect()
        client.loop_stop()


def scope(facility: Running) -> dict[str, Any]:
    scopes = httpx.get(facility.url + "/api/fleet", trust_env=False).json()["microscopes"]
    return next((one for one in scopes if one["key"] == "lab/scope1"), {})


def test_the_fleet_follows_the_broker(tmp_path: Path) -> None:
    port = free_port()
    with (
        broker(tmp_path / "nats", port),
        running(tmp_path / "data", broker_host="127.0.0.1", broker_port=port) as facility,
        publisher(port) as publish,
    ):
        # Retained, so that order of arrival and start of the facility do not matter.
        publish(TOPICS.status, event("status", StatusData(state="online", agent="0.1.0", queue=3).model_dump()))
        publish(TOPICS.current, acquiring())
        publish(TOPICS.alert("disk"), event("alert", {"message": "disk nearly full"}))
        wait_for(lambda: scope(facility).get("alerts"), "the alert")
        publish(TOPICS.progress, progress(20), retain=False)
        seen = wait_for(lambda: (now := scope(facility)).get("frames") == 20 and now, "the progress")
        assert (seen["power"], seen["planned"], seen["queue"]) == ("online", 60, 2)
        assert seen["acquisition"]["name"] == "cells"
        assert seen["alerts"][0]["text"] == "disk nearly full"
        publish(TOPICS.alert("disk"), b"")
        publish(TOPICS.current, event("acquisition.current", None))
        seen = wait_for(lambda: not (now := scope(facility))["alerts"] and now, "the end of the alert")
        assert wait_for(lambda: scope(facility)["acquisition"] is None, "the end of the run")


def test_an_agent_that_dies_is_off_and_a_broker_that_dies_is_told(tmp_path: Path) -> None:
    port = free_port()
    settings = {"broker_host": "127.0.0.1", "broker_port": port}
    with running(tmp_path / "data", **settings) as facility:
        # The facility starts before its broker, and says so.
        assert "event broker away" in httpx.get(facility.url + "/", trust_env=False).text
        with broker(tmp_path / "nats", port):
            will = StatusData(state="offline").model_dump_json().encode()
            doomed = mqtt.Client(CallbackAPIVersion.VERSION2)
            doomed.will_set(TOPICS.status, will, qos=1, retain=True)
            doomed.connect("127.0.0.1", port)
            doomed.loop_start()
            doomed.publish(TOPICS.status, event("status", {"state": "online"}), 1, True).wait_for_publish(5)
            wait_for(lambda: scope(facility).get("power") == "online", "online")
            doomed._sock_close()
            wait_for(lambda: scope(facility).get("power") == "offline", "the last will")
            doomed.loop_stop()
        wait_for(
            lambda: httpx.get(facility.url + "/api/fleet", trust_env=False).json()["broker"] is False, "broker away"
        )


def test_messages_that_are_wrong_change_nothing() -> None:
    mirror = Mirror("scope/v1")
    rung: list[int] = []
    mirror.on_change = lambda: rung.append(1)
    mirror.apply(TOPICS.status, event("status", {"state": "online"}))
    before = mirror.all()
    for topic, payload in [
        (TOPICS.status, b"not json"),
        (TOPICS.status, b"[1, 2]"),
        (TOPICS.status, event("status", {"state": "on fire"})),
        (TOPICS.status, b'{"state": "online", "agent": "' + b"x" * 70_000 + b'"}'),
        (TOPICS.progress, b'{"frames": "many"}'),
        (TOPICS.current, event("acquisition.current", {"id": 1})),
        ("scope/v1/lab/../status", event("status", {"state": "online"})),
        ("scope/v1/<script>/x/status", event("status", {"state": "online"})),
        ("scope/v2/lab/scope1/status", event("status", {"state": "offline"})),
        ("scope/v1", b"{}"),
        ("", b"{}"),
    ]:
        mirror.apply(topic, payload)
    assert mirror.all() == before
    assert len(rung) == 1


def test_fields_of_a_newer_agent_do_no_harm() -> None:
    mirror = Mirror("scope/v1")
    mirror.apply(TOPICS.status, event("status", {"state": "online", "mood": "fine"}))
    live = mirror.all()["lab/scope1"]
    assert live.status is not None
    assert live.status.state == "online"


def test_the_rate_comes_from_the_progress() -> None:
    class Held:
        now = 0.0

        def now_ns(self) -> int:
            return 0

        def monotonic(self) -> float:
            return self.now

        def wait(self, stop: threading.Event, seconds: float) -> bool:
            return False

    clock = Held()
    mirror = Mirror("scope/v1", clock)
    mirror.apply(TOPICS.current, acquiring())
    mirror.apply(TOPICS.progress, progress(10))
    assert mirror.all()["lab/scope1"].frames_per_s is None
    clock.now = 2.0
    mirror.apply(TOPICS.progress, progress(15))
    assert mirror.all()["lab/scope1"].frames_per_s == 2.5
    mirror.apply(TOPICS.current, event("acquisition.current", None))
    assert mirror.all()["lab/scope1"].frames_per_s is None


def test_the_stream_sends_what_changed_and_ends_with_the_facility(tmp_path: Path) -> None:
    with running(tmp_path / "data") as facility:
        agent = facility.agent()
        got: list[dict[str, str]] = []
        ended = threading.Event()

        def listen() -> None:
            with httpx.stream("GET", facility.url + "/events", timeout=30, trust_env=False) as answer:
                assert answer.headers["content-type"].startswith("text/event-stream")
                lines = (line for line in answer.iter_lines() if line.startswith("data: "))
                got.extend(json.loads(line.removeprefix("data: ")) for line in lines)
            ended.set()

        threading.Thread(target=listen, daemon=True).start()
        wait_for(lambda: len(got) >= 3, "the first picture")
        assert {fragment["id"] for fragment in got} == {"link", "summary", "recent"}
        got.clear()
        before = time.monotonic()
        assert agent.deliver(files()).status_code == 200
        wait_for(lambda: any(fragment["id"] == "scope-lab/scope1" for fragment in got), "the new instrument")
        assert time.monotonic() - before < 2
        assert any("cells" in fragment["html"] for fragment in got if fragment["id"] == "recent")
        assert all(fragment["id"] != "link" for fragment in got)
        assert facility.stop() < 3
        assert ended.wait(2)


def test_viewers_are_limited(tmp_path: Path) -> None:
    with (
        running(tmp_path / "data", max_viewers=1) as facility,
        httpx.stream("GET", facility.url + "/events", trust_env=False) as first,
    ):
        lines = first.iter_lines()
        assert next(lines)
        assert httpx.get(facility.url + "/events", trust_env=False).status_code == 503


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium, a real browser")
def test_the_page_follows_in_a_browser_without_reload(tmp_path: Path) -> None:
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright to drive chromium")
    port = free_port()
    with (
        broker(tmp_path / "nats", port),
        running(tmp_path / "data", broker_host="127.0.0.1", broker_port=port) as facility,
        publisher(port) as publish,
        playwright.sync_playwright() as play,
    ):
        publish(TOPICS.status, event("status", {"state": "online"}))
        browser = play.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": 390, "height": 844})
        complaints: list[str] = []
        outside: list[str] = []
        page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
        page.on(
            "request",
            lambda asked: None if asked.url.startswith((facility.url, "data:")) else outside.append(asked.url),
        )
        page.goto(facility.url + "/", wait_until="domcontentloaded")
        page.evaluate("window.stayed = true")
        card = page.locator(".card")
        playwright.expect(card.locator(".state")).to_contain_text("on, idle")
        before = time.monotonic()
        publish(TOPICS.current, acquiring("<b>cells</b>"))
        publish(TOPICS.progress, progress(15), retain=False)
        playwright.expect(card.locator(".run-name")).to_have_text("<b>cells</b>")
        playwright.expect(card.locator(".run-facts")).to_contain_text("15 of 60 frames")
        assert time.monotonic() - before < 2
        playwright.expect(page.locator("#announcer")).to_have_text("scope1: acquiring")
        publish(TOPICS.current, event("acquisition.current", None))
        facility.agent().deliver(files())
        playwright.expect(page.locator("#recent th a")).to_have_text("cells")
        assert page.evaluate("window.stayed") is True
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "a phone scrolls sideways"
        page.locator("#recent th a").click()
        playwright.expect(page.locator("h1")).to_have_text("cells")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "a phone scrolls sideways"
        page.screenshot(path=tmp_path / "dataset.png")
        assert (complaints, outside) == ([], [])
        browser.close()
