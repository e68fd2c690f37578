"""A hundred agents and one facility: CPU, memory, lost events, and whether the page can still be used.

Usage: PYTHONPATH=. python benchmarks/fleet.py [--agents 100] [--minutes 10] [--every 60] [--store s3://...]

The facility is `scope-agent facility serve` with the broker that it starts itself. Each agent speaks real MQTT and
HTTP: status every 10 s, and every `--every` seconds an acquisition with all its events, progress, and the delivery of a
dataset with an image of two channels. Events are counted by their numbers: heard by the facility against published.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import random
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import paho.mqtt.client as mqtt
import psutil
import tifffile
from paho.mqtt.enums import CallbackAPIVersion

from agent.clock import SystemClock, iso
from agent.contract.event import AcquisitionData, Envelope, Progress, StatusData
from agent.contract.layout import dataset_path
from agent.contract.topics import Topics
from agent.facility.serve import create_token
from tests.unit.facility.rig import Agent, record

FRAMES = 20
EPOCH = "b1"


def picture() -> bytes:
    y, x = np.mgrid[:256, :256]
    stack = np.stack([np.hypot(x - 100 - 60 * c, y - 128) for c in range(2)])
    out = io.BytesIO()
    tifffile.imwrite(out, (3000 * np.exp(-stack / 40)).astype(np.uint16), metadata={"axes": "CYX"}, ome=True)
    return out.getvalue()


IMAGE = picture()


@dataclass
class Simulated:
    """One agent: a client of the broker, one of the facility, and a count of what it told."""

    name: str
    http: Agent
    port: int
    sequence: int = 0
    delivered: int = 0
    errors: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.topics = Topics("bench", self.name)
        self.client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=f"agent-{self.name}")
        self.client.will_set(self.topics.status, StatusData(state="offline").model_dump_json(), 1, retain=True)
        self.client.connect("127.0.0.1", self.port, keepalive=60)
        self.client.loop_start()

    def tell(self, topic: str, kind: str, data: dict[str, Any] | None, retain: bool = False) -> None:
        self.sequence += 1
        said = Envelope(
            id=f"{self.name}-{self.sequence}", source=f"/bench/{self.name}", type=f"org.scope-agent.{kind}.v1",
            subject=self.name, time=iso(SystemClock().now_ns()), sequence=self.sequence, epoch=EPOCH, data=data,
        )  # fmt: skip
        self.client.publish(topic, said.model_dump_json(), qos=1, retain=retain)

    def status(self) -> None:
        self.tell(self.topics.status, "status", StatusData(state="online", agent="bench", queue=0).model_dump(), True)

    def acquire(self, number: int) -> None:
        """All events of an acquisition and its delivery, in about five seconds."""
        began = SystemClock().now_ns()
        key = f"01955f3e-0000-7000-8000-{abs(hash((self.name, number))) % 10**12:012d}"
        data = AcquisitionData(
            id=key,
            name=f"cells {number}",
            state="acquiring",
            found_by="hook",
            started_at=iso(began),
            frames_planned=FRAMES,
        )
        self._lifecycle("started", data)
        self.tell(self.topics.current, "acquisition.current", data.model_dump(), True)
        for frames in range(0, FRAMES + 1, 5):
            said = Progress(acquisition=key, frames=frames, planned=FRAMES, queue=1, bytes_left=0, disk_free=10**12)
            self.client.publish(self.topics.progress, said.model_dump_json(), qos=0)
            time.sleep(1)
        self.tell(self.topics.current, "acquisition.current", None, True)
        for event in ("finished", "captured", "documented"):
            self._lifecycle(event, data)
        self._deliver(key, began, number)
        for event in ("delivered", "verified"):
            self._lifecycle(event, data)

    def _lifecycle(self, event: str, data: AcquisitionData) -> None:
        self.tell(self.topics.lifecycle(event), f"acquisition.{event}", data.model_dump())

    def _deliver(self, key: str, began: int, number: int) -> None:
        started = iso(began)
        said = record(
            id=key, site="bench", instrument=self.name, name=f"cells {number}", started_at=started,
            finished_at=iso(SystemClock().now_ns()), channels=[{"name": "DAPI"}, {"name": "GFP"}],
        )  # fmt: skip
        files = {
            "data/cells.ome.tif": IMAGE,
            "acquisition.json": json.dumps(said).encode(),
            "methods.txt": b"Simulated.",
        }
        dataset = dataset_path("bench", self.name, f"cells {number}", began, key)
        try:
            for path, body in files.items():
                self._expect(self.http.send(path, body, dataset), 201)
            hashes = {path: hashlib.sha256(body).hexdigest() for path, body in files.items()}
            self._expect(self.http.commit(hashes, dataset), 200)
            self.delivered += 1
        except httpx.HTTPError as error:
            self.errors.append(repr(error))

    def _expect(self, answer: httpx.Response, status: int) -> None:
        if answer.status_code != status:
            self.errors.append(f"{answer.status_code} {answer.text[:200]}")

    def live(self, until: float, every: float) -> None:
        """Until the time has come; each begins somewhere within the first period."""
        chance = random.Random(self.name)
        due = time.monotonic() + chance.uniform(0, every - 6)
        told, number = time.monotonic() + chance.uniform(0, 10), 0
        self.status()
        while (now := time.monotonic()) < until:
            if now >= told:
                told += 10
                self.status()
            if now >= due and now + 8 < until:
                due += every
                number += 1
                self.acquire(number)
            time.sleep(0.2)

    def end(self) -> None:
        info = self.client.publish(self.topics.progress, b"", qos=1)
        info.wait_for_publish(30)
        self.client.disconnect()
        self.client.loop_stop()
        self.http.http.close()


class Watched:
    """CPU and memory of the facility's process and of its broker, once a second; and how fast its page comes."""

    def __init__(self, process: subprocess.Popen[bytes], url: str) -> None:
        self.facility = psutil.Process(process.pid)
        self.broker = self.facility.children()[0]
        self.url = url
        self.memory: dict[str, list[int]] = {"facility": [], "broker": []}
        self.took: dict[str, list[float]] = {"/": [], "/?q=cells&channel=gfp": [], "/api/fleet": []}
        self.events = 0
        self.stop = threading.Event()
        self.began = time.monotonic()
        self.cpu0 = self._cpu()
        self.threads = [threading.Thread(target=run, daemon=True) for run in (self._sample, self._read, self._stream)]
        for thread in self.threads:
            thread.start()

    def cpu(self) -> dict[str, float]:
        """Percent of one core since the beginning."""
        seconds = time.monotonic() - self.began
        return {name: 100 * (now - self.cpu0[name]) / seconds for name, now in self._cpu().items()}

    def _cpu(self) -> dict[str, float]:
        return {name: sum(one.cpu_times()[:2]) for name, one in (("facility", self.facility), ("broker", self.broker))}

    def _sample(self) -> None:
        while not self.stop.wait(1):
            self.memory["facility"].append(self.facility.memory_info().rss)
            self.memory["broker"].append(self.broker.memory_info().rss)

    def _read(self) -> None:
        with httpx.Client(base_url=self.url, trust_env=False, timeout=30) as http, suppress(httpx.HTTPError):
            while not self.stop.wait(1):
                for path, took in self.took.items():
                    began = time.perf_counter()
                    http.get(path).raise_for_status()
                    took.append(1000 * (time.perf_counter() - began))

    def _stream(self) -> None:
        """A page that is open all the time."""
        with (
            suppress(httpx.HTTPError),
            httpx.stream("GET", self.url + "/events", trust_env=False, timeout=None) as page,
        ):
            for line in page.iter_lines():
                self.events += line.startswith("data:")
                if self.stop.is_set():
                    return


