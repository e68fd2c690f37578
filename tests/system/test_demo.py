"""The demo as a user runs it, its result checked with tools that are not ours."""

from __future__ import annotations

import hashlib
import json
import os
import queue
import shutil
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from lxml import etree
from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from tests.conftest import ROOT, Broker

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

ORDER = ["started", "finished", "captured", "documented", "delivered", "verified"]
OME = "{http://www.openmicroscopy.org/Schemas/OME/2016-06}"


@dataclass
class Demo:
    folder: Path
    output: str
    messages: list[tuple[str, dict[str, Any]]]

    def dataset(self, ending: str) -> Path:
        found = [path.parent for path in (self.folder / "facility/datasets").rglob("manifest-sha256.txt")]
        return next(path for path in found if path.name.split("_")[1].startswith(ending))

    def events(self, dataset: Path) -> list[dict[str, Any]]:
        run = json.loads((dataset / "acquisition.json").read_text())["id"]
        return [message for topic, message in self.messages if "/acquisition/" in topic and message["subject"] == run]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """`scope-agent demo --once` with a broker of ours, so that a bare client hears everything from the start."""
    folder = tmp_path_factory.mktemp("demo")
    broker = Broker("nats", folder)
    broker.start()
    received: queue.Queue = queue.Queue()
    ready = threading.Event()
    client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv311)
    client.on_connect = lambda c, *_: c.subscribe("scope/v1/#", qos=1)
    client.on_subscribe = lambda *_: ready.set()
    client.on_message = lambda _c, _u, m: received.put((m.topic, json.loads(m.payload)))
    client.connect("127.0.0.1", broker.port)
    client.loop_start()
    assert ready.wait(10)
    done = run("demo", "--once", "--dir", str(folder / "d"), "--broker", f"127.0.0.1:{broker.port}")
    client.disconnect()
    client.loop_stop()
    broker.kill()
    log = folder / "d/logs/agent.log"
    assert done.returncode == 0, done.stderr + (log.read_text() if log.exists() else "")
    return Demo(folder / "d", done.stdout, list(received.queue))


def run(*arguments: str, **how: Any) -> subprocess.CompletedProcess:
    environment = {**os.environ, "COLUMNS": "200"}
    command = [sys.executable, "-m", "agent", *arguments]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=280, check=False, env=environment, **how
    )


