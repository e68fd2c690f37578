"""The bars of the events, with real brokers. One command for all of them, on both brokers (about 15 minutes):

    python benchmarks/events.py all

or one by one; each takes `--broker mosquitto` (the default) or `--broker nats`, and ends with 1 when its bar is missed:

    python benchmarks/events.py latency [--runs 25]         acquisition start in the camera's process -> subscriber
    python benchmarks/events.py kills [--events 10000]      broker killed -9 ten times, publisher's process five times:
                                                            counts with and without replay
    python benchmarks/events.py drain [--events 100000]     backlog against a bare paho publisher, same run, QoS 1
    python benchmarks/events.py acl                         the Mosquitto example: what it must refuse, publish and
                                                            subscribe, seen by a witness at the broker (with pytest)

Needs the project's test dependencies; Mosquitto from the system (NATS comes as a package).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # a stranger need not install the project for this

from agent.contract.topics import Topics  # noqa: E402
from agent.outbox import Announcement, Outbox  # noqa: E402
from agent.telemetry.publisher import Publisher  # noqa: E402
from agent.telemetry.settings import MqttSettings  # noqa: E402
from tests.conftest import Broker  # noqa: E402

TOPICS = Topics("lab", "scope1")
DATA = {
    "id": "01890000-0000-7000-8000-000000000000",
    "name": "a name of usual length",
    "state": "captured",
    "found_by": "hook",
    "started_at": "2026-01-01T00:00:00.000000Z",
    "frames_planned": 100,
}


def note(number: int) -> Announcement:
    return Announcement(f"id-{number}", TOPICS.lifecycle("captured"), "t", "run", number, DATA | {"frames": number})


# A bare client that receives


class Witness:
    """Keeps the sequence number of every event that arrives, and the times of those of a kind."""

    def __init__(self, port: int) -> None:
        self.counts: dict[int, int] = {}
        self.ids: dict[int, str] = {}
        self.started: dict[str, float] = {}
        self.missing_since = time.monotonic()
        self._ready = threading.Event()
        self.client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv311)
        self.client.reconnect_delay_set(1, 1)
        self.client.on_connect = lambda client, *_: client.subscribe("scope/v1/#", qos=1)
        self.client.on_subscribe = lambda *_: self._ready.set()
        self.client.on_message = self._take
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        assert self._ready.wait(10)

    def _take(self, _client: object, _data: object, message: mqtt.MQTTMessage) -> None:
        now = time.time()
        if not message.payload or "/request/" in message.topic:
            return
        said = json.loads(message.payload)
        if not said.get("sequence"):
            return  # progress, or a last will
        number = said["sequence"]
        if message.topic.endswith("/acquisition/started"):
            self.started.setdefault(said["data"]["name"], now)
        self.counts[number] = self.counts.get(number, 0) + 1
        assert self.ids.setdefault(number, said["id"]) == said["id"]

    def contiguous(self) -> int:
        number = 0
        while number + 1 in self.counts:
            number += 1
        return number

    def ask(self, since: int) -> None:
        self.client.publish(TOPICS.replay_request, json.dumps({"since": since}), qos=1)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


@contextlib.contextmanager
def broker_of(kind: str) -> Iterator[tuple[Broker, Path]]:
    with tempfile.TemporaryDirectory() as made:
        Path(made).chmod(0o755)  # Mosquitto drops its rights and must read its configuration
        broker = Broker(kind, Path(made))
        broker.start()
        try:
            yield broker, Path(made)
        finally:
            broker.kill()


# Drain


def bare(port: int, events: int, payload: bytes) -> float:
    """Messages a second of a bare publisher, until the last is acknowledged."""
    client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv311)
    client.max_inflight_messages_set(200)
    # paho looks through all that it holds at each acknowledgement: handed 100,000 at once it takes minutes.
    room = threading.Semaphore(200)
    client.on_publish = lambda *_: room.release()
    client.connect("127.0.0.1", port)
    client.loop_start()
    began = time.monotonic()
    for _ in range(events):
        room.acquire()
        client.publish(TOPICS.lifecycle("captured"), payload, qos=1)
    for _ in range(200):
        room.acquire()
    rate = events / (time.monotonic() - began)
    client.disconnect()
    client.loop_stop()
    return rate


def ours(port: int, folder: Path, events: int) -> float:
    outbox = Outbox.open(folder / f"outbox-{time.monotonic_ns()}.sqlite")
    outbox.announce(note(number) for number in range(1, events + 1))
    publisher = Publisher(MqttSettings(host="127.0.0.1", port=port), TOPICS, outbox)
    stop = threading.Event()
    thread = threading.Thread(target=publisher.run, args=(stop,))
    began = time.monotonic()
    thread.start()
    while outbox.unpublished(events - 1, 1):
        time.sleep(0.05)
    rate = events / (time.monotonic() - began)
    assert not outbox.unpublished(0, 1)
    stop.set()
    thread.join()
    outbox.close()
    return rate


def drain(kind: str, events: int, rounds: int) -> float:
    """Median of our rate over a bare publisher's, interleaved in one run."""
    payload = json.dumps({"padding": "x" * 500}).encode()
    ratios = []
    with broker_of(kind) as (broker, folder):
        for _ in range(rounds):
            them, us = bare(broker.port, events, payload), ours(broker.port, folder, events)
            ratios.append(us / them)
            print(
                f"{kind}: {events} events: bare paho {them:.0f}/s, backlog {us:.0f}/s, ratio {us / them:.2f}",
                flush=True,
            )
    print(f"{kind}: median ratio {statistics.median(ratios):.2f} (bar 0.60)")
    return statistics.median(ratios)


