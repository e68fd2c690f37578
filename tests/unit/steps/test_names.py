"""Names that are no text, or not allowed elsewhere, from the watched folder to the delivered dataset."""

# ruff: noqa: PTH108, PTH118
# Names are bytes here.

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile

from agent.acquisition import State
from agent.contract.record import Record
from agent.logs import JsonLine
from agent.sources.spelling import original
from tests.conftest import ROOT
from tests.unit.steps.rig import Rig, thor_set
from tests.unit.steps.test_steps import image

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="names are bytes on Linux")


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path)
    yield made
    made.close()


def named(folder: Path, name: bytes) -> Path:
    return Path(os.fsdecode(os.path.join(os.fsencode(folder), name)))


def test_names_that_are_no_utf8_are_delivered_and_can_be_turned_back(rig: Rig, caplog) -> None:
    folder = named(rig.watched, b"proj\xe9t")
    main = thor_set(folder)
    image(named(rig.watched, b"caf\xe9.tif"))
    tifffile.imwrite(named(rig.watched, b"\xff\xfe.ome.tif"), np.zeros((2, 8, 8), np.uint16), ome=True)
    named(rig.watched, b"b\xa0.raw").write_bytes(b"1234")
    with caplog.at_level(logging.INFO):
        rig.turn(12)
    assert [run.state for run in rig.all()] == [State.VERIFIED] * 4, [run.notes for run in rig.all()]
    assert {path for run in rig.all() for path in (file.path for file in run.files)} == {
        os.path.join(top, name) for top, _, names in os.walk(rig.watched) for name in names
    }
    targets = {name for files in rig.delivered() for name in files}
    assert {"data/caf%E9.tif", "data/%FF%FE.ome.tif", "data/b%A0.raw"} < targets
    for files in rig.target.committed.values():
        record = Record.model_validate_json(files["acquisition.json"])
        data = [file.path.removeprefix("data/") for file in record.files if file.role == "data"]
        assert all(os.fsencode(original(name)) for name in data)
        files["metadata.companion.ome"].decode("utf-8")
    assert {Record.model_validate_json(files["acquisition.json"]).name for files in rig.target.committed.values()} == {
        "caf%E9", "%FF%FE", "b%A0", "Experiment",
    }  # fmt: skip
    for record in caplog.records:
        json.loads(JsonLine().format(record).encode())
    assert rig.outbox.check() == []
    # And they are known again: after a restart, and under another name.
    folder.rename(named(rig.watched, b"\xf0\xf1"))
    again = rig.restart()
    again.turn(10)
    assert len(again.all()) == 4
    assert {row.source for row in again.rows() if "Experiment" in row.source} == {
        str(named(rig.watched, b"\xf0\xf1") / main.name)
    }
    os.unlink(named(rig.watched, b"caf\xe9.tif"))
    again.turn(40)
    assert [change for change in again.changes() if change[0] == "gone"] == [
        ("gone", "caf\udce9.tif", "no file has this name")
    ]
    again.close()
    rig.__init__(rig.folder, rig.target)


def test_a_rejected_acquisition_of_such_a_name_says_why(rig: Rig) -> None:
    path = image(named(rig.watched, b"caf\xe9.tif"))
    rig.until_queued()
    path.unlink()
    rig.turn(70)
    (run,) = rig.all()
    assert run.state is State.REJECTED
    assert rig.outbox.get(run.id).error == f"{path} was deleted before it was delivered"
    assert "rejected" in rig.events(run)


def test_names_of_one_dataset_that_windows_takes_for_one_arrive_apart(rig: Rig) -> None:
    main = thor_set(rig.watched / "run")
    one = main.parent / "ChanA_001_001_001_001.tif"
    (main.parent / "CHANA_001_001_001_001.tif").write_bytes(one.read_bytes())
    rig.turn(90)
    names = [name.casefold() for files in rig.delivered() for name in files]
    for files in rig.delivered():
        assert len({name.casefold() for name in files}) == len(files)
    assert any("chana_001_001_001_001.tif" in name for name in names)


def test_the_companion_names_the_files_as_they_were_delivered(rig: Rig) -> None:
    image(rig.watched / "a:b 50% <c>.tif")
    rig.turn(8)
    (files,) = rig.target.committed.values()
    assert "data/a%3Ab 50% %3Cc%3E.tif" in files
    assert b"a%3Ab 50% %3Cc%3E.tif" in files["metadata.companion.ome"]


def test_the_commands_take_such_a_name(tmp_path: Path) -> None:
    path = named(tmp_path, b"caf\xe9.ome.tif")
    tifffile.imwrite(path, np.zeros((2, 8, 8), np.uint16), ome=True)
    for arguments in (["inspect", "--format", "table"], ["inspect", "--format", "json"], ["annotate", "--out", "out"]):
        done = subprocess.run(
            [sys.executable, "-m", "agent", arguments[0], str(path), *arguments[1:]],
            cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr.decode()
    assert (next((tmp_path / "out").iterdir()) / "data" / "caf%E9.ome.tif").exists()
