"""What somebody gets wrong who sees the program for the first time: each is one line that says what to do."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import venv
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from agent.cli.app import app, load_commands
from agent.config import load
from agent.contract.layout import MANIFEST
from agent.delivery.folder import FolderTarget
from agent.delivery.s3_client import read_credentials
from agent.delivery.settings import DeliverySettings, FolderSettings, S3Settings, read_token
from agent.errors import Misconfigured, ScopeAgentError, Unreachable
from agent.facility.serve import create_token
from agent.operate import far
from agent.operate.asked import ask
from agent.telemetry.connection import read_password
from agent.telemetry.probe import probe
from agent.telemetry.settings import MqttSettings
from tests.conftest import ROOT

MINIMAL = 'site = "a"\ninstrument = "b"\nstate = "s"\n[delivery]\nurl = "http://127.0.0.1:1"\n'


def run(*words: object) -> Result:
    load_commands()
    return CliRunner().invoke(app, [str(word) for word in words])


def refused(*words: object) -> str:
    """The one line of a command that fails."""
    done = run(*words)
    assert isinstance(done.exception, ScopeAgentError), (done.output, done.exception)
    assert "\n" not in str(done.exception)
    return str(done.exception)


def config(folder: Path, text: str = MINIMAL) -> Path:
    path = folder / "config.toml"
    path.write_text(text, encoding="utf-8")
    return path


# -- files as Windows writes them --


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_secrets_that_powershell_or_notepad_wrote(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "secret").write_text("scope_abc\r\n", encoding=encoding)
    delivery = DeliverySettings(url="http://127.0.0.1:1", token_file=tmp_path / "secret")
    assert read_token(delivery) == "scope_abc"
    assert read_password(MqttSettings(host="h", password_file=tmp_path / "secret")) == "scope_abc"
    (tmp_path / "keys").write_text("id\r\nkey\r\n", encoding=encoding)
    store = S3Settings(endpoint="http://127.0.0.1:1", bucket="b", credentials_file=tmp_path / "keys")
    assert read_credentials(store) == ("id", "key")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_config_that_powershell_or_notepad_wrote(tmp_path: Path, encoding: str) -> None:
    config(tmp_path).write_text(MINIMAL, encoding=encoding)
    assert load(tmp_path / "config.toml").site == "a"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (MINIMAL.replace('"s"', r'"C:\Users\x"'), "line 3.*single quotes"),
        (MINIMAL.replace('"s"', "state"), "line 3.*in quotes"),
        (MINIMAL.replace("http://", ""), "http:// or https://"),
        (MINIMAL + '[mqtt]\nhost = "http://broker"\n', "name or address alone"),
        (MINIMAL + '[mqtt]\nhost = "broker:1883"\n', "name or address alone"),
    ],
)
def test_a_config_with_a_slip(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(Misconfigured, match=says):
        load(config(tmp_path, text))


def test_a_config_that_is_a_folder_or_no_text(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="is a folder: name the file"):
        load(tmp_path)
    (tmp_path / "latin").write_bytes('site = "Zürich"'.encode("latin-1"))
    with pytest.raises(Misconfigured, match="save it as UTF-8"):
        load(tmp_path / "latin")


# -- the facility --


def test_a_token_goes_into_a_file_that_only_its_owner_reads(tmp_path: Path) -> None:
    done = run("facility", "token", "create", "lab/scope", "--data", tmp_path / "f", "--to", tmp_path / "token")
    assert done.exit_code == 0, done.output
    assert (tmp_path / "token").read_text().startswith("scope_")
    assert "scope_" not in done.output
    if os.name == "posix":
        assert (tmp_path / "token").stat().st_mode & 0o077 == 0
    before = (tmp_path / "f" / "tokens.txt").read_text()
    again = refused("facility", "token", "create", "lab/scope", "--data", tmp_path / "f", "--to", tmp_path / "token")
    assert "exists already" in again
    assert (tmp_path / "f" / "tokens.txt").read_text() == before, "no token that nobody has"


def test_the_folder_of_another_facility_is_noticed(tmp_path: Path) -> None:
    assert "is not there: name the facility's folder" in refused("facility", "token", "list", "--data", tmp_path / "no")
    assert "is not there: name the facility's folder" in refused("facility", "index", "--data", tmp_path / "no")
    done = run("facility", "token", "create", "lab/scope", "--data", tmp_path / "new")
    assert f"{tmp_path / 'new'} is new" in done.stderr
    assert "is new" not in run("facility", "token", "create", "lab/other", "--data", tmp_path / "new").stderr


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root can be somebody else")
def test_what_root_does_in_the_facilitys_folder_belongs_to_the_facility() -> None:
    import shutil
    import tempfile

    folder = Path(tempfile.mkdtemp())
    data = folder / "data"
    data.mkdir()
    folder.chmod(0o755)
    os.chown(data, 65534, 65534)
    try:
        run("facility", "token", "create", "lab/scope", "--data", data, "--to", folder / "token")
        assert run("facility", "index", "--data", data).exit_code == 0
        assert {path.stat().st_uid for path in data.rglob("*")} == {65534}
        assert (folder / "token").stat().st_uid == 0
        assert os.geteuid() == 0
    finally:
        shutil.rmtree(folder)


def test_check_says_that_there_is_no_token(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("\n")
    for settings in (
        DeliverySettings(url="http://127.0.0.1:1", token_file=tmp_path / "token"),
        DeliverySettings(url="http://127.0.0.1:1", token_env="SCOPE_AGENT_NOT_SET"),
    ):
        found = list(far.target(settings))
        assert [one.level for one in found] == ["fail"]
        assert "holds no token" in found[0].text
        assert "facility token create" in found[0].text


def test_check_says_what_to_do_when_nobody_answers(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(create_token(tmp_path / "f", "lab/scope"))
    found = list(far.target(DeliverySettings(url="http://127.0.0.1:9", token_file=tmp_path / "token")))
    assert found[0].text.endswith("is it on, and is the address right?")


@pytest.mark.parametrize("silent", [True, False])
def test_check_says_what_a_broker_may_want_that_gives_no_answer(silent: bool) -> None:
    """As a TLS port does when it is spoken to in plain text: it closes, or waits for what never comes."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]

        def take() -> None:
            for _ in ("5", "3.1.1"):
                taken.append(listening.accept()[0])
                if not silent:
                    taken[-1].recv(100)
                    taken[-1].close()

        taken: list[socket.socket] = []
        thread = threading.Thread(target=take)
        thread.start()
        with pytest.raises(Unreachable, match=r"gives no answer .*does this port want TLS \(mqtt.ca_file\)"):
            probe(MqttSettings(host="127.0.0.1", port=port), seconds=1)
        thread.join(5)
        for one in taken:
            one.close()
    with pytest.raises(Unreachable, match="is it on, and is the address right"):
        probe(MqttSettings(host="127.0.0.1", port=port), seconds=1)


