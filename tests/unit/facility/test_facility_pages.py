"""The pages in a real browser: what they show, with nobody's help from outside, for everybody, on every screen."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from agent.contract.event import Envelope
from agent.contract.topics import Topics
from agent.facility.catalogue import Measurement

from .rig import DATASET, Running, broker, files, free_port, running, wait_for
from .test_facility_live import CHROMIUM, FLAGS, TOPICS, acquiring, event, progress, publisher

playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright to drive chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium, a real browser")

PAGES = ["/", "/?q=cells&user=ada", f"/view/{DATASET}", "/qc", "/usage", "/quarantine", "/view/lab/none"]
PHONE, DESK = {"width": 390, "height": 844}, {"width": 1280, "height": 900}
EVIL = "<img src=x onerror=alert(1)><script>alert(2)</script>\"'&{{7*7}}"


def value(text: object, source: str = "live", **more: Any) -> dict[str, Any]:
    return {"value": text, "source": source, "taken_at": "2026-03-04T10:11:12Z"} | more


def rich() -> dict[str, Any]:
    """What a record says of a well-kept microscope."""
    metric = {"unit": "electron", "kind": "detector", "measured_at": "2026-03-01T08:00:00Z", "age_days": 3.1}
    return {
        "completeness": {
            "tier1": {"filled": 100, "required": 111, "missing": ["the planes: the Z", "channel 0: contrast method"]},
            "rembi": {"filled": 12, "required": 12},
        },
        "session": {"user": value("Ada Lovelace", "session"), "sample": value("HeLa", "session"), "confidence": 0.9},
        "hardware": {
            "microscope": {"Model": value("Ti2-E", "profile")},
            "components": [
                {
                    "id": "o", "kind": "Objective", "label": "Plan Apo 60x/1.40", "device": "Nosepiece",
                    "attributes": {"LensNA": value(1.4, "profile"), "Immersion": value(None, "live")},
                }
            ],
            "in_use": ["o"],
        },
        "channels": [
            {
                "name": "DAPI", "components": ["o", "gone"],
                "settings": {"Exposure": value(50.0, unit="ms"), "Binning": value("1x1", "cached")},
            },
            {"name": "GFP", "settings": {"Exposure": value(80.0, unit="ms", conflict="the file says 79 ms")}},
        ],
        "calibration": {
            "pixel_size": {"PhysicalSizeX": value(0.108, "measured", unit="um")},
            "metrics": {
                "read_noise_rms": metric | {"value": 1.4, "limit": 2.0, "limit_sense": "at most", "status": "pass"},
                "gain": metric | {"value": 0.5, "limit": 0.4, "limit_sense": "at most", "status": "fail"},
            },
        },
        "environment": {"AirTemperature": value(22.5, "measured", unit="degC")},
        "software": {"pymmcore-plus": "0.18.1", "configuration-sha256": "9" * 64, "configuration": "/opt/" + "mm" * 60},
        "property_changes": [
            {"at": "2026-03-04T10:12:00Z", "device": "ZDrive", "property": "Position", "value": "12.5"}
        ],
    }  # fmt: skip


def picture() -> bytes:
    y, x = np.mgrid[:256, :256]
    stack = np.stack([np.hypot(x - 100 - 60 * c, y - 128) for c in range(2)])
    out = io.BytesIO()
    tifffile.imwrite(out, (3000 * np.exp(-stack / 40)).astype(np.uint16), metadata={"axes": "CYX"}, ome=True)
    return out.getvalue()


@pytest.fixture(scope="module")
def facility(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A facility with a bit of everything, and a broker that it hears."""
    folder, port = tmp_path_factory.mktemp("pages"), free_port()
    settings = {"broker_host": "127.0.0.1", "broker_port": port, "reads_per_s": 1000}
    with broker(folder / "nats", port), running(folder / "data", **settings) as started, publisher(port) as publish:
        agent = started.agent()
        assert agent.deliver(files(**rich()) | {"data/cells.ome.tif": picture()}).status_code == 200
        agent.send("data/half.tif", b"x", DATASET.replace("cells", "refused"))
        agent.commit({"data/half.tif": "0" * 64}, DATASET.replace("cells", "refused"))
        publish(TOPICS.status, event("status", {"state": "online", "queue": 2}))
        publish(TOPICS.current, acquiring("embryo 7"))
        publish(TOPICS.alert("disk"), event("alert", {"code": "disk", "text": "D: has 4 % left"}))
        for n, month in enumerate(("01", "02", "03")):
            publish(TOPICS.calibration("detector"), calibrated(f"2026-{month}-01T08:00:00Z", 1.3 + 0.2 * n))
        publish(TOPICS.progress, progress(15), retain=False)
        with started.catalogue() as catalogue:
            wait_for(lambda: len(catalogue.trend("lab/scope1", "read_noise_rms")) == 3, "the measurements")
        png = f"{started.url}/preview/{DATASET}/1.png"
        wait_for(lambda: agent.http.get(png).status_code == 200, "the pictures", 60)
        yield started


