"""A single look at a dataset without a sign of its end: whole when it has rested and nobody writes."""

import json
import os
import time

import numpy as np
import pytest
import tifffile

from agent.formats import Wholeness, identify
from agent.formats.inspection import inspect

_REAL = time.time
UNKNOWN, WHOLE, GROWING = Wholeness.UNKNOWN, Wholeness.WHOLE, Wholeness.GROWING


@pytest.fixture
def signless(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"nobody knows this")
    return path


def at(monkeypatch, seconds):
    """The clock of this machine, so many seconds on."""
    now = _REAL() + seconds
    monkeypatch.setattr("agent.formats.inspection.time.time", lambda: now)


def test_only_what_rested_is_whole(signless, monkeypatch):
    assert inspect(signless).verdict.state is UNKNOWN
    assert inspect(signless, 600).verdict.state is UNKNOWN
    at(monkeypatch, 599)
    assert inspect(signless, 600).verdict.state is UNKNOWN
    at(monkeypatch, 1300)
    found = inspect(signless, 600)
    assert (found.verdict.state, found.exit_code) == (WHOLE, 4)
    assert found.verdict.reason.startswith("nothing has changed for 2")
    assert inspect(signless).verdict.state is UNKNOWN


def test_who_writes_or_is_empty_or_comes_from_the_future_does_not_rest(signless, monkeypatch):
    at(monkeypatch, 5000)
    with signless.open("ab"):
        expected = UNKNOWN if os.name == "nt" or os.uname().sysname == "Linux" else WHOLE
        assert inspect(signless, 600).verdict.state is expected
    # The date of the content is old, but the copy is new.
    os.utime(signless, (1e9, 1e9))
    assert inspect(signless, 600).verdict.state is WHOLE
    at(monkeypatch, 10)
    assert inspect(signless, 600).verdict.state is UNKNOWN
    at(monkeypatch, 5000)
    os.utime(signless, (_REAL() + 10_000,) * 2)
    assert inspect(signless, 600).verdict.state is UNKNOWN
    signless.write_bytes(b"")
    assert inspect(signless, 600).verdict.state is UNKNOWN


def test_what_grows_or_is_damaged_never_rests(tmp_path, monkeypatch):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((50, 60), np.uint16))
    good = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(good[:-200])
    at(monkeypatch, 1e6)
    assert inspect(tmp_path / "a.tif", 600).verdict.state is GROWING


@pytest.mark.parametrize(
    ("plan", "listed", "tail", "state"),
    [
        ((2, 1, 1), 2, "", UNKNOWN),
        ((2, 1, 1), 1, "", GROWING),
        ((-1, -1, -1), 1, "", UNKNOWN),
        ((-1, -1, -1), 0, "", GROWING),
        ((2, 1, 1), 2, "}", WHOLE),
        ((1, 1, 1), 1, ',\n"FrameKey-1-0-0": {"FileN', GROWING),
    ],
)
def test_metadata_txt_without_its_last_brace(tmp_path, plan, listed, tail, state):
    summary = dict(zip(("Frames", "Channels", "Slices"), plan, strict=True)) | {"MicroManagerVersion": "1.4.22"}
    text = {"Summary": summary}
    for t in range(listed):
        name = f"img_{t:09d}_DAPI_000.tif"
        tifffile.imwrite(tmp_path / name, np.zeros((6, 8), np.uint16), metadata=None)
        text[f"FrameKey-{t}-0-0"] = {"FileName": name}
    path = tmp_path / "metadata.txt"
    path.write_text(json.dumps(text)[:-1] + tail)
    found = identify(path)
    assert (found.name, found.is_whole(found.dataset(path)).state) == ("micromanager-1.4", state)