# Kills


def publisher_process(path: str, port: int) -> None:
    """The agent's part in this: an outbox and its publisher, until it is killed."""
    outbox = Outbox.open(Path(path))
    print("ready", flush=True)
    Publisher(MqttSettings(host="127.0.0.1", port=port, keepalive_s=5), TOPICS, outbox).run(threading.Event())


def announcer_process(path: str, events: int, seconds: float) -> None:
    """Announces events evenly; a process of its own, so that it may be slow without being killed."""
    outbox, began = Outbox.open(Path(path)), time.monotonic()
    step = max(1, events // 500)
    for first in range(1, events + 1, step):
        outbox.announce(note(number) for number in range(first, min(first + step, events + 1)))
        time.sleep(max(0.0, began + seconds * first / events - time.monotonic()))
    outbox.close()


def child(*arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, __file__, *map(str, arguments)]
    return subprocess.Popen(command, env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, text=True)


def kills(kind: str, events: int, broker_kills: int, agent_kills: int, seconds: float) -> tuple[int, int, int]:
    """(missing without replay, missing with it, duplicates); prints them."""
    with broker_of(kind) as (broker, folder):
        path = folder / "outbox.sqlite"
        Outbox.open(path).close()
        witness = Witness(broker.port)
        agent = child("publisher", path, broker.port)
        announcer = child("announcer", path, events, seconds)
        faults = [(i / broker_kills, "broker") for i in range(broker_kills)]
        faults += [((i + 0.5) / agent_kills, "agent") for i in range(agent_kills)]
        began = time.monotonic()
        for at, what in sorted(faults):
            time.sleep(max(0.3, began + seconds * at - time.monotonic()))
            if what == "broker":
                broker.kill()
                time.sleep(0.2)
                broker.start()
            else:
                agent.send_signal(signal.SIGKILL)
                agent.wait()
                agent.stdout.close()
                agent = child("publisher", path, broker.port)
        announcer.wait()
        announcer.stdout.close()
        outbox = Outbox.open(path)
        deadline = time.monotonic() + 180
        while outbox.unpublished(0, 1) and time.monotonic() < deadline:
            time.sleep(0.2)
        assert not outbox.unpublished(0, 1), "the backlog did not drain"
        time.sleep(2)
        without = events - len(witness.counts)
        while len(witness.counts) < events and time.monotonic() < deadline:
            witness.ask(witness.contiguous())
            time.sleep(2 + (events - witness.contiguous()) / 900)
        missing = len(set(range(1, events + 1)) - set(witness.counts))
        duplicates = sum(witness.counts.values()) - len(witness.counts)
        strangers = len(set(witness.counts) - set(range(1, events + 1)))
        agent.kill()
        agent.wait()
        agent.stdout.close()
        outbox.close()
        witness.close()
    print(f"{kind}: {events} events, broker killed {broker_kills} times, agent {agent_kills} times:", end=" ")
    print(f"missing without replay {without}, with replay {missing}, duplicates dropped {duplicates}", flush=True)
    assert strangers == 0
    return without, missing, duplicates


# Latency

CAMERA = """
import sys, time, useq
from pymmcore_plus import CMMCorePlus
from agent.hook import attach
core = CMMCorePlus.instance()
core.loadSystemConfiguration()
core.setExposure(1)
attach(core, sys.argv[1])
print("ready", flush=True)
started = []
core.mda.events.sequenceStarted.connect(lambda *_: started.append(time.time()))
for line in sys.stdin:
    name = line.strip()
    core.mda.run(useq.MDASequence(metadata={"name": name, "pymmcore_widgets": {"save_name": name}},
                                  time_plan={"interval": 0.01, "loops": 20}))
    print(started[-1], flush=True)
"""


def latency(kind: str, runs: int) -> float:
    """p95 in ms, from sequenceStarted in the camera's process to a subscriber of the broker."""
    from tests.lab import Lab

    with broker_of(kind) as (broker, folder):
        lab = Lab(folder, mqtt={"host": "127.0.0.1", "port": broker.port})
        witness, arrived = Witness(broker.port), []
        witness.client.on_message = lambda _c, _d, m: arrived.append((m.topic, time.time()))
        environment = os.environ | {"PYMM_LOG_FILE": "0", "PYMM_LOG_LEVEL": "ERROR", "PYTHONPATH": str(ROOT)}
        with lab.daemon():
            camera = subprocess.Popen([sys.executable, "-W", "ignore", "-c", CAMERA, str(lab.spool)], env=environment,
                                      stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # fmt: skip
            assert camera.stdout.readline().strip() == "ready"
            found = []
            for number in range(runs):
                arrived.clear()
                camera.stdin.write(f"run{number}\n")
                camera.stdin.flush()
                began = float(camera.stdout.readline())
                deadline = time.time() + 20
                while not (at := [t for topic, t in arrived if topic.endswith("/acquisition/started")]):
                    assert time.time() < deadline
                    time.sleep(0.005)
                found.append((at[0] - began) * 1000)
                time.sleep(0.5 + 0.037 * (number % 7))
            camera.stdin.close()
            camera.wait()
            camera.stdout.close()
        witness.close()
    found.sort()
    p95 = found[math.ceil(0.95 * len(found)) - 1]  # nearest rank
    print(f"{kind}: {runs} runs: start to subscriber: median {statistics.median(found):.0f} ms, p95 {p95:.0f} ms, "
          f"max {found[-1]:.0f} ms (bar p95 < 300)", flush=True)  # fmt: skip
    return p95


# The example ACL


def acl() -> bool:
    """True when everything forbidden is refused; prints how much that is."""
    from tests.unit.telemetry.test_mosquitto_acl import PUBLISH_FORBIDDEN, SUBSCRIBE_FORBIDDEN

    command = [sys.executable, "-m", "pytest", "-q", "-rs", "tests/unit/telemetry/test_mosquitto_acl.py"]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)})
    told = "refused" if done.returncode == 0 else "FAILED"
    print(f"acl: {len(PUBLISH_FORBIDDEN)} forbidden publishes (each plain and retained) and {len(SUBSCRIBE_FORBIDDEN)} "
          f"forbidden subscriptions, over MQTT 5 and 3.1.1 (bar 20 each): {told}", flush=True)  # fmt: skip
    return done.returncode == 0


