"""The commands as a user types them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile

from agent.cli.demo.folder import INSTRUMENT, SITE
from agent.contract.record import Record
from agent.facility.serve import create_token
from tests.conftest import ROOT, end_facility, free_port, wait_port
from tests.system.test_demo import run

pytestmark = [pytest.mark.system, pytest.mark.timeout(180)]


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    path = tmp_path / "stack.tif"
    tifffile.imwrite(path, np.zeros((4, 16, 16), np.uint16), photometric="minisblack", metadata=None)
    return path


def test_inspect_says_what_a_file_is(stack: Path, tmp_path: Path) -> None:
    done = run("inspect", str(stack), "--format", "json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["format"] == "tiff"
    assert run("inspect", str(stack), "--format", "ome-xml").stdout.startswith("<")
    assert "tiff" in run("inspect", str(stack)).stdout
    os.truncate(stack, 300)
    assert run("inspect", str(stack)).returncode in (3, 5)
    (tmp_path / "x.bin").write_bytes(b"unknown")
    assert run("inspect", str(tmp_path / "x.bin")).returncode == 4
    missing = run("inspect", str(tmp_path / "none"))
    assert missing.returncode == 2
    assert "does not exist" in missing.stderr


def test_annotate_makes_a_dataset_that_sha256sum_and_verify_confirm(stack: Path, tmp_path: Path) -> None:
    before = stack.read_bytes()
    done = run("annotate", str(stack), "--out", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    dataset = Path(done.stdout.strip())
    subprocess.run(["sha256sum", "--quiet", "-c", "manifest-sha256.txt"], cwd=dataset, check=True)
    assert run("verify", str(dataset)).returncode == 0
    assert run("methods", str(dataset)).stdout.strip()
    assert stack.read_bytes() == before
    with tifffile.TiffFile(dataset / "data" / "stack.tif") as copy:
        assert "<OME" in copy.pages[0].description
        assert np.array_equal(copy.asarray(), tifffile.imread(stack))
    record = Record.model_validate_json((dataset / "acquisition.json").read_bytes())
    assert next(file for file in record.files if file.role == "data").annotated
    again = run("annotate", str(stack), "--out", str(tmp_path / "out"))
    assert again.returncode == 2
    assert "exists already" in again.stderr


def test_schemas_are_json_schemas() -> None:
    import jsonschema

    for name in ("config", "record", "event"):
        schema = json.loads(run("schema", name).stdout)
        jsonschema.Draft202012Validator.check_schema(schema)


def test_the_hook_comes_and_goes_without_a_trace(tmp_path: Path) -> None:
    import venv

    venv.EnvBuilder(with_pip=False, symlinks=os.name != "nt").create(tmp_path / "env")
    python = tmp_path / "env" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    # What the hook needs of that environment: pymmcore-plus and msgspec, here those of our own.
    site = sysconfig.get_path("purelib", vars={"base": str(tmp_path / "env"), "platbase": str(tmp_path / "env")})
    Path(site, "shared.pth").write_text(sysconfig.get_path("purelib"))
    before = sorted(path for path in (tmp_path / "env").rglob("*"))
    assert json.loads(run("hook", "status", "--python", str(python), "--json").stdout)["installed"] is False
    spool = tmp_path / "spool"
    assert run("hook", "install", "--python", str(python), "--spool", str(spool)).returncode == 0
    status = json.loads(run("hook", "status", "--python", str(python), "--json").stdout)
    assert (status["installed"], status["spool"]) == (True, str(spool))
    assert run("hook", "uninstall", "--python", str(python)).returncode == 0
    assert sorted(path for path in (tmp_path / "env").rglob("*")) == before
    nobody = run("hook", "install", "--python", str(tmp_path / "nopython"))
    assert nobody.returncode == 2
    assert len(nobody.stderr.splitlines()) == 1


def test_the_demo_uses_a_facility_that_is_named(tmp_path: Path) -> None:
    port = free_port()
    token = create_token(tmp_path / "theirs", f"{SITE}/{INSTRUMENT}")
    command = [sys.executable, "-m", "agent", "facility", "serve", "--data", str(tmp_path / "theirs")]
    command += ["--port", str(port), "--mqtt-port", "0"]
    facility = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_port(port, facility, 30)
        address = f"http://127.0.0.1:{port}"
        done = run("demo", "--once", "--dir", str(tmp_path / "d"), "--facility", address, "--token", token)
        assert done.returncode == 0, done.stderr
        assert len(list((tmp_path / "theirs/datasets").rglob("manifest-sha256.txt"))) == 3
        assert not (tmp_path / "d/facility/datasets").exists()
        assert token not in (tmp_path / "d/config.toml").read_text()
    finally:
        end_facility(facility, tmp_path / "theirs")


def test_a_second_ctrl_c_ends_the_daemon_at_once(tmp_path: Path) -> None:
    if os.name == "nt":
        pytest.skip("Ctrl-C cannot be sent to one process from a test on Windows")
    (tmp_path / "c.toml").write_text(
        'site = "a"\ninstrument = "b"\nstate = "s"\n[hook]\nspool = "spool"\n[delivery]\nurl = "http://127.0.0.1:1"\n'
    )
    daemon = subprocess.Popen(
        [sys.executable, "-m", "agent", "run", "-c", str(tmp_path / "c.toml")], cwd=ROOT, stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 30
        while not (tmp_path / "s" / "heartbeat.json").exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        os.kill(daemon.pid, signal.SIGSTOP)  # both arrive before it can act
        daemon.send_signal(signal.SIGINT)
        os.kill(daemon.pid, signal.SIGCONT)
        daemon.send_signal(signal.SIGINT)
        assert daemon.wait(10) in (0, 130)
    finally:
        daemon.kill()
        daemon.wait()
