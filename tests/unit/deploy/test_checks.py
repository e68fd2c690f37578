"""`scope-agent check`: each thing that can be wrong is said, in words that tell what to do."""

from __future__ import annotations

import contextlib
import dataclasses
import http.server
import json
import os
import shutil
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from pathlib import Path, PureWindowsPath

import pytest
import trustme

from agent.cli.status_view import lines
from agent.clock import SystemClock, utc
from agent.config import Config, load
from agent.hook import __version__ as hook_version
from agent.hook.install import Installed
from agent.operate import certificates, checks, far, folders, hooked
from agent.operate.asked import ask
from agent.operate.finding import Finding
from agent.operate.status import status_of
from agent.sources.settings import WatchSettings
from tests.conftest import ROOT
from tests.lab import Lab

NOW = datetime.now(UTC)


def said(found: Iterator[Finding] | list[Finding], level: str) -> str:
    """The texts of one level, one a line."""
    return "\n".join(f"{one.subject}: {one.text}" for one in found if one.level == level)


def config(folder: Path, **more: object) -> Config:
    tables = {"site": "lab", "instrument": "scope", "state": folder / "state", "hook": {"spool": folder / "spool"}}
    return Config.model_validate(tables | {"delivery": {"url": "http://127.0.0.1:9"}} | more)


# -- folders --


def test_a_watched_folder_that_is_away_or_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    away = list(folders.watched(WatchSettings(path=tmp_path / "none"), releasing=False))
    file = list(folders.watched(WatchSettings(path=tmp_path / "file"), releasing=False))
    assert "is not there: make it, mount it" in said(away, "fail")
    assert "is a file: name the folder" in said(file, "fail")
    assert said(folders.watched(WatchSettings(path=tmp_path), releasing=True), "fail") == ""


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root can be somebody else")
@pytest.mark.parametrize(("mode", "says"), [(0o700, "cannot be read by"), (0o755, "may not remove from")])
def test_a_folder_that_the_service_account_may_not_use(mode: int, says: str) -> None:
    import getpass  # noqa: F401 -- loaded while we may read it
    import tempfile

    folder = Path(tempfile.mkdtemp())
    folder.chmod(mode)
    os.setresuid(65534, 65534, 0)
    try:
        found = list(folders.watched(WatchSettings(path=folder), releasing=True))
    finally:
        os.setresuid(0, 0, 0)
        folder.rmdir()
    assert says in said(found, "fail")


@pytest.mark.parametrize(
    ("path", "share", "is_mapped"),
    [
        (PureWindowsPath("Z:/images"), True, True),
        (PureWindowsPath("C:/images"), False, False),
        (PureWindowsPath(r"\\server\share\images"), True, False),
    ],
)
def test_a_mapped_drive_is_named(path: PureWindowsPath, share: bool, is_mapped: bool) -> None:
    assert folders.mapped(path, share=share) is is_mapped


def test_shares(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders, "is_network", lambda _path: True)
    found = list(folders.check(config(tmp_path, watch=({"path": tmp_path, "mode": "events"},))))
    assert "is on a share: name a folder on a local disk" in said(found, "fail")
    assert "tells of no events" in said(found, "warn")
    assert "looked through every 15 s" in said(found, "ok")


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = config(tmp_path, watch=({"path": tmp_path},))
    here.state.mkdir()
    assert said(folders.disks(here), "ok").count("GiB free") == 1, "a disk is told once"
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage._replace(free=1 << 30))
    assert "only 1.0 GiB free" in said(folders.disks(here), "warn")
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage._replace(free=300 << 20))
    found = said(folders.disks(here), "fail")
    assert "only 0.3 GiB free" in found
    assert "nothing is written below 512 MiB (delivery.limits.reserve_mib): make room" in found
    shown = "\n".join(lines(status_of(here)))
    assert "disk: 300.0 MiB free, nothing is written below 512 MiB: make room" in shown


@pytest.mark.skipif(sys.platform != "linux", reason="inotify")
@pytest.mark.parametrize(("most", "level"), [(5, "fail"), (12, "warn"), (1000, "ok")])
def test_more_folders_than_the_system_watches(tmp_path: Path, most: int, level: str) -> None:
    system = tmp_path / "inotify"
    system.mkdir()
    (system / "max_user_watches").write_text(f"{most}\n")
    (system / "max_user_instances").write_text("128\n")
    for number in range(10):
        (tmp_path / "images" / str(number)).mkdir(parents=True)
    found = list(folders.limits((WatchSettings(path=tmp_path / "images"),), system))
    assert [one.level for one in found] == [level]
    assert f"11 folders to watch, the system allows {most}" in found[0].text
    assert ("fs.inotify.max_user_watches" in found[0].text) == (level != "ok")
    (system / "max_user_instances").write_text("1\n")
    found = list(folders.limits((WatchSettings(path=tmp_path / "images"),), system))
    assert "fs.inotify.max_user_instances" in said(found, "fail")


