"""One clear line, an exit code that is not 0, and nothing half-made left behind."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from agent.cli.demo import servers
from agent.cli.demo.children import Children
from agent.errors import ScopeAgentError
from agent.lock import FolderLock
from tests.conftest import ROOT, free_port
from tests.system.test_demo import run

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]


def one_line(done: subprocess.CompletedProcess, *words: str) -> None:
    assert done.returncode not in (0, 1), (done.returncode, done.stdout, done.stderr)
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("scope-agent: ")
    for word in words:
        assert word in lines[0]


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    one_line(run("demo", "--once", "--dir", str(tmp_path / "file" / "demo")), "cannot be written")


def test_a_second_demo_in_the_same_folder(tmp_path: Path) -> None:
    with FolderLock(tmp_path, "demo"):
        one_line(run("demo", "--once", "--dir", str(tmp_path)), "another scope-agent demo", str(os.getpid()))


def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    if os.name == "nt" or os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("a small disk can only be made by root on Linux")
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "none", str(disk)], check=False)
    if mounted.returncode:
        pytest.skip("mounting is not allowed here")
    try:
        one_line(run("demo", "--once", "--dir", str(disk / "demo")), "cannot be written")
        assert not (disk / "demo").exists()
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_broker_that_is_not_there(tmp_path: Path) -> None:
    one_line(run("demo", "--once", "--dir", str(tmp_path / "d"), "--broker", f"127.0.0.1:{free_port()}"), "broker")
    one_line(run("demo", "--once", "--dir", str(tmp_path / "d"), "--broker", "nonsense"), "HOST:PORT")


@pytest.mark.parametrize(
    ("text", "word"), [("site = ", "not valid TOML"), ("sight = 'a'", "did you mean 'site'"), ("", "is missing")]
)
def test_a_broken_config(tmp_path: Path, text: str, word: str) -> None:
    (tmp_path / "c.toml").write_text(text)
    one_line(run("run", "-c", str(tmp_path / "c.toml")), word, "c.toml")
    assert list(tmp_path.iterdir()) == [tmp_path / "c.toml"]
    checked = run("check", "-c", str(tmp_path / "c.toml"))
    assert checked.returncode == 1
    assert checked.stdout.startswith("fail")


def test_an_unknown_device_adapter_is_named(tmp_path: Path) -> None:
    """The microscope's own error, not ours: it passes through in one line."""
    code = (
        "import mm_test_adapters as a; from pymmcore_plus import CMMCorePlus; c = CMMCorePlus();"
        "c.setDeviceAdapterSearchPaths([str(a.device_adapter_path())]); c.loadDevice('X', 'NoSuchAdapter', 'Y')"
    )
    with Children(tmp_path) as children, pytest.raises(ScopeAgentError, match="NoSuchAdapter") as caught:
        children.run("microscope", [sys.executable, "-c", code])
    assert "\n" not in str(caught.value)


def test_a_taken_port_is_left_alone_and_another_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken, free = free_port(), free_port()
    ports = iter([taken, free])
    monkeypatch.setattr(servers, "free_port", lambda: next(ports))
    with Children(tmp_path) as children:
        code = (
            "import socket, sys, time; s = socket.socket(); s.bind(('127.0.0.1', int(sys.argv[1])));"
            "s.listen(); time.sleep(60)"
        )
        import socket

        with socket.socket() as other:
            other.bind(("127.0.0.1", taken))
            # Bound, not listening: the server cannot have it.
            port = servers.on_free_port(children, "server", lambda port: [sys.executable, "-c", code, str(port)])
        assert port == free


def test_ctrl_c_ends_everything_within_five_seconds(tmp_path: Path) -> None:
    if os.name == "nt":
        pytest.skip("Ctrl-C cannot be sent to one process group from a test on Windows")
    command = [sys.executable, "-m", "agent", "demo", "--dir", str(tmp_path / "d")]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        for line in process.stdout:
            if "dashboard:" in line:
                break
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        process.wait(20)
        took = time.monotonic() - began
    finally:
        process.kill()
        process.stdout.close()
    assert took < 5
    assert process.returncode == 0
    import psutil

    left = [p for p in psutil.process_iter(["cmdline"]) if str(tmp_path) in " ".join(p.info["cmdline"] or [])]
    assert left == []