@pytest.mark.parametrize("kind", ["demo", "other"])
def test_sha256sum_confirms_every_dataset(demo: Demo, kind: str) -> None:
    dataset = demo.dataset(kind)
    done = subprocess.run(["sha256sum", "-c", "manifest-sha256.txt"], cwd=dataset, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout
    listed = {line.split("  ", 1)[1] for line in (dataset / "manifest-sha256.txt").read_text().splitlines()}
    present = {path.relative_to(dataset).as_posix() for path in dataset.rglob("*") if path.is_file()}
    assert present == listed | {"manifest-sha256.txt"}
    assert {
        "acquisition.json",
        "ro-crate-metadata.json",
        "methods.txt",
        "device-state.json.gz",
        "metadata.companion.ome",
    } <= listed


def schema() -> etree.XMLSchema:
    standards = Path(os.environ.get("SCOPE_AGENT_STANDARDS", ROOT.parent / "shared/standards"))
    xsd = standards / "ome/ome-2016-06.offline.xsd"
    if not xsd.exists():
        pytest.skip(f"no OME schema at {xsd}: set SCOPE_AGENT_STANDARDS")
    return etree.XMLSchema(etree.parse(xsd))


def test_every_ome_xml_is_schema_valid_and_has_an_instrument(demo: Demo) -> None:
    ome = schema()
    found = [
        *demo.folder.rglob("datasets/**/metadata.companion.ome"),
        *demo.folder.rglob("datasets/**/METADATA.ome.xml"),
    ]
    assert len(found) == 4
    for path in found:
        document = etree.parse(path)
        assert ome.validate(document), (path, ome.error_log)
    hooked = etree.parse(demo.dataset("demo") / "metadata.companion.ome").getroot()
    instrument = hooked.find(f"{OME}Instrument")
    assert instrument.find(f"{OME}Objective").get("LensNA")
    assert len(hooked.findall(f"{OME}Image")) == 2
    assert len(hooked.findall(f"{OME}Image/{OME}Pixels/{OME}Plane")) == 36


def datasets(demo: Demo) -> tuple[Path, Path]:
    """(TIFF, Zarr) datasets of the demo microscope."""
    found = [path.parent for path in (demo.folder / "facility/datasets").rglob("manifest-sha256.txt")]
    tiff = next(path for path in found if list(path.glob("data/*.ome.tiff")))
    return tiff, next(path for path in found if list(path.glob("data/*.ome.zarr")))


def written_by_camera(demo: Demo, ending: str) -> dict[tuple[int, ...], str]:
    path = next((demo.folder / "images").glob(f"*.{ending}.frames.json"))
    return {tuple(frame["index"][a] for a in "ptcz"): frame["sha256"] for frame in json.loads(path.read_text())}


def test_tiff_pixels_are_what_the_camera_process_wrote(demo: Demo) -> None:
    tiff, _ = datasets(demo)
    truth = written_by_camera(demo, "ome.tiff")
    assert len(truth) == 36
    for position, path in enumerate(sorted((tiff / "data").glob("*.ome.tiff"))):
        with tifffile.TiffFile(path) as opened:
            assert b"<Instrument" in opened.pages[0].tags["ImageDescription"].value.encode()
            pixels = opened.series[0].asarray()
        axes = pixels.reshape((3, 2, 3, 256, 256))
        for t, c, z in np.ndindex(3, 2, 3):
            plane = hashlib.sha256(np.ascontiguousarray(axes[t, c, z]).tobytes()).hexdigest()
            assert plane == truth[(position, t, c, z)]


def test_zarr_pixels_are_what_the_camera_process_wrote(demo: Demo) -> None:
    import tensorstore

    _, zarr = datasets(demo)
    truth = written_by_camera(demo, "ome.zarr")
    root = next((zarr / "data").glob("*.ome.zarr"))
    for position, name in enumerate(["A1", "B2"]):
        spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": str(root / name / "0")}}
        pixels = tensorstore.open(spec).result().read().result()
        for t, c, z in np.ndindex(3, 2, 3):
            plane = hashlib.sha256(np.ascontiguousarray(pixels[t, c, z]).tobytes()).hexdigest()
            assert plane == truth[(position, t, c, z)]


def test_what_the_software_wrote_is_untouched_and_its_hash_recorded(demo: Demo) -> None:
    for dataset in datasets(demo):
        record = json.loads((dataset / "acquisition.json").read_text())
        originals = {
            hashlib.sha256(path.read_bytes()).hexdigest()
            for path in (demo.folder / "images").rglob("*")
            if path.is_file()
        }
        data = [file for file in record["files"] if file["role"] == "data"]
        assert data
        assert all(file["source_sha256"] in originals for file in data)


def test_the_bare_client_heard_every_lifecycle_event_in_order_without_gaps(demo: Demo) -> None:
    for dataset in [*datasets(demo), demo.dataset("other")]:
        names = [event["type"].split(".")[-2] for event in demo.events(dataset)]
        assert [name for name in names if name != "current"] == ORDER
        assert all(event["specversion"] == "1.0" for event in demo.events(dataset))
    sequences = sorted({message["sequence"] for topic, message in demo.messages if not topic.endswith("/progress")})
    assert sequences == list(range(1, len(sequences) + 1))
    states = [m["data"]["state"] for topic, m in demo.messages if topic.endswith("/status")]
    assert (states[0], states[-1]) == ("online", "offline")


def test_the_record_says_what_was_planned_and_what_came(demo: Demo) -> None:
    from agent.contract.record import Record

    tiff, zarr = datasets(demo)
    for dataset in (tiff, zarr):
        record = Record.model_validate_json((dataset / "acquisition.json").read_bytes())
        assert (record.planned.frames, record.actual.frames) == (36, 36)
        assert (record.source, record.finish_reason) == ("hook", "completed")
        assert record.hardware.components
        assert record.completeness["tier1"].filled > 10
        assert {channel.name for channel in record.channels} == {"DAPI", "FITC"}
    other = Record.model_validate_json((demo.dataset("other") / "acquisition.json").read_bytes())
    assert other.source == "watch"
    assert next(file.path for file in other.files if file.role == "data").endswith(".tif")


def test_the_table_and_the_kept_config(demo: Demo) -> None:
    for text in ("36 / 36", "verified by SHA-256", "yes", "started finished captured", "tier1", "facility/datasets"):
        assert text in demo.output, demo.output
    assert run("check", "-c", str(demo.folder / "config.toml"), "--json").stdout.startswith("[")
    listed = json.loads(run("acquisitions", "list", "--json", "-c", str(demo.folder / "config.toml")).stdout)
    assert {entry["state"] for entry in listed} == {"verified"}
    assert len(listed) == 3


def test_verify_finds_a_flipped_byte(demo: Demo, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(demo.dataset("other"), copy)
    assert run("verify", str(copy)).returncode == 0
    target = next((copy / "data").iterdir())
    with target.open("r+b") as file:
        file.seek(100)
        byte = file.read(1)
        file.seek(100)
        file.write(bytes([byte[0] ^ 1]))
    done = run("verify", str(copy))
    assert done.returncode == 65
    assert "different: data/" in done.stdout


def test_nothing_of_the_demo_is_left_running(demo: Demo) -> None:
    import psutil

    left = [
        process
        for process in psutil.process_iter(["cmdline"])
        if str(demo.folder) in " ".join(process.info["cmdline"] or [])
    ]
    assert left == []
