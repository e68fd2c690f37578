"""kill -9 of the daemon at random instants: every file is at the facility once, every event was published."""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile

from agent.facility.serve import create_token
from tests.conftest import ROOT, Broker, end_facility, free_port, wait_port
from tests.unit.telemetry.test_publisher import subscribed

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]
ROUNDS = int(os.environ.get("SCOPE_AGENT_KILLS", "6"))


def spawn(*arguments: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "agent", *arguments]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@pytest.fixture
def site(tmp_path: Path, nats: Broker) -> Iterator[Path]:
    """A facility process, a watched folder and a config; the daemon is the test's."""
    port = free_port()
    (tmp_path / "token").write_text(create_token(tmp_path / "facility", "lab/scope"))
    data = tmp_path / "facility"
    facility = spawn("facility", "serve", "--data", str(data), "--port", str(port), "--mqtt-port", "0")
    wait_port(port, facility, 30)
    (tmp_path / "images").mkdir()
    (tmp_path / "config.toml").write_text(
        f'site = "lab"\ninstrument = "scope"\nstate = "state"\n[hook]\nspool = "spool"\nlogs = []\n'
        f'[[watch]]\npath = "images"\nquiet_s = 1\n'
        f'[delivery]\nurl = "http://127.0.0.1:{port}"\ntoken_file = "token"\nretry_most_s = 1\n'
        f'[mqtt]\nhost = "127.0.0.1"\nport = {nats.port}\n'
    )
    yield tmp_path
    end_facility(facility, data)


def acquisitions(site: Path) -> list[dict]:
    done = subprocess.run(
        [sys.executable, "-m", "agent", "acquisitions", "list", "--json", "-c", str(site / "config.toml")],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return json.loads(done.stdout) if done.returncode == 0 else []


def test_nothing_is_lost_and_nothing_comes_twice(site: Path, nats: Broker) -> None:
    seed = random.randrange(1 << 30)
    print("seed", seed)
    chance = random.Random(seed)
    truth: set[str] = set()
    with subscribed(nats.port, "scope/v1/+/+/acquisition/+") as received:
        for number in range(ROUNDS):
            daemon = spawn("run", "-c", str(site / "config.toml"))
            for part in range(2):
                path = site / "images" / f"cells-{number}-{part}.tif"
                pixels = np.random.default_rng([seed, number, part]).integers(0, 4000, (3, 200, 200), np.uint16)
                tifffile.imwrite(path, pixels, photometric="minisblack")
                truth.add(hashlib.sha256(path.read_bytes()).hexdigest())
            time.sleep(chance.uniform(0.3, 4))
            daemon.kill()
            daemon.wait()
        daemon = spawn("run", "-c", str(site / "config.toml"))
        deadline = time.monotonic() + 90
        while True:
            listed = acquisitions(site)
            if len(listed) >= 2 * ROUNDS and {entry["state"] for entry in listed} == {"verified"}:
                break
            assert time.monotonic() < deadline, listed
            time.sleep(0.5)
        time.sleep(1)
        daemon.terminate()
        assert daemon.wait(10) == 0
    records = [json.loads(path.read_text()) for path in (site / "facility/datasets").rglob("acquisition.json")]
    sources = [file["source_sha256"] for record in records for file in record["files"] if file["role"] == "data"]
    assert sorted(sources) == sorted(truth)
    for record in (site / "facility/datasets").rglob("manifest-sha256.txt"):
        assert (
            subprocess.run(["sha256sum", "--quiet", "-c", record.name], cwd=record.parent, check=False).returncode == 0
        )
    events = [json.loads(payload) for _, payload, _ in received.queue if payload]
    heard = {(event["subject"], event["type"].split(".")[-2]) for event in events}
    for record in records:
        for name in ("started", "finished", "captured", "documented", "delivered", "verified"):
            assert (record["id"], name) in heard
    numbers = {event["sequence"]: event["id"] for event in events}
    assert len(numbers) == len({event["id"] for event in events})
    assert not list((site / "state" / "work").glob("*"))


def test_a_second_daemon_on_the_same_state_is_refused(site: Path) -> None:
    first = spawn("run", "-c", str(site / "config.toml"))
    try:
        deadline = time.monotonic() + 30
        while not (site / "state" / "heartbeat.json").exists():
            assert time.monotonic() < deadline
            time.sleep(0.1)
        second = subprocess.run(
            [sys.executable, "-m", "agent", "run", "-c", str(site / "config.toml")],
            cwd=ROOT, capture_output=True, text=True, timeout=30, check=False,
        )  # fmt: skip
        assert second.returncode == 73
        assert "another scope-agent daemon" in second.stderr.splitlines()[-1]
        status = subprocess.run(
            [sys.executable, "-m", "agent", "status", "--json", "-c", str(site / "config.toml")],
            cwd=ROOT, capture_output=True, text=True, timeout=30, check=False,
        )  # fmt: skip
        assert json.loads(status.stdout)["running"] is True
        began = time.monotonic()
        first.terminate()
        assert first.wait(10) == 0
        assert time.monotonic() - began < 5
    finally:
        first.kill()
        first.wait()
