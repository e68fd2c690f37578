"""SequenceTester draws the true hardware state into each image: the OME-XML must say the same of each plane."""

import json
import os
import subprocess
import sys
from pathlib import Path

import ome_types
import pytest

from agent.acquisition import Acquisition, FoundBy, State
from agent.contract.ids import uuid7
from agent.document import Context, build
from agent.snapshot import Profile, take
from agent.sources.events import FinishReason, RunFinished, RunStarted
from agent.sources.journal import JournalSource, read_run
from tests.conftest import ROOT
from tests.unit.document.test_ome_documents import errors, schema

__all__ = ["schema"]
CONTEXT = Context("lab", "tester", "0.1.0", "0" * 64)


def run(folder: Path, kind: str) -> tuple[list[dict], bytes]:
    """(what the pixels say of each frame, the OME-XML)"""
    spool = folder / "spool"
    spool.mkdir()
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("oracle_run.py")), spool, folder / "truth.json", kind],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = JournalSource(spool).poll()
    began = next(event for event in told if isinstance(event, RunStarted))
    ended = next(event for event in told if isinstance(event, RunFinished))
    acquisition = Acquisition(
        str(uuid7(began.at_ns, bytes(10))), began.origin, FoundBy.HOOK, began.name, State.COMPLETE, began.at_ns,
        finished_ns=ended.at_ns, reason=FinishReason(ended.reason), frames=ended.frames, plan=began.plan,
    )  # fmt: skip
    snapshot = take(acquisition, Profile(), read_run(ended.span), None)
    return json.loads((folder / "truth.json").read_text()), build(CONTEXT, acquisition, snapshot).ome_xml


def settings(said: ome_types.OME, refs: list) -> dict[str, str]:
    """The map annotations that an element refers to, as one."""
    known = {one.id: one for one in said.structured_annotations.map_annotations}
    return {m.k: m.value for ref in refs for m in known[ref.id].value.ms}


@pytest.mark.parametrize(("kind", "frames"), [("software", 20), ("triggered", 20), ("stepped", 12)])
def test_each_plane_says_what_its_pixels_say(schema, tmp_path: Path, kind: str, frames: int) -> None:
    truth, text = run(tmp_path, kind)
    assert len(truth) == frames
    assert errors(schema, text) == []
    said = ome_types.from_xml(text)
    pixels = said.images[0].pixels
    planes = {(plane.the_t, plane.the_c, plane.the_z): plane for plane in pixels.planes}
    assert len(planes) == frames
    wheels = set()
    for frame in truth:
        index, true = frame["index"], frame["said"]
        plane = planes[index.get("t", 0), index["c"], index.get("z", 0)]
        channel = pixels.channels[index["c"]]
        told = settings(said, channel.annotation_refs) | settings(said, plane.annotation_refs)
        assert channel.name == {1: "red", 2: "blue"}[true["TSwitcher-0.Position"]]
        assert told["TSwitcher-0.State"] == str(true["TSwitcher-0.Position"])
        assert plane.exposure_time == pytest.approx(true["TCamera-0.Exposure"] / 1000)
        assert plane.position_z == pytest.approx(true["TZStage-0.ZPositionUm"], abs=0.01)
        wheels.add(true.get("TSwitcher-1.Position"))
        if kind == "stepped":
            assert told["TSwitcher-1.State"] == str(true["TSwitcher-1.Position"])
    assert len(wheels) == (3 if kind == "stepped" else 1)