# -- the rest --


def test_verify_of_the_folder_around_a_dataset(tmp_path: Path) -> None:
    (tmp_path / "out" / "cells_1").mkdir(parents=True)
    (tmp_path / "out" / "cells_1" / MANIFEST).write_text("")
    assert f"verify {tmp_path / 'out' / 'cells_1'}" in refused("verify", tmp_path / "out")
    assert "is a file: name the folder" in refused("verify", tmp_path / "out" / "cells_1" / MANIFEST)


def test_an_acquisition_that_is_not_there(tmp_path: Path) -> None:
    from agent.outbox import Outbox

    path = config(tmp_path)
    (tmp_path / "s").mkdir()
    Outbox.open(tmp_path / "s" / "outbox.sqlite").close()
    assert "there is no acquisition nope" in refused("acquisitions", "show", "nope", "-c", path)


def test_a_profile_without_a_source_says_whose_it_is(tmp_path: Path) -> None:
    pytest.importorskip("pymmcore_plus")
    done = run("instrument", "init", "--out", tmp_path / "instrument.toml")
    if isinstance(done.exception, Misconfigured):
        pytest.skip(str(done.exception))
    assert "demo microscope" in done.stderr
    assert "demo microscope" in (tmp_path / "instrument.toml").read_text()


def test_calibrations_before_the_first(tmp_path: Path) -> None:
    path = config(tmp_path)
    for command in ("list", "trend", "due"):
        assert "nothing was ever measured" in run("calibrations", command, "-c", path).output
    assert "beads.tif does not exist" in refused("calibrate", "psf", tmp_path / "beads.tif")