@pytest.mark.skipif(os.name != "posix", reason="rights are told otherwise")
def test_a_secret_that_everybody_can_read(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("x")
    here = config(tmp_path, delivery={"url": "http://127.0.0.1:9", "token_file": token})
    token.chmod(0o644)
    assert f"chmod 600 {token}" in said(folders.secrets(here), "warn")
    token.chmod(0o600)
    assert list(folders.secrets(here)) == []


# -- the hook --


def test_the_hook(tmp_path: Path) -> None:
    there = Installed(Path("/lab/python"), hook_version, Path("/lab/site"), tmp_path / "spool", 1_700_000_000 * 10**9)
    deaf, hearing = config(tmp_path), config(tmp_path, watch=({"path": tmp_path},))
    assert "nothing is heard: 'scope-agent hook install" in said(hooked.check(deaf, []), "warn")
    assert "in no environment" in said(hooked.check(hearing, []), "ok")
    assert "last wrote at 2023-11-14 22:13 UTC" in said(hooked.check(deaf, [there]), "ok")
    elsewhere = dataclasses.replace(there, spool=tmp_path / "other")
    found = list(hooked.check(deaf, [elsewhere] * 9))
    assert f"nobody writes to {tmp_path / 'spool'}" in said(found, "warn")
    assert f"(to {tmp_path / 'other'})" in said(found, "warn")
    assert len(found) == 1, "one line for all of them"
    assert [one.level for one in hooked.check(deaf, [elsewhere, there])] == ["ok"], "others are no business of ours"
    old = dataclasses.replace(there, version="0.0.1", last_write_ns=None)
    assert "has hook 0.0.1, this is" in said(hooked.check(deaf, [old]), "warn")


# -- the clock --


@contextlib.contextmanager
def server(ahead_s: float, context: ssl.SSLContext | None = None) -> Iterator[int]:
    """An HTTP server whose clock is ahead; its port."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response_only(200)
            if ahead_s is not None:
                self.send_header("Date", formatdate(time.time() + ahead_s, usegmt=True))
            self.end_headers()

        def log_message(self, *_args: object) -> None:
            pass

    made = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    if context is not None:
        made.socket = context.wrap_socket(made.socket, server_side=True)
    thread = threading.Thread(target=made.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield made.server_port
    finally:
        made.shutdown()
        thread.join()
        made.server_close()


@pytest.mark.parametrize(
    ("ahead_s", "level", "says"),
    [
        (0, "ok", "agrees with"),
        (60, "warn", "behind"),
        (-60, "warn", "ahead of"),
        (86_400, "fail", "turn on time synchronisation"),
        (None, "warn", "tells no time"),
    ],
)
def test_the_clock_against_the_facility(ahead_s: float, level: str, says: str) -> None:
    with server(ahead_s) as port:
        found = list(far.offset(f"http://127.0.0.1:{port}", None, SystemClock()))
    assert [one.level for one in found] == [level]
    assert says in found[0].text


def test_a_facility_that_is_away_is_told_once(tmp_path: Path) -> None:
    found = list(far.check(config(tmp_path), SystemClock()))
    assert [one.subject for one in found if one.level == "fail"] == ["facility"]


# -- certificates --


def issued(folder: Path, until: datetime) -> Path:
    path = folder / "certificate.pem"
    blob = trustme.CA().issue_cert("127.0.0.1", not_after=until, not_before=until - timedelta(days=400))
    path.write_bytes(blob.private_key_and_cert_chain_pem.bytes())
    return path


@pytest.mark.parametrize(
    ("days", "level", "says"),
    [(100, "ok", "is valid until"), (10, "warn", "ends in 9 days"), (-2, "fail", "renew it"), (20_000, "ok", "valid")],
)
def test_the_end_of_a_certificate_in_a_file_and_of_a_server(tmp_path: Path, days: int, level: str, says: str) -> None:
    until = NOW + timedelta(days=days)
    path = issued(tmp_path, until)
    first = next(certificates.in_file(path))
    assert certificates.ends(first) == until.replace(microsecond=0)
    found = certificates.judge("certificate", "x", first, NOW)
    assert (found.level, says in found.text) == (level, True), found
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    with server(0, context) as port:
        assert certificates.of_server("127.0.0.1", port) == first
        here = config(tmp_path, delivery={"url": f"https://127.0.0.1:{port}", "ca_file": path})
        found = [one for one in far.check(here, SystemClock()) if one.subject == "facility certificate"]
    assert found[0].level == level


def test_a_file_without_a_certificate(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("nothing")
    for name, says in (("ca.pem", "holds no certificate"), ("none.pem", "cannot be read")):
        here = config(tmp_path, delivery={"url": "http://127.0.0.1:9", "ca_file": tmp_path / name})
        assert says in said(far._filed("facility certificate", here.delivery.ca_file, utc(0)), "fail")


# -- altogether --


def test_what_the_daemon_itself_can_reach(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    path = tmp_path / "config.toml"
    path.write_text(
        f'site = "lab"\ninstrument = "scope"\nstate = "{lab.state}"\n[hook]\nspool = "{lab.spool}"\nlogs = []\n'
        f'[[watch]]\npath = "{lab.images}"\n[delivery]\nurl = "http://127.0.0.1:9"\n'
    )
    lab.config = load(path)
    lab.path = path
    with lab.daemon():
        found = ask(lab.state, 30)
        assert "daemon: runs" in said(found, "ok")
        assert f"watch: {lab.images}" in said(found, "ok")
        done = subprocess.run(
            [sys.executable, "-m", "agent", "check", "-c", path, "--as-daemon", "--json"],
            cwd=ROOT, capture_output=True, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 1, "the facility is away"
    assert {one["subject"] for one in json.loads(done.stdout) if one["level"] == "fail"} == {"facility"}


def test_nobody_answers_when_no_daemon_runs(tmp_path: Path) -> None:
    from agent.errors import Retryable

    with pytest.raises(Retryable, match="does it run"):
        ask(tmp_path, 0.3)
    assert list(tmp_path.iterdir()) == []


def test_a_config_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    assert said(checks.check_all(tmp_path / "none.toml"), "fail").startswith("config: ")
