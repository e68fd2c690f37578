"""`release --dry-run` and `acquisitions verify`, against a folder that can rot."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from agent.acquisition import Acquisition, FoundBy, SourceFile, State, move
from agent.cli import daemon, releasing  # noqa: F401 - registers the commands
from agent.cli.app import app
from agent.cli.verifying import verify_folder
from agent.contract.layout import MANIFEST, RECORD
from agent.contract.manifest import render
from agent.contract.record import AgentInfo, Counts, Record
from agent.delivery.folder import FolderTarget
from agent.delivery.settings import FolderSettings
from agent.delivery.worker import Worker
from agent.errors import Damaged
from agent.outbox import NewFile, Outbox
from agent.sources.identity import identity
from agent.steps.dispatch import GUARANTEES
from tests.unit.delivery.test_delivery import DATASET, written


def test_the_target_is_asked_and_nothing_is_touched(tmp_path: Path) -> None:
    share, source = tmp_path / "share", tmp_path / "a.tif"
    share.mkdir()
    source.write_bytes(os.urandom(1000))
    config = tmp_path / "config.toml"
    config.write_text(
        f'site = "lab"\ninstrument = "scope"\nstate = "{(tmp_path / "state").as_posix()}"\n'
        f'[delivery]\ntarget = "folder"\n[delivery.folder]\npath = "{share.as_posix()}"\n'
        "[delivery.release]\nafter_days = 0\n"
    )
    (tmp_path / "state").mkdir()
    outbox = Outbox.open(tmp_path / "state" / "outbox.sqlite")
    files = (SourceFile(str(source), "a.tif", *identity(source)),)
    run = Acquisition("00-1", "o", FoundBy.WATCH, "x", State.DELIVERING, 1, files=files)
    outbox.save(run, dataset=DATASET, files=[NewFile("data/a.tif", str(source), "data", *identity(source))])

    def seal(_entry, listed) -> dict[str, Path]:
        record = Record(
            id="00-1", site="lab", instrument="scope", name="x", source="watch", started_at="", finished_at=None,
            state="", finish_reason="unknown", planned=Counts(), actual=Counts(), files=list(listed),
            agent=AgentInfo(version="0", config_sha256=""),
        )  # fmt: skip
        return written(tmp_path / "acquisition.json", record.model_dump_json())

    Worker(outbox, FolderTarget(FolderSettings(path=share)), seal, lambda: False).deliver(outbox.get("00-1"))
    outbox.verified(move(run, State.VERIFIED), [], 1)
    outbox.close()
    here, runner = ["-c", str(config)], CliRunner()
    shown = runner.invoke(app, ["release", "--dry-run", "--json", *here])
    assert json.loads(shown.stdout) == [{"id": "00-1", "dataset": DATASET, "kept_because": "", "files": [str(source)]}]
    assert source.exists()
    assert runner.invoke(app, ["acquisitions", "verify", "00-1", *here]).exit_code == 0
    held = share / DATASET / "data" / "a.tif"
    held.write_bytes(held.read_bytes()[:-1] + b"?")
    rotten = runner.invoke(app, ["acquisitions", "verify", "00-1", *here])
    assert rotten.exit_code == 65
    assert "not as delivered: data/a.tif" in rotten.stdout
    assert "no longer holds" in runner.invoke(app, ["release", "--dry-run", *here]).stdout
    assert source.exists()
    outbox = Outbox.open(tmp_path / "state" / "outbox.sqlite")
    outbox.learn(GUARANTEES, json.dumps({"place": str(share)}))
    outbox.close()
    shutil.rmtree(share)
    share.mkdir()
    unmounted = runner.invoke(app, ["acquisitions", "verify", "00-1", *here])
    assert "is empty, though datasets went there: mount" in str(unmounted.exception)
    said = {line.split(":")[0]: line for line in runner.invoke(app, ["check", *here]).stdout.splitlines()}
    assert "mount its share" in said["fail  folder"]
    assert not list(share.iterdir())


def test_an_edited_manifest_is_told(tmp_path: Path) -> None:
    body = {"data/a.tif": b"a", "data/b.tif": b"b"}
    digest = {path: hashlib.sha256(content).hexdigest() for path, content in body.items()}
    files = [{"path": path, "sha256": value} for path, value in digest.items()]
    body[RECORD] = json.dumps({"files": files}).encode()
    (tmp_path / "data").mkdir()
    for path, content in body.items():
        (tmp_path / path).write_bytes(content)
    whole = render(digest | {RECORD: hashlib.sha256(body[RECORD]).hexdigest()})
    manifest = tmp_path / MANIFEST
    manifest.write_bytes(whole)
    assert verify_folder(tmp_path)["verified"]
    manifest.write_bytes(b"\n".join(line for line in whole.split(b"\n") if b"b.tif" not in line))
    assert verify_folder(tmp_path)["different"] == ["data/b.tif"]
    (tmp_path / "data" / "b.tif").write_bytes(b"forged")
    forged = hashlib.sha256(b"forged").hexdigest()
    manifest.write_bytes(whole.replace(digest["data/b.tif"].encode(), forged.encode()))
    assert verify_folder(tmp_path)["different"] == ["data/b.tif"]
    manifest.write_bytes(b"")
    with pytest.raises(Damaged, match="does not list acquisition"):
        verify_folder(tmp_path)
