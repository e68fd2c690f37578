"""The facility side of deploy/: proxy with TLS, compose file, unit, backup and restore, with the real programs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import trustme

from agent.contract.settings import read_toml, validate
from agent.delivery.facility import FacilityTarget
from agent.delivery.settings import DeliverySettings
from agent.facility.settings import Settings
from tests.conftest import ROOT, free_port
from tests.conftest import running as process
from tests.unit.facility.rig import DATASET, files, running
from tests.unit.telemetry.secure import find_mosquitto

HERE = ROOT / "deploy" / "facility"
OTHER = DATASET.replace("0badcafe", "1badcafe")


def backup(*words: object) -> subprocess.CompletedProcess:
    command = [sys.executable, "-I", str(HERE / "backup.py"), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def listed(where) -> object:
    """What readers of the catalogue see."""
    return where.agent("reader").http.get("/api/acquisitions").json()


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_disk_that_is_not_mounted_is_no_backup(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for data in (tmp_path / "none", tmp_path / "empty"):
        done = backup("save", data, tmp_path / "backup")
        assert done.returncode == 1
        assert "is not there or holds nothing" in done.stderr
    assert not (tmp_path / "backup").exists()


def test_a_restore_into_an_empty_machine_gives_the_same_catalogue(tmp_path: Path) -> None:
    data, saved, other = tmp_path / "data", tmp_path / "backup", tmp_path / "other machine"
    with running(data) as facility:
        assert facility.agent().deliver(files()).status_code in (200, 201)
        assert backup("save", data, saved).returncode == 0
        # A second one arrives; the next backup, of a facility that runs, holds it too and copies only what is new.
        second = files(id="0198c0de-0000-7000-8000-000000000002")
        assert facility.agent().deliver(second, OTHER).status_code in (200, 201)
        copied = int(backup("save", data, saved).stdout.split()[0])
        assert 0 < copied < len(tree(data))
        before = listed(facility)
    assert all(dataset in str(before) for dataset in (DATASET, OTHER))
    assert backup("restore", saved, other).returncode == 0
    with running(other) as facility:
        assert listed(facility) == before
    # Without the catalogue, too: it is made again from the datasets, and every byte compared.
    (other / "catalogue.sqlite").unlink()
    index = [sys.executable, "-m", "agent", "facility", "index", "--data", str(other), "--verify"]
    done = subprocess.run(index, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "2 datasets catalogued, 0 in quarantine"), done.stderr
    with running(other) as facility:
        again = listed(facility)
    assert without_times(again) == without_times(before)
    for name, body in tree(data).items():
        if DATASET.split("/")[0] in name and "uploads" not in name:
            assert (other / name).read_bytes() == body


def without_times(value: object) -> object:
    """When the facility took a row in is not part of what it is."""
    if isinstance(value, dict):
        return {key: without_times(inner) for key, inner in value.items() if key not in ("received_at", "committed_at")}
    return [without_times(inner) for inner in value] if isinstance(value, list) else value


def test_a_restore_never_goes_over_data(tmp_path: Path) -> None:
    (tmp_path / "saved").mkdir()
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "x").touch()
    assert "is not empty" in backup("restore", tmp_path / "saved", tmp_path / "data").stderr
    assert "is not there" in backup("restore", tmp_path / "none", tmp_path / "new").stderr


def caddy() -> str:
    found = shutil.which("caddy", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    if found is None:
        pytest.skip("caddy is not installed")
    return found


def test_agents_deliver_through_the_proxy_with_tls(tmp_path: Path) -> None:
    authority, port = trustme.CA(), free_port()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    issued = authority.issue_cert("127.0.0.1", "localhost")
    issued.private_key_pem.write_to_path(tmp_path / "server.key")
    for number, part in enumerate(issued.cert_chain_pems):
        part.write_to_path(tmp_path / "server.pem", append=bool(number))
    with running(tmp_path / "data") as facility:
        upstream = re.sub(r"^https?://", "", str(facility.agent().http.base_url)).rstrip("/")
        said = {
            "FACILITY_LISTEN": f"https://localhost:{port}", "FACILITY_UPSTREAM": upstream,
            "FACILITY_CERTIFICATE": str(tmp_path / "server.pem"), "FACILITY_KEY": str(tmp_path / "server.key"),
            "XDG_DATA_HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path),
        }  # fmt: skip
        before = dict(os.environ)
        os.environ.update(said)
        try:
            with process([caddy(), "run", "--config", str(HERE / "Caddyfile"), "--adapter", "caddyfile"], port):
                token = facility.agent().http.headers["Authorization"].removeprefix("Bearer ")
                (tmp_path / "token").write_text(token)
                settings = DeliverySettings.model_validate(
                    {
                        "url": f"https://localhost:{port}",
                        "token_file": tmp_path / "token",
                        "ca_file": tmp_path / "ca.pem",
                    }
                )
                target = FacilityTarget(settings)
                target.check()
                target.close()
        finally:
            os.environ.clear()
            os.environ.update(before)


def test_the_settings_are_those_of_the_facility(tmp_path: Path) -> None:
    tables = read_toml(HERE / "facility.toml")
    settings = validate(Settings, {"data_dir": tmp_path} | tables, "facility.toml")
    assert settings.reading_is_open is False
    hidden = re.sub(r"(?m)^#(?=\w+ = )", "", (HERE / "facility.toml").read_text())
    assert validate(Settings, {"data_dir": tmp_path} | tomllib.loads(hidden), "facility.toml").broker_password


def test_compose_takes_the_file_and_everything_it_mounts_is_there(tmp_path: Path) -> None:
    text = (HERE / "compose.yaml").read_text()
    for name in re.findall(r"- \./([\w./-]+):", text):
        top = name.split("/")[0]
        assert (HERE / name).exists() or top in ("tls", "mosquitto"), name
    assert {"mosquitto.conf", "acl"} <= {path.name for path in (ROOT / "deploy" / "mosquitto").iterdir()}
    for asked in (["docker", "compose"], ["docker-compose"]):
        if (
            shutil.which(asked[0])
            and subprocess.run([*asked, "version"], capture_output=True, check=False).returncode == 0
        ):
            # The old compose wants a version and knows no file without one.
            (tmp_path / "compose.yaml").write_text(("version: '3.8'\n" if len(asked) == 1 else "") + text)
            done = subprocess.run(
                [*asked, "-f", str(tmp_path / "compose.yaml"), "config", "-q"],
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, done.stderr
            return
    pytest.skip("docker compose is not installed")


def test_the_container_runs_a_command_that_exists() -> None:
    text = (HERE / "Dockerfile").read_text()
    words = re.search(r"CMD \[(.*)\]", text)[1].replace('"', "").replace(",", "").split()
    done = subprocess.run(
        [sys.executable, "-m", "agent", "facility", words[0], "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for option in words[1:]:
        assert not option.startswith("--") or option in done.stdout


def test_systemd_takes_the_unit_of_the_facility(tmp_path: Path) -> None:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd is not installed")
    unit = tmp_path / "scope-facility.service"
    text = (HERE / "scope-facility.service").read_text()
    unit.write_text(text.replace("/opt/scope-agent/bin/scope-agent", shutil.which("true")))
    done = subprocess.run([program, "verify", str(unit)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    security = subprocess.run(
        [program, "security", "--offline=true", "--no-pager", str(unit)], capture_output=True, text=True, check=False
    )
    if "offline" in security.stderr:
        pytest.skip("this systemd cannot judge a file")
    assert float(re.search(r"exposure level for \S+: ([\d.]+)", security.stdout)[1]) < 3


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.skipif(find_mosquitto() is None or not shutil.which("setpriv"), reason="mosquitto is not installed")
def test_the_broker_of_the_compose_file_starts_without_any_privilege(tmp_path: Path) -> None:
    """As that container: root without capabilities cannot become the user `mosquitto`, nor read its files."""
    service = (HERE / "compose.yaml").read_text().split("\n  mosquitto:\n")[1].split("\n\n")[0]
    assert "cap_drop: [ALL]" in service
    user = re.search(r'user: "(\d+):(\d+)"', service)
    assert user is not None, "the image starts as root, and its broker gives up to become another user"
    for folder in (tmp_path, *tmp_path.parents[:-2]):
        folder.chmod(0o755)
    facility, ca = tmp_path / "facility", trustme.CA()
    shutil.copytree(HERE, facility)
    shutil.copytree(ROOT / "deploy" / "mosquitto", tmp_path / "mosquitto")
    (tmp_path / "PATH" / "TO").mkdir(parents=True)
    ca.cert_pem.write_to_path(tmp_path / "PATH" / "TO" / "ca.pem")
    made = ca.issue_cert("localhost")
    made.private_key_pem.write_to_path(tmp_path / "PATH" / "TO" / "server.key")
    made.cert_chain_pems[0].write_to_path(tmp_path / "PATH" / "TO" / "server.pem")
    # The page's own commands, with the password given instead of asked for.
    page = (ROOT / "docs" / "facility.md").read_text().split("cd deploy/facility\n")[1].split("```")[0]
    page = re.sub(r"mosquitto_passwd (.*)", r"mosquitto_passwd -b \1 secret", page).replace("PATH/TO", "../PATH/TO")
    subprocess.run(["sh", "-ec", page], cwd=facility, check=True, capture_output=True)
    # And what compose mounts where.
    conf = (facility / "mosquitto" / "mosquitto.conf").read_text()
    assert "./mosquitto/mosquitto.conf:/mosquitto/config/mosquitto.conf:ro" in service
    assert "./mosquitto:/etc/mosquitto/scope-agent:ro" in service
    data = re.search(r"- broker:(\S+)", service)[1]
    assert data == "/mosquitto/data", "the only folder of the image that its user may write"
    assert f"persistence_location {data}/" in conf
    (tmp_path / "data").mkdir()
    os.chown(tmp_path / "data", int(user[1]), int(user[2]))
    port = free_port()
    conf = conf.replace(data, f"{tmp_path}/data").replace("/etc/mosquitto/scope-agent", str(facility / "mosquitto"))
    conf = conf.replace("listener 8883", f"listener {port} 127.0.0.1").replace("8884", f"{free_port()} 127.0.0.1")
    (tmp_path / "run.conf").write_text(conf)
    become = ["setpriv", "--reuid", user[1], "--regid", user[2], "--clear-groups", "--bounding-set", "-all"]
    broker = subprocess.Popen(
        [*become, find_mosquitto(), "-c", str(tmp_path / "run.conf")], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        said = b""
        while b" running" not in said and (line := broker.stdout.readline()):
            said += line
        assert b" running" in said, said.decode()
        pub = [
            "mosquitto_pub",
            "-h",
            "localhost",
            "-p",
            str(port),
            "-u",
            "facility",
            "-P",
            "secret",
            "-t",
            "x",
            "-m",
            "y",
        ]
        subprocess.run([*pub, "--cafile", str(facility / "mosquitto" / "ca.pem")], check=True)
    finally:
        broker.terminate()
        broker.communicate(timeout=10)
    assert (tmp_path / "data" / "mosquitto.db").is_file(), "what is retained is kept"