def measure(what: str, chosen: argparse.Namespace, broker: str) -> bool:
    """True when the bar is met."""
    match what:
        case "drain":
            return drain(broker, chosen.events or 100_000, chosen.rounds) >= 0.6
        case "latency":
            return latency(broker, chosen.runs) < 300
        case "kills":
            return kills(broker, chosen.events or 10_000, 10, 5, chosen.seconds)[1] == 0
        case _:
            return acl()


def main() -> None:
    if sys.argv[1:2] == ["publisher"]:
        return publisher_process(sys.argv[2], int(sys.argv[3]))
    if sys.argv[1:2] == ["announcer"]:
        return announcer_process(sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["all", "latency", "kills", "drain", "acl"])
    parser.add_argument("--broker", choices=["mosquitto", "nats"], default="mosquitto")
    parser.add_argument("--events", type=int)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--runs", type=int, default=25)
    parser.add_argument("--seconds", type=float, default=60)
    chosen = parser.parse_args()
    if chosen.what != "all":
        sys.exit(not measure(chosen.what, chosen, chosen.broker))
    met = [measure(what, chosen, broker) for what in ("latency", "kills", "drain") for broker in ("mosquitto", "nats")]
    sys.exit(not all([*met, acl()]))


if __name__ == "__main__":
    main()