def test_a_session_says_what_it_noted(tmp_path: Path) -> None:
    path = config(tmp_path)
    assert "anna" in run("session", "start", "--user", "anna", "-c", path).output
    assert "over" in run("session", "stop", "-c", path).output


def test_a_hook_that_is_not_there_is_not_removed(tmp_path: Path) -> None:
    venv.create(tmp_path / "env", symlinks=os.name == "posix")
    python = tmp_path / "env" / ("bin/python" if os.name == "posix" else "Scripts/python.exe")
    done = run("hook", "uninstall", "--python", python)
    assert done.exit_code == 0
    assert "has no hook" in done.output


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root can be somebody else")
def test_asking_the_daemon_without_the_right_to() -> None:
    import tempfile

    folder = Path(tempfile.mkdtemp())
    os.setresuid(65534, 65534, 0)
    try:
        with pytest.raises(Misconfigured, match="as administrator or root"):
            ask(folder, 1)
    finally:
        os.setresuid(0, 0, 0)
        folder.rmdir()


# -- what is not installed --


@pytest.mark.parametrize(
    ("lacks", "words", "extra"),
    [
        ("scipy", ["calibrate", "detector", "dark.tif", "flat.tif"], "qc"),
        ("fastapi", ["facility", "serve", "--data", "facility"], "facility"),
        ("sqlalchemy", ["facility", "index", "--data", "."], "facility"),
        ("mm_test_adapters", ["demo", "--once"], "demo"),
    ],
)
def test_a_command_whose_extra_is_not_installed_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lacks: str, words: list[str], extra: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, lacks, None)
    said = refused(*words)
    assert lacks in said
    assert f"pip install 'scope-agent[{extra}]'" in said
    assert list(tmp_path.iterdir()) == []


def test_anything_else_that_is_not_installed_is_one_line_too(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['rich'] = sys.modules['rich.console'] = None; from agent.cli.app import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "demo", "--once"], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "is not installed" in done.stderr


def test_check_does_not_wait_for_a_share_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    never = threading.Event()
    monkeypatch.setattr(FolderTarget, "check", lambda _: never.wait())
    monkeypatch.setattr(far, "_SHARE_S", 0.2)
    settings = DeliverySettings(target="folder", folder=FolderSettings(path=tmp_path))
    (finding,) = far.target(settings)
    never.set()
    assert (finding.level, finding.subject) == ("fail", "folder")
    assert f"{tmp_path} does not answer" in finding.text


# -- what nobody foresaw --

_BUGGY = """
import sys
from agent.cli import app as cli

@cli.app.command()
def buggy(word: str) -> None:
    {}["one\\ntwo " + word]

sys.argv = ["scope-agent", *sys.argv[1:]]
cli.main()
"""


def buggy(folder: Path, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "SCOPE_AGENT_DEBUG"}
    return subprocess.run(
        [sys.executable, "-c", _BUGGY, *words], cwd=folder, env={**environment, "PYTHONPATH": str(ROOT), **more},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_a_bug_is_one_line_that_says_so_and_how_to_see_more(tmp_path: Path) -> None:
    done = buggy(tmp_path, "buggy", "x")
    assert done.returncode == 70
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "KeyError" in done.stderr
    assert "bug in scope-agent" in done.stderr
    assert "scope-agent --debug buggy x" in done.stderr


def test_a_bug_is_shown_in_full_when_asked_for(tmp_path: Path) -> None:
    done = buggy(tmp_path, "--debug", "buggy", "x")
    assert done.returncode != 0
    assert "Traceback" in done.stderr
    assert "KeyError" in done.stderr


def test_a_bug_that_ends_the_daemon_is_in_its_log_with_its_traceback(tmp_path: Path) -> None:
    code = (
        "import sys; from agent import daemon; from agent.cli.app import main\n"
        "daemon.Daemon.run = lambda self: [][1]\n"
        "sys.argv = ['scope-agent', 'run', '-c', 'config.toml']; main()"
    )
    config(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 70
    assert "Traceback" not in done.stderr
    logged = (tmp_path / "s" / "log" / "scope-agent.log").read_text(encoding="utf-8")
    assert "IndexError" in logged
    assert "Traceback" in logged