def calibrated(at: str, noise: float) -> bytes:
    metrics = {
        "read_noise_rms": {"value": noise, "unit": "electron", "status": "pass", "limit": 2.0, "sense": "at most"}
    }
    result = {"id": at, "measured_at": at, "due_at": "2099-01-01T00:00:00Z", "metrics": metrics}
    data = {"kind": "detector", "status": "pass", "next_due": "2099-01-01T00:00:00Z", "newest": at, "results": [result]}
    said = Envelope(
        id=at, source="/lab/scope1", type="org.scope-agent.calibration.detector.v1", subject=at, time=at, sequence=1,
        data=data,
    )  # fmt: skip
    return said.model_dump_json().encode()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with playwright.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


class Looking:
    """A page, and what a user would complain about."""

    def __init__(self, chromium: Any, url: str, **more: Any) -> None:
        self.context = chromium.new_context(**more)
        self.page = self.context.new_page()
        self.complaints: list[str] = []
        self.outside: list[str] = []
        self.page.on("console", lambda said: self.complaints.append(said.text) if said.type == "error" else None)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.complaints.append(f"dialog {dialog.message}"), dialog.dismiss()))
        self.page.on("request", lambda asked: self._outside(asked.url, url))

    def _outside(self, asked: str, url: str) -> None:
        if not asked.startswith((url, "data:")):
            self.outside.append(asked)


@pytest.fixture
def looking(chromium: Any, facility: Running) -> Iterator[Any]:
    opened: list[Looking] = []

    def look(**more: Any) -> Looking:
        opened.append(Looking(chromium, facility.url, **more))
        return opened[-1]

    yield look
    for one in opened:
        one.context.close()


def keep(page: Any, name: str, tmp_path: Path) -> None:
    """A screenshot; CI keeps the folder that `SCOPE_AGENT_SCREENSHOTS` names."""
    folder = Path(os.environ.get("SCOPE_AGENT_SCREENSHOTS", tmp_path))
    folder.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=folder / f"{name}.png", full_page=True)


def name_of(path: str) -> str:
    if path.endswith("none"):
        return "error"
    return path.strip("/").split("/")[0].split("?")[0] or ("search" if "?" in path else "fleet")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", ["phone", "desk"])
