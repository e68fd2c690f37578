"""Seeing it work: the status view, the metrics, and what the service manager is told."""

from __future__ import annotations

import contextlib
import functools
import io
import os
import re
import select
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from rich.console import Console

from agent.cli.status_view import lines, live
from agent.config import Config
from agent.errors import Misconfigured
from agent.operate.metrics import MetricsServer, render
from agent.operate.notify import Notifier
from agent.operate.status import status_of
from agent.outbox import Outbox
from tests.conftest import ROOT, free_port
from tests.lab import Lab

SAID = {
    "running": True,
    "site": "lab",
    "instrument": "scope",
    "heartbeat": {
        "pid": 7, "version": "1.2", "at": "2026-01-02T03:04:05.000000Z", "started_at": "2026-01-01T00:00:00.000000Z",
        "broker": None, "problems": ["deliver: no route"], "queue": 3,
    },
    "unread": None,
    "acquisitions": {"queued": 3, "verified": 40},
    "current": {"id": "i", "name": "cells_007", "frames": 12, "planned": 40},
    "bytes_left": 3 << 30,
    "disk_free": 1 << 40,
    "disk_reserve": 512 << 20,
    "recent": [{"id": "i", "name": "cells_007", "state": "acquiring"}],
    "errors": [{"id": "j", "name": "cells_006", "state": "queued", "error": "the facility did not answer"}],
}  # fmt: skip


def test_an_outbox_of_another_version_is_not_said_to_be_empty(tmp_path: Path) -> None:
    """Between an upgrade and the first start of the new daemon, beside a queue of many."""
    lab = Lab(tmp_path)
    outbox = lab.config.state / "outbox.sqlite"
    Outbox.open(outbox).close()
    with contextlib.closing(sqlite3.connect(outbox)) as connection:
        connection.execute("PRAGMA user_version = 1")
        connection.commit()
    said = status_of(lab.config)
    text = "\n".join(lines(said))
    assert "not one of this version yet" in said["unread"]
    assert "acquisitions: not known: the outbox" in text
    assert "none yet" not in text
    assert "0 acquisitions" not in text


def test_the_status_as_text() -> None:
    text = "\n".join(lines(SAID))
    for said in (
        "scope-agent is running",
        "acquiring: cells_007, 12 of 40 frames",
        "queue: 3 acquisitions, 3.0 GiB to send",
        "broker: connected",
        "problems: deliver: no route",
        "cells_006 (queued): the facility did not answer",
        "last sign of life: 2026-01-02 03:04:05 UTC",
    ):
        assert said in text
    assert "\nscope" not in text


def test_a_daemon_that_does_not_run_is_connected_to_nothing() -> None:
    text = "\n".join(lines(SAID | {"running": False}))
    assert "scope-agent is not running" in text
    assert "last sign of life: 2026-01-02 03:04:05 UTC" in text
    assert "connected" not in text
    assert "problems" not in text


def test_the_view_follows_the_daemon() -> None:
    frames = iter(range(12, 20))
    shown = io.StringIO()

    def look() -> dict:
        return SAID | {"current": SAID["current"] | {"frames": next(frames)}}

    console = Console(file=shown, force_terminal=True, width=100, height=40, color_system=None)
    last = live(look, console, turns=3)
    assert last["current"]["frames"] == 15
    for said in ("12 of 40 frames", "15 of 40 frames", "cells_006 (queued): the facility did not answer"):
        assert said in shown.getvalue()


