"""`scope-agent methods`: of a delivered dataset, of an image, of an acquisition that waits or is delivered."""

from __future__ import annotations

import io
import json
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from agent.acquisition import Acquisition, FoundBy, State
from agent.outbox import Outbox
from tests.unit.snapshot.demo_runs import PROFILE, Recorded

CONFIG = 'site = "lab"\ninstrument = "scope"\nstate = "state"\n[delivery]\nurl = "http://127.0.0.1:1"\n'
ID = "0198b1e0-0000-7000-8000-0000000000aa"


def methods(*arguments: object) -> tuple[int, str, str]:
    from agent.cli.app import main

    out, err, before = io.StringIO(), io.StringIO(), sys.argv
    sys.argv = ["scope-agent", "methods", *map(str, arguments)]
    try:
        with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as ended:
            main()
    finally:
        sys.argv = before
    return int(ended.value.code or 0), out.getvalue(), err.getvalue()


def test_of_a_delivered_dataset(tmp_path: Path) -> None:
    (tmp_path / "methods.txt").write_text("Images were acquired.\n")
    assert methods(tmp_path) == (0, "Images were acquired.\n", "")


def test_of_an_image_made_on_the_fly(tiff_run: Recorded) -> None:
    code, text, _ = methods(tiff_run.acquisition.files[0].path, "--profile", PROFILE)
    assert code == 0
    assert text.startswith("Images were acquired on ")
    assert "Nikon Eclipse Ti2-E" in text
    assert "two channels" in text


def test_of_the_folder_that_one_is_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, said = methods(".")
    assert (code, "holds no files" in said) == (2, True)


def test_of_an_acquisition_by_its_id(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text(CONFIG)
    (tmp_path / "state").mkdir()
    outbox = Outbox.open(tmp_path / "state" / "outbox.sqlite")
    waiting = Acquisition(ID, "hook:a", FoundBy.HOOK, "run", State.DOCUMENTED, 1_700_000_000_000_000_000)
    outbox.save(waiting, dataset="lab/scope/2023/11/14/221320_run_000000aa")
    code, _, said = methods("000000aa", "-c", config)
    assert (code, "not written yet" in said) == (2, True)
    folder = tmp_path / "state" / "work" / ID
    folder.mkdir(parents=True)
    (folder / "methods.txt").write_text("Waiting.\n")
    assert methods(ID, "-c", config) == (0, "Waiting.\n", "")
    (folder / "methods.txt").unlink()
    for state in (State.QUEUED, State.DELIVERING, State.VERIFIED):
        outbox.save(Acquisition(ID, "hook:a", FoundBy.HOOK, "run", state, 1_700_000_000_000_000_000))
    code, _, said = methods("000000aa", "-c", config)
    assert (code, said.count("\n")) == (75, 1)
    assert "lab/scope/2023/11/14/221320_run_000000aa/methods.txt is at the facility, which does not answer now" in said
    outbox.close()


def test_of_a_verified_acquisition_from_the_facility(tmp_path: Path) -> None:
    """The text on this machine is gone: it is read from the target of [delivery]."""
    dataset, shared = "lab/scope/2023/11/14/221320_run_000000aa", tmp_path / "shared"
    config = tmp_path / "config.toml"
    config.write_text(
        'site = "lab"\ninstrument = "scope"\nstate = "state"\n'
        f'[delivery]\ntarget = "folder"\n[delivery.folder]\npath = {json.dumps(str(shared))}\n'
    )
    (tmp_path / "state").mkdir()
    outbox = Outbox.open(tmp_path / "state" / "outbox.sqlite")
    for state in (State.DOCUMENTED, State.QUEUED, State.DELIVERING, State.VERIFIED):
        outbox.save(Acquisition(ID, "hook:a", FoundBy.HOOK, "run", state, 1_700_000_000_000_000_000), dataset=dataset)
    outbox.close()
    shared.mkdir()
    code, _, said = methods(ID, "-c", config)
    assert (code, "is not at the facility" in said, said.count("\n")) == (65, True, 1)
    (shared / dataset).mkdir(parents=True)
    (shared / dataset / "methods.txt").write_text("Images were acquired.\n")
    (shared / dataset / "manifest-sha256.txt").write_text("")
    assert methods("000000aa", "-c", config) == (0, "Images were acquired.\n", "")


def test_of_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SCOPE_AGENT_CONFIG", raising=False)
    code, _, said = methods(tmp_path / "nowhere")
    assert (code, "name the config with -c" in said) == (2, True)
