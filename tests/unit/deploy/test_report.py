"""The support bundle holds what helps, and no secret, wherever one was planted."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest

from agent.clock import SystemClock
from agent.operate.report import write_report
from agent.operate.secrets import GONE, Redactor
from tests.conftest import ROOT

# Each of these is planted somewhere and must not come out.
TOKEN, PASSWORD, KEY_ID, KEY = "tok-4f9a8b7c6d", "mqtt pass word!", "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMIbPxRfiCY"
IN_URL, IN_TOML, IN_COMMENT, IN_ENV = "url-5ecret-1", "toml-5ecret-2", "comment-5ecret-3", "env-5ecret-4"
RCLONE, IN_LOG, IN_TRACE, IN_QUERY = "rclone-5ecret-5", "log-5ecret-6", "trace-5ecret-7", "query-5ecret-8"
PRIVATE = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC"
ALL = [
    TOKEN, PASSWORD, KEY_ID, KEY, IN_URL, IN_TOML, IN_COMMENT, IN_ENV, RCLONE, IN_LOG, IN_TRACE, IN_QUERY, PRIVATE
]  # fmt: skip


@pytest.fixture
def planted(tmp_path: Path) -> Path:
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    (tmp_path / "mqtt-password").write_text(PASSWORD)
    (tmp_path / "keys").write_text(f"{KEY_ID}\n{KEY}\n")
    (tmp_path / "rclone.conf").write_text(f"[far]\ntype = sftp\npass = {RCLONE}\n")
    (tmp_path / "key.pem").write_text(f"-----BEGIN PRIVATE KEY-----\n{PRIVATE}\n-----END PRIVATE KEY-----\n")
    (tmp_path / "config.toml").write_text(f"""