def serve(folder: Path, store: str | None) -> tuple[subprocess.Popen[bytes], str, int]:
    log = folder / "facility.log"
    command = [sys.executable, "-m", "agent", "facility", "serve", "--data", str(folder / "facility"), "--port", "0"]
    command += ["--mqtt-port", "0", *(["--store", store] if store else [])]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    for _ in range(300):
        time.sleep(0.2)
        text = log.read_text()
        url, port = re.search(r"facility at (\S+)/", text), re.search(r"MQTT broker on \S+:(\d+)", text)
        if url and port:
            return process, url[1], int(port[1])
    raise SystemExit(f"the facility did not start: {log.read_text()}")


def told(
    watched: Watched, cpu: dict[str, float], agents: list[Simulated], heard: dict[str, list[Any]], missing: int
) -> None:
    for name, sizes in watched.memory.items():
        sized = f"{sizes[0] >> 20} MiB at first, {max(sizes) >> 20} at most, {sizes[-1] >> 20} at last"
        print(f"{name:9} CPU {cpu[name]:5.1f} % of a core   memory {sized}")
    for path, took in watched.took.items():
        ordered = sorted(took)
        print(f"{path:22} p50 {statistics.median(took):6.1f} ms   p95 {ordered[int(0.95 * len(took))]:6.1f} ms   "
              f"max {ordered[-1]:6.1f} ms")  # fmt: skip
    published = sum(one.sequence for one in agents)
    lost = sum(one.sequence - heard.get(one.topics.root, [EPOCH, 0])[1] for one in agents)
    errors = [error for one in agents for error in one.errors]
    print(f"open page: {watched.events} changes sent")
    print(f"events: {published} published, {lost} not heard by the facility, {missing} known to be missing")
    print(f"datasets: {sum(one.delivered for one in agents)} delivered, {len(errors)} errors {errors[:3]}")


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("--agents", type=int, default=100)
    asked.add_argument("--minutes", type=float, default=10)
    asked.add_argument("--every", type=float, default=60)
    asked.add_argument("--store")
    wish = asked.parse_args()
    with tempfile.TemporaryDirectory(prefix="fleet-") as name:
        folder = Path(name)
        process, url, port = serve(folder, wish.store)
        names = [f"scope{n:03}" for n in range(wish.agents)]
        agents = [Simulated(one, Agent(url, create_token(folder / "facility", f"bench/{one}")), port) for one in names]
        watched = Watched(process, url)
        until = time.monotonic() + 60 * wish.minutes
        threads = [threading.Thread(target=one.live, args=(until, wish.every)) for one in agents]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for one in agents:
            one.end()
        time.sleep(3)
        fleet = httpx.get(url + "/api/fleet", trust_env=False, timeout=30).json()["microscopes"]
        watched.stop.set()
        rows = sum(scope["datasets"] for scope in fleet)
        load, cpu = psutil.getloadavg()[0], watched.cpu()
        process.terminate()
        process.wait(30)
        heard = json.loads((folder / "facility" / ".notes" / "facility" / "heard.json").read_text())
        print(
            f"{wish.agents} agents, {wish.minutes:g} min, an acquisition every {wish.every:g} s each (load {load:.1f})"
        )
        told(watched, cpu, agents, heard, sum(scope["events_missing"] for scope in fleet))
        print(f"catalogue: {rows} datasets")


if __name__ == "__main__":
    main()
