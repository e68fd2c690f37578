"""The example config, the schema and the errors of the configuration."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from agent.config import Config, fingerprint, load
from agent.contract.settings import _model_in
from agent.errors import Misconfigured
from tests.conftest import ROOT

EXAMPLE = ROOT / "config.example.toml"
MINIMAL = 'site = "a"\ninstrument = "b"\nstate = "s"\n[delivery]\nurl = "http://127.0.0.1:1"\n'


def uncommented() -> dict[str, Any]:
    """The example with every default switched on."""
    return tomllib.loads(re.sub(r"^#(?=[a-z_]+ = )", "", EXAMPLE.read_text(encoding="utf-8"), flags=re.MULTILINE))


def settings_of(model: type[BaseModel], prefix: str = "") -> set[str]:
    """Dotted names of every setting."""
    found = set()
    for name, field in model.model_fields.items():
        inner = _model_in(field.annotation)
        found |= settings_of(inner, f"{prefix}{name}.") if inner else {f"{prefix}{name}"}
    return found


def keys_of(tables: dict[str, Any], prefix: str = "") -> set[str]:
    found = set()
    for name, value in tables.items():
        value = value[0] if isinstance(value, list) and value and isinstance(value[0], dict) else value
        found |= keys_of(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}"}
    return found


def test_the_example_loads_as_it_stands() -> None:
    config = load(EXAMPLE)
    assert config.instrument == "widefield-1"
    assert config.watch[0].path == ROOT / "images"


def test_the_example_names_every_setting_and_no_other() -> None:
    assert keys_of(uncommented()) == settings_of(Config)


def without_paths(value: Any) -> Any:
    """Files have no default, and are made absolute."""
    if isinstance(value, dict):
        return {name: without_paths(inner) for name, inner in value.items()}
    return None if isinstance(value, Path) else value


def test_the_example_shows_the_defaults() -> None:
    """Switching on a value behind '#' changes nothing, but for files and names that have no default."""
    plain, full = load(EXAMPLE), Config.model_validate(uncommented())
    for table in ("hook", "settle", "document", "delivery", "mqtt", "log"):
        for name, value in getattr(plain, table).model_dump().items():
            shown = getattr(full, table).model_dump()[name]
            value, shown = without_paths(value), without_paths(shown)
            assert value is None or shown == value, f"{table}.{name}"
    watched = plain.watch[0].model_dump(exclude={"path"})
    assert full.watch[0].model_dump(exclude={"path"}) == watched


def test_every_setting_is_explained_in_code_and_example() -> None:
    text = EXAMPLE.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(text):
        if re.match(r"#?[a-z_]+ = ", line):
            above = text[number - 1]
            assert above.startswith("# ") or re.match(r"#?[a-z_]+ = ", above), line


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "config.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("site = 'a'\n", "'instrument' is missing"),
        ("site = 'a'\ninstrument = 'b'\nstate = 's'\n", "'delivery' is missing: add the table [delivery]"),
        (MINIMAL + "folder = 'x'\n", "'delivery.folder' is a table: write [delivery.folder] and below it path = "),
        (MINIMAL.replace("http://", "http://me:secret@"), "an address holds no user and no password"),
        (MINIMAL.replace("state", "stat"), "unknown key 'stat': did you mean 'state'"),
        (MINIMAL + "tokn_file = 'x'\n", "unknown key 'delivery.tokn_file': did you mean 'token_file'"),
        (MINIMAL + "[[watch]]\npath = 'x'\nincludes = ['*']\n", "did you mean 'include'"),
        (MINIMAL.replace('"a"', '"a/b"'), "cannot be used in paths and topics"),
        (MINIMAL + "[mqtt]\nhost = 'h'\nprefix = 'a/#'\n", "cannot be used in paths and topics"),
        (MINIMAL + "[mqtt]\nhost = 'h'\nport = 0\n", "'mqtt.port'"),
        (MINIMAL + "[log\n", "not valid TOML"),
        (MINIMAL.replace("http://", "ftp://"), "'delivery.url'"),
    ],
)
def test_a_mistake_is_one_line_that_says_what_to_write(tmp_path: Path, change: str, says: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        load(written(tmp_path, change))
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match=r"nowhere\.toml does not exist"):
        load(tmp_path / "nowhere.toml")


def test_relative_paths_start_from_the_config(tmp_path: Path) -> None:
    config = load(written(tmp_path, MINIMAL + "token_file = 'token'\n[[watch]]\npath = '../images'\n"))
    assert config.state == tmp_path / "s"
    assert config.delivery.token_file == tmp_path / "token"
    assert config.watch[0].path == tmp_path / "../images"


def test_the_fingerprint_follows_the_settings_and_holds_no_secret(tmp_path: Path, monkeypatch) -> None:
    one = load(written(tmp_path, MINIMAL))
    monkeypatch.setenv("SCOPE_AGENT_TOKEN", "secret")
    same = load(written(tmp_path, MINIMAL))
    other = load(written(tmp_path, MINIMAL + "chunk_mib = 4\n"))
    assert fingerprint(one) == fingerprint(same) != fingerprint(other)
    assert "secret" not in same.model_dump_json()