site = "lab"
instrument = "scope"
state = "state"
# the old broker had password = "{IN_COMMENT}"
[hook]
spool = "spool"
[delivery]
# url = "http://robot:{IN_URL}@127.0.0.1:9"
url = "http://127.0.0.1:9"
token_file = "token"
[delivery.s3]
endpoint = "http://127.0.0.1:9"
bucket = "b"
credentials_file = "keys"
[delivery.rclone]
remote = "far:"
config_file = "rclone.conf"
[mqtt]
host = "127.0.0.1"
port = 9
password_file = "mqtt-password"
key_file = "key.pem"
""")
    log = tmp_path / "state" / "log"
    log.mkdir(parents=True)
    lines = [
        {"message": f"GET http://a:{IN_LOG}@host/x?token={IN_QUERY}&n=1 Authorization: Bearer {TOKEN}"},
        {"message": "connected", "trace": f'File "x"\n  password = "{IN_TRACE}"\n {{"api_key": "{IN_TRACE}"}}'},
        {"message": f"-----BEGIN RSA PRIVATE KEY-----\n{PRIVATE}\n-----END RSA PRIVATE KEY-----"},
        {"message": f"s3 {KEY_ID} {KEY}; broker said {PASSWORD}; acquisition cells_001 was verified"},
    ]
    (log / "scope-agent.log").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return tmp_path / "config.toml"


def contents(path: Path) -> dict[str, str]:
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name).decode() for name in archive.namelist()}


def test_no_planted_secret_comes_out(planted: Path, tmp_path: Path) -> None:
    environment = {"SCOPE_AGENT_TOKEN": IN_ENV, "AWS_SECRET_ACCESS_KEY": IN_TOML, "SCOPE_AGENT_CONFIG": "c.toml"}
    found = contents(write_report(planted, tmp_path / "out.zip", SystemClock(), environment))
    assert sorted(found) == ["check.json", "config.toml", "log/scope-agent.log", "report.json", "status.json"]
    for name, text in found.items():
        for secret in ALL:
            assert secret not in text, f"{secret} in {name}"
    assert GONE in found["config.toml"]
    assert GONE in found["log/scope-agent.log"]


def test_a_configuration_that_is_refused_for_its_password_does_not_show_it(planted: Path, tmp_path: Path) -> None:
    text = planted.read_text().replace("# url = ", "url = ", 1)
    planted.write_text(text.replace('url = "http://127.0.0.1:9"\n', "", 1))
    found = contents(write_report(planted, tmp_path / "out.zip", SystemClock(), {}))
    assert "config_error" in json.loads(found["report.json"])
    for name, text in found.items():
        assert IN_URL not in text, name


def test_what_helps_is_still_there(planted: Path, tmp_path: Path) -> None:
    found = contents(write_report(planted, tmp_path / "out.zip", SystemClock(), {"TZ": "UTC", "HOME": "/root"}))
    assert 'token_file = "token"' in found["config.toml"], "where a secret lies is none"
    assert "cells_001 was verified" in found["log/scope-agent.log"]
    for line in found["log/scope-agent.log"].splitlines():
        json.loads(line)
    machine = json.loads(found["report.json"])
    assert machine["environment"] == {"TZ": "UTC"}
    assert machine["packages"]["pydantic"]
    assert machine["state"]["log"] == 1
    assert json.loads(found["status.json"])["running"] is False
    assert any(one["level"] == "fail" for one in json.loads(found["check.json"]))


def test_a_config_with_a_secret_where_none_belongs_cannot_be_read_and_is_cleaned(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(f'site = "a"\n[mqtt]\nhost = "h"\npassword = "{IN_TOML}"\napi-key = "{IN_TOML}"\n')
    found = contents(write_report(path, tmp_path / "out.zip", SystemClock(), {"A_PASSWORD": PASSWORD}))
    assert all(IN_TOML not in text for text in found.values())
    assert "unknown key" in found["report.json"]


def test_only_the_end_of_a_long_log(planted: Path, tmp_path: Path) -> None:
    log = tmp_path / "state" / "log" / "scope-agent.log"
    log.write_text("".join(f'{{"message": "line {n}"}}\n' for n in range(200_000)))
    text = contents(write_report(planted, tmp_path / "out.zip", SystemClock(), {}))["log/scope-agent.log"]
    assert len(text) <= 2 << 20
    assert text.startswith('{"message"')
    assert text.endswith('"line 199999"}\n')


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ('token_file = "token"', 'token_file = "token"'),
        ("mqtt://u:p@broker:1883/x", f"mqtt://{GONE}@broker:1883/x"),
        ("mail to a@b.org", "mail to a@b.org"),
        ("author = 'A. Nobody'", "author = 'A. Nobody'"),
        ('{"password": "x y"}', f'{{"password": "{GONE}"}}'),
        ('"{\\"secret\\": \\"x y\\"}"', f'"{{\\"secret\\": \\"{GONE}\\"}}"'),
        ("PASSWORD=hunter2 next", f"PASSWORD={GONE} next"),
        ("authorization: basic dXNlcjpwYXNz", f"authorization: basic {GONE}"),
        ("exposure_ms = 20; pixel: 0.1", "exposure_ms = 20; pixel: 0.1"),
        ("X-Amz-Signature=abc123&x=1", f"X-Amz-Signature={GONE}&x=1"),
        ("# the old password was hunter-2, change it", f"# the old password was {GONE}, change it"),
        ("the password is wrong: change it", "the password is wrong: change it"),
        ("net use --password hunter2 --verbose", f"net use --password {GONE} --verbose"),
        ("--token-file token --api-key k2", f"--token-file token --api-key {GONE}"),
        ("Set-Cookie: session=a1; Path=/", f"Set-Cookie: {GONE}"),
        ("Kennwort: abc", f"Kennwort: {GONE}"),
        ("of before: scope_MDZF8D2IMeIHDKYL0uaWLPfNBi9 refused", f"of before: {GONE} refused"),
    ],
)
def test_what_looks_like_a_secret(text: str, clean: str) -> None:
    found = Redactor(set()).clean(text)
    assert re.sub(r"(?i)authorization: .*", f"authorization: basic {GONE}", found) == clean


def test_a_secret_is_known_however_it_was_written(planted: Path, tmp_path: Path) -> None:
    """In a file of PowerShell, and in the log as an address or JSON has it."""
    secret = 'a "long" pass/wörd'
    (tmp_path / "mqtt-password").write_text(secret, encoding="utf-16")
    (tmp_path / "token").write_text(f"{TOKEN}\n", encoding="utf-8-sig")
    log = tmp_path / "state" / "log" / "scope-agent.log"
    log.write_text(
        f"{secret} {quote(secret)} {quote_plus(secret)} {json.dumps(secret)} {TOKEN}, in {tmp_path}\n", encoding="utf-8"
    )
    planted.write_text(planted.read_text(), encoding="utf-16")
    environment = {"PWD": str(tmp_path), "OLDPWD": str(tmp_path)}
    found = contents(write_report(planted, tmp_path / "out.zip", SystemClock(), environment))
    text = found["log/scope-agent.log"]
    assert not [word for word in ("long", "wörd", "w%C3", TOKEN) if word in text]
    assert str(tmp_path) in text, "the folder that somebody is in is no secret"
    assert 'site = "lab"' in found["config.toml"]
    assert not [word for word in (IN_COMMENT, IN_URL) if word in found["config.toml"].replace("\0", "")]


def test_the_command(planted: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "agent", "doctor", "-c", str(planted), "--bundle", "--to", str(tmp_path / "b.zip")]
    environment = os.environ | {"SCOPE_AGENT_TOKEN": IN_ENV}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "look through it first" in done.stdout
    assert all(secret not in text for text in contents(tmp_path / "b.zip").values() for secret in ALL)