def test_looking_on_changes_nothing(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    assert status_of(lab.config)["running"] is False
    with lab.daemon():
        said = status_of(lab.config)
        assert said["running"] is True
        assert said["heartbeat"]["queue"] == 0
        before = {path.name: path.stat().st_mtime_ns for path in lab.state.iterdir() if "outbox" in path.name}
        for _ in range(5):
            status_of(lab.config)
        after = {path.name: path.stat().st_mtime_ns for path in lab.state.iterdir() if "outbox" in path.name}
        assert after == before
    assert status_of(lab.config)["running"] is False


def test_an_outbox_that_is_made_this_moment_is_no_error(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    (lab.state / "outbox.sqlite").touch()
    assert status_of(lab.config)["acquisitions"] == {}


@pytest.mark.skipif(os.name != "posix", reason="a pseudo terminal")
def test_on_a_terminal_it_is_live_until_ctrl_c(tmp_path: Path) -> None:
    import pty

    (tmp_path / "config.toml").write_text(
        'site = "lab"\ninstrument = "scope"\nstate = "state"\n[delivery]\nurl = "http://127.0.0.1:9"\n'
    )
    command = [sys.executable, "-m", "agent", "status", "-c", str(tmp_path / "config.toml")]
    master, slave = pty.openpty()
    # A shell's background job, as tests may be, ignores the interrupt, and its children would.
    heard = functools.partial(signal.signal, signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(command, cwd=ROOT, stdout=slave, stderr=slave, stdin=slave, preexec_fn=heard)
    os.close(slave)
    shown = b""
    try:
        deadline = time.monotonic() + 20
        while shown.count(b"not running") < 2 and time.monotonic() < deadline:
            if select.select([master], [], [], 0.5)[0]:
                shown += os.read(master, 65536)
        process.send_signal(signal.SIGINT)
        # A terminal that nobody reads would hold up its last words.
        while process.poll() is None and time.monotonic() < deadline + 10:
            if select.select([master], [], [], 0.1)[0]:
                with contextlib.suppress(OSError):
                    os.read(master, 65536)
        assert process.wait(1) == 1, "none runs"
    finally:
        process.kill()
        process.wait()
        os.close(master)
    assert shown.count(b"not running") >= 2, "shown anew each second"
    once = subprocess.run([*command, "--once"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (once.returncode, once.stdout.splitlines()[0]) == (1, "scope-agent is not running")


# -- metrics --

LINE = re.compile(r'^[a-z_]+(\{([a-z_]+="([^"\\\n]|\\.)*",?)+\})? -?[0-9.e+-]+$')


def test_prometheus_finds_metrics_on_loopback(tmp_path: Path) -> None:
    port = free_port()
    lab = Lab(tmp_path, metrics={"port": port})
    with lab.daemon():
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            kind, text = answer.headers["Content-Type"], answer.read().decode()
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5)
        with pytest.raises(urllib.error.HTTPError, match="501"):
            urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{port}/metrics", b"x"), timeout=5)
    assert kind.startswith("text/plain; version=0.0.4")
    for line in text.splitlines():
        assert line.startswith("# ") or LINE.match(line), line
    assert 'scope_agent_info{site="lab",instrument="scope",version="' in text
    assert "\nscope_agent_queue 0\n" in text
    assert "\nscope_agent_broker_up 0\n" in text
    assert float(re.search(r"^process_resident_memory_bytes (.+)$", text, re.MULTILINE)[1]) > 1e7


def test_what_prometheus_reads_is_what_was_meant() -> None:
    parser = pytest.importorskip("prometheus_client.parser")
    samples = [
        ("a_total", "counter", "How many.", {"name": 'x"y\\z\n'}, 3.0),
        ("a_total", "counter", "How many.", {"name": "other"}, 1e12),
        ("b", "gauge", "One.", {}, 0.5),
    ]
    families = list(parser.text_string_to_metric_families(render(iter(samples))))
    told = [(s.name, s.labels, s.value) for family in families for s in family.samples]
    assert told == [(name, labels, value) for name, _, _, labels, value in samples]


def test_no_metrics_without_a_port_and_a_taken_port_is_one_line(tmp_path: Path) -> None:
    assert Lab(tmp_path).config.metrics.port == 0
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(Misconfigured, match="name another one"):
            MetricsServer(taken.getsockname()[1], lambda: iter(()))
    with pytest.raises(ValueError, match="65535"):
        Config.model_validate({"site": "a", "metrics": {"port": 70000}})


# -- the service manager --


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX") or sys.platform == "win32", reason="systemd")
@pytest.mark.parametrize("abstract", [False, True])
def test_systemd_hears_of_us(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, abstract: bool) -> None:
    name = f"scope-agent-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(f"\0{name}" if abstract else str(tmp_path / "n"))
        heard.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}" if abstract else str(tmp_path / "n"))
        with Lab(tmp_path).daemon():
            assert heard.recv(99) == b"READY=1"
            assert heard.recv(99) == b"WATCHDOG=1"
            assert heard.recv(99) == b"WATCHDOG=1"
        while (said := heard.recv(99)) == b"WATCHDOG=1":
            pass
        assert said == b"STOPPING=1"


def test_without_systemd_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    Notifier().ready()
    Notifier("/nowhere/there").alive()
