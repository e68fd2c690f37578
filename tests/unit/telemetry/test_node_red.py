"""The Node-RED flow of deploy/, in a real Node-RED on a real broker: the fleet, duplicates, losses, and the page.

Node-RED is installed with npm into a temporary folder, or taken from the folder that SCOPE_AGENT_NODE_RED names.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agent.contract.event import StatusData
from agent.outbox import Outbox
from agent.telemetry import announce
from tests.conftest import ROOT, Broker, free_port, wait_port
from tests.unit.telemetry.test_publisher import TOPICS, note, publishing, until

pytestmark = pytest.mark.slow
DEPLOY = ROOT / "deploy" / "dashboards" / "node-red"
PACKAGES = ["node-red@4", "@flowfuse/node-red-dashboard@1"]


def test_the_flow_holds_the_function_that_is_kept_beside_it() -> None:
    flow = {node["id"]: node for node in json.loads((DEPLOY / "flows.json").read_text("utf-8"))}
    assert flow["sa-fleet"]["func"] == (DEPLOY / "fleet.js").read_text("utf-8")


@pytest.fixture(scope="module")
def node_red(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with Node-RED in its node_modules."""
    named = os.environ.get("SCOPE_AGENT_NODE_RED")
    if named:
        return Path(named)
    node, npm = shutil.which("node"), shutil.which("npm")
    if not node or not npm:
        pytest.skip("Node.js and npm are not installed")
    folder = tmp_path_factory.mktemp("node-red")
    command = [npm, "install", "--no-audit", "--no-fund", "--prefix", str(folder), *PACKAGES]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"npm cannot install Node-RED here: {done.stderr[-200:]}")
    return folder


@contextmanager
def running(node_red: Path, folder: Path, broker: int) -> Iterator[str]:
    """Node-RED with the flow as it stands in deploy/; its address."""
    port = free_port()
    folder.mkdir()
    shutil.copy(DEPLOY / "flows.json", folder)
    settings = {
        "uiHost": "127.0.0.1", "uiPort": port, "userDir": str(folder), "flowFile": "flows.json",
        "credentialSecret": False, "telemetry": {"enabled": False, "updateNotification": False},
        "externalModules": {"autoInstall": False}, "diagnostics": {"enabled": False},
    }  # fmt: skip
    (folder / "settings.js").write_text(f"module.exports = {json.dumps(settings)}")
    red = node_red / "node_modules" / "node-red" / "red.js"
    environment = os.environ | {"MQTT_HOST": "127.0.0.1", "MQTT_PORT": str(broker), "HOME": str(folder)}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [shutil.which("node"), red, "-s", folder / "settings.js"], env=environment, stdout=log, stderr=log
        )
    try:
        wait_port(port, process, 60)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)


def rows(address: str) -> list[dict]:
    try:
        with urllib.request.urlopen(f"{address}/scope-agent/fleet", timeout=5) as answer:
            return json.loads(answer.read())
    except OSError:
        return []


def test_the_fleet_is_seen_and_what_is_lost_is_asked_for(node_red: Path, broker: Broker, tmp_path: Path) -> None:
    outbox = Outbox.open(tmp_path / "outbox.sqlite")
    with running(node_red, tmp_path / "red", broker.port) as address:
        with publishing(outbox, broker.port) as publisher:

            def tell(*events) -> None:
                outbox.announce(events)
                publisher.wake()

            tell(
                announce.status(TOPICS, StatusData(state="degraded", agent="1", reasons=["disk is slow"]), 1),
                announce.alert(TOPICS, "disk", "5 GiB left", 2),
                note(1),
            )
            until(lambda: rows(address) and rows(address)[0]["alerts"] == "disk: 5 GiB left", 60)
            (row,) = rows(address)
            assert (row["microscope"], row["power"]) == ("lab/scope1", "degraded: disk is slow")
            tell(
                announce.alert(TOPICS, "disk", None, 3), announce.status(TOPICS, StatusData(state="online"), 4), note(2)
            )
            until(lambda: (rows(address)[0]["power"], rows(address)[0]["alerts"]) == ("online", ""))
            until(lambda: rows(address)[0]["missing"] == 0)
            before = rows(address)[0]["events"]
            publisher._replay.ask(b'{"since": 0}')
            tell(note(3))
            until(lambda: rows(address)[0]["events"] == before + 1)
            # What a broker acknowledged and forgot: counted as published, and never seen.
            outbox.announce([note(number) for number in range(4, 9)])
            last = outbox.last_sequence()
        outbox.published(range(last - 4, last), 1)
        with publishing(outbox, broker.port):
            until(lambda: rows(address)[0]["missing"] == 0 and rows(address)[0]["events"] >= before + 6, 30)
        see_the_page(address)
    outbox.close()


def see_the_page(address: str) -> None:
    """The dashboard shows the row, in a real browser where there is one."""
    chromium = shutil.which("chromium")
    sync = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if chromium is None:
        return
    with sync.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(f"{address}/dashboard/microscopes")
        page.get_by_role("cell", name="lab/scope1").wait_for(timeout=20_000)
        browser.close()
