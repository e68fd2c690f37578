"""`release --dry-run` and `acquisitions verify`, against a folder that can rot."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from typer.testing import CliRunner

from agent.acquisition import Acquisition, FoundBy, SourceFile, State, move
from agent.cli import daemon, releasing  # noqa: F401 - registers the commands
from agent.cli.app import app
from agent.contract.record import AgentInfo, Counts, Record
from agent.delivery.folder import FolderTarget
from agent.delivery.settings import FolderSettings
from agent.delivery.worker import Worker
from agent.outbox import NewFile, Outbox
from agent.sources.identity import identity
from agent.steps.dispatch import GUARANTEES
from tests.unit.delivery.test_delivery import DATASET


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

    def seal(_entry, listed) -> dict[str, bytes]:
        record = Record(
            id="00-1", site="lab", instrument="scope", name="x", source="watch", started_at="", finished_at=None,
            state="", finish_reason="unknown", planned=Counts(), actual=Counts(), files=listed,
            agent=AgentInfo(version="0", config_sha256=""),
        )  # fmt: skip
        return {"acquisition.json": record.model_dump_json().encode()}

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