def test_every_page_in_every_light_and_on_every_screen(
    looking: Any, facility: Running, tmp_path: Path, scheme: str, size: str
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-playwright-python").Axe()
    look = looking(color_scheme=scheme, viewport=PHONE if size == "phone" else DESK)
    for path in PAGES:
        look.page.goto(facility.url + path, wait_until="domcontentloaded")
        with suppress(playwright.Error):
            look.page.wait_for_load_state("load", timeout=3000)
        keep(look.page, f"{name_of(path)}-{size}-{scheme}", tmp_path)
        wide = look.page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        assert wide[0] <= wide[1], f"{path} scrolls sideways: {wide}"
        found = axe.run(look.page).response["violations"]
        said = [(one["id"], one["impact"], [node["html"][:120] for node in one["nodes"]][:3]) for one in found]
        assert [one for one in said if one[1] in ("serious", "critical")] == [], path
    missing = [text for text in look.complaints if "404" not in text and "400" not in text]
    assert (missing, look.outside) == ([], [])


def test_the_fleet_at_a_glance(looking: Any, facility: Running) -> None:
    look = looking(viewport=DESK)
    look.page.goto(facility.url + "/", wait_until="domcontentloaded")
    card = look.page.locator(".card")
    playwright.expect(card.locator(".run-name")).to_have_text("embryo 7")
    playwright.expect(card.locator(".alerts")).to_contain_text("D: has 4 % left")
    playwright.expect(card.locator(".alerts")).to_contain_text("is in quarantine")
    playwright.expect(card.locator(".lights")).to_contain_text("detector")
    playwright.expect(card.locator(".lights")).to_contain_text("pass")
    playwright.expect(look.page.locator("#link")).to_have_text("live")


def test_the_page_of_a_dataset(looking: Any, facility: Running) -> None:
    look = looking(viewport=DESK)
    page = look.page
    page.goto(facility.url + f"/view/{DATASET}", wait_until="load")
    assert page.locator("figure img").count() == 2
    for number in range(2):
        playwright.expect(page.locator("figure img").nth(number)).to_have_js_property("naturalWidth", 256)
    playwright.expect(page.locator("figcaption").first).to_contain_text("DAPI")
    text = page.locator("main").inner_text()
    for said in (
        "Ada Lovelace", "Plan Apo 60x/1.40", "the file says 79 ms", "100 of 111 fields", "the planes: the Z",
        "read_noise_rms", "fail", "0.4", "22.5 °C", "ZDrive", "Images were acquired",
        "manifest-sha256.txt", "Plan Apo 60x/1.40, gone",
    ):  # fmt: skip
        assert said in text, said
    software = page.locator(".panel", has=page.get_by_role("heading", name="Software"))
    playwright.expect(software).to_contain_text("pymmcore-plus0.18.1")
    origins = set(page.locator(".origin").all_inner_texts())
    assert {"live", "cached", "profile", "session", "measured"} <= origins
    with page.expect_download() as downloading:
        page.get_by_text("Download all").click()
    assert downloading.value.suggested_filename == DATASET.rpartition("/")[2] + ".zip"
    assert (look.complaints, look.outside) == ([], [])


def test_trends_usage_and_quarantine(looking: Any, facility: Running) -> None:
    page = looking(viewport=DESK).page
    page.goto(facility.url + "/qc", wait_until="domcontentloaded")
    chart = page.get_by_role("img", name="3 measurements from 2026-01-01 to 2026-03-01")
    assert "limit at most 2 electron" in (chart.get_attribute("aria-label") or "")
    assert chart.locator("circle").count() == 3
    axis = page.locator(".trend", has=chart).locator(".axis")
    playwright.expect(axis).to_have_text("1.3 to 2 e⁻2026-01-01 to 2026-03-01")
    assert chart.locator("line.limit").count() == 1
    page.goto(facility.url + "/usage", wait_until="domcontentloaded")
    row = page.locator("tbody tr").first
    playwright.expect(row).to_contain_text("2026-03")
    playwright.expect(row).to_contain_text("20 min")
    page.goto(facility.url + "/quarantine", wait_until="domcontentloaded")
    playwright.expect(page.locator("tbody")).to_contain_text("1 different (data/half.tif)")


def test_a_trend_of_thousands_stays_a_line(looking: Any, tmp_path: Path) -> None:
    """Not a blot of as many dots: of each stretch the lowest and the highest, and what failed."""
    days = (datetime(2016, 1, 1, tzinfo=UTC) + timedelta(days=n) for n in range(4000))
    measured = [
        Measurement(
            site="lab", instrument="scope1", metric="gain", measured_at=day.isoformat(),
            value=5.0 if n == 1777 else n % 7 / 7,
            bound=2.0, sense="at most", status="fail" if n == 1777 else "pass",
        )
        for n, day in enumerate(days)
    ]  # fmt: skip
    with running(tmp_path / "data") as facility:
        with facility.catalogue() as catalogue:
            catalogue.measure(measured)
            catalogue.measure([measured[0].model_copy(update={"metric": "once"})])
        page = looking(viewport=PHONE).page
        page.goto(facility.url + "/qc", wait_until="domcontentloaded")
        chart = page.get_by_role("img", name="4000 measurements from 2016-01-01 to 2026-12-13")
        assert 100 < chart.locator("circle").count() < 700
        assert chart.locator("circle.fail").count() == 1
        playwright.expect(page.locator(".trend", has_text="once").locator("summary")).to_have_text("1 measurement")


def test_the_keyboard_reaches_everything(looking: Any, facility: Running) -> None:
    page = looking(viewport=DESK).page
    page.goto(facility.url + "/", wait_until="domcontentloaded")
    seen: list[str] = []
    for _ in range(40):
        page.keyboard.press("Tab")
        seen.append(page.evaluate("document.activeElement.textContent.trim() || document.activeElement.name || ''"))
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline != "none", f"nobody sees that {seen[-1]!r} has the focus"
        if seen[-1] == "cells" and "Search" in seen:
            break
    for wanted in ("Skip to content", "Instruments", "Quality control", "Usage", "Quarantine", "scope1", "q", "Search"):
        assert wanted in seen, seen
    page.keyboard.press("Enter")
    playwright.expect(page.locator("h1")).to_have_text("cells")


def test_the_search_form_asks_what_it_says(looking: Any, facility: Running) -> None:
    page = looking(viewport=PHONE).page
    page.goto(facility.url + "/", wait_until="domcontentloaded")
    page.get_by_text("Narrow the search").click()
    page.get_by_label("user").fill("LOVELACE")
    page.get_by_label("channel").fill("gfp")
    page.locator("select[name=qc]").select_option("fail")
    page.get_by_label("to day").fill("2026-03-04")
    page.get_by_role("button", name="Search").click()
    playwright.expect(page.locator("#recent th a")).to_have_text("cells")
    playwright.expect(page.locator("#recent-heading")).to_be_in_viewport()
    page.get_by_label("to day").fill("2026-03-03")
    page.get_by_role("button", name="Search").click()
    playwright.expect(page.locator("tbody")).to_contain_text("Nothing found")


def test_what_users_fill_is_never_a_part_of_the_page(looking: Any, tmp_path: Path) -> None:
    """Every field of a record and of an event that a user, a device or another program fills."""
    port = free_port()
    said = value(EVIL, unit=EVIL, conflict=EVIL)
    metric = {
        "value": 1.0, "unit": EVIL, "measured_at": "2026-03-01T08:00:00Z", "limit": 2.0, "kind": EVIL, "status": "pass",
    }  # fmt: skip
    changes = rich() | {
        "name": EVIL, "software": {"name": EVIL, "version": EVIL},
        "completeness": {EVIL: {"filled": 1, "required": 2, "missing": [EVIL]}},
        "channels": [{"name": EVIL, "settings": {EVIL: said}, "components": [EVIL]}],
        "hardware": {
            "microscope": {EVIL: said},
            "components": [{"id": EVIL, "kind": EVIL, "device": EVIL, "label": EVIL, "attributes": {EVIL: said}}],
            "in_use": [EVIL],
        },
        "calibration": {"pixel_size": {EVIL: said}, "metrics": {EVIL: metric}},
        "session": {"user": said, "project": said, "sample": said}, "environment": {EVIL: said},
        "property_changes": [{"at": EVIL, "device": EVIL, "property": EVIL, "value": EVIL}],
        "integrity": {"notes": [EVIL]}, "actual": {"frames": 1, "shape": [1], "axes": [EVIL]},
    }  # fmt: skip
    topics = Topics("lab", "scope1")
    settings = {"broker_host": "127.0.0.1", "broker_port": port, "title": "<script>alert(3)</script>"}
    with (
        broker(tmp_path / "nats", port),
        running(tmp_path / "data", **settings) as facility,
        publisher(port) as publish,
    ):
        name = "data/<img src=x onerror=alert(4)>.tif"
        wanted = files(**changes) | {"methods.txt": EVIL.encode(), name: picture()}
        assert facility.agent().deliver(wanted).status_code == 200
        bad = DATASET.replace("cells", "bad")
        facility.agent().send(name, b"x", bad)
        facility.agent().commit({name: "0" * 64}, bad)
        publish(topics.status, event("status", {"state": "degraded", "agent": EVIL, "reasons": [EVIL]}))
        publish(topics.current, acquiring(EVIL, reason=EVIL))
        publish(topics.alert("disk"), event("alert", {"code": EVIL, "text": EVIL}))
        publish(topics.calibration("detector"), calibrated("2026-03-01T08:00:00Z", 1.0).replace(b"electron", b"<b>"))
        look = looking(viewport=DESK)
        look.outside = []
        for path in [
            "/",
            "/qc",
            "/usage",
            "/quarantine",
            f"/view/{DATASET}",
            f"/?q={EVIL}&user={EVIL}&instrument={EVIL}",
        ]:
            look.page.goto(facility.url + path, wait_until="domcontentloaded")
            look.page.wait_for_timeout(300)
            assert look.page.locator("img[src=x]").count() == 0, path
            assert look.page.locator("script").count() == 1, path
            assert "49" not in look.page.title()
        assert [text for text in look.complaints if "404" not in text] == []
