"""Profile says 40x, file says 63x: both are kept in the record, and an alert says so until the profile is right."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import tifffile

from agent.acquisition import State
from agent.contract.record import Record
from agent.snapshot import load_profile
from agent.steps import workspace
from agent.steps.describe import describe
from agent.steps.settle import source_files
from tests.unit.steps.test_steps import ID, TOPICS, Bench

OME = """<?xml version="1.0" encoding="UTF-8"?>
<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">
 <Instrument ID="Instrument:0"><Objective ID="Objective:0" Model="Plan 63" NominalMagnification="63"/></Instrument>
 <Image ID="Image:0"><InstrumentRef ID="Instrument:0"/><ObjectiveSettings ID="Objective:0"/>
  <Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint16" SizeX="8" SizeY="8" SizeZ="1" SizeC="1" SizeT="1">
   <Channel ID="Channel:0:0" SamplesPerPixel="1"/><TiffData IFD="0"/></Pixels></Image></OME>"""


def described(bench: Bench, profile: Path | None, number: int) -> Record:
    from agent.acquisition import Acquisition, FoundBy
    from agent.formats import identify

    path = bench.watched / "a.ome.tif"
    if not path.exists():
        tifffile.imwrite(path, np.zeros((8, 8), np.uint16), description=OME, metadata=None)
    dataset = identify(path).dataset(path)
    acquisition = Acquisition(
        f"{ID[:-1]}{number}", f"watch:{number}", FoundBy.WATCH, "a", State.COMPLETE, bench.clock.now_ns(),
        format=dataset.format, main=str(path), files=tuple(source_files(dataset)),
    )  # fmt: skip
    bench.clock.pass_(1)
    bench.outbox.save(acquisition)
    station = dataclasses.replace(bench.station, profile=load_profile(profile))
    describe(station, acquisition)
    return workspace.drafts(station.workspace / acquisition.id)[0]


def alert(bench: Bench) -> str | None:
    (row,) = [event for event in bench.outbox.retained() if event.topic == TOPICS.alert("conflict")] or [None]
    return row.data["text"] if row is not None and row.data else None


def test_a_conflict_is_kept_raised_and_cleared(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    profile = tmp_path / "instrument.toml"
    profile.write_text('[objective.Turret."Plan 63"]\nmagnification = 40\nmodel = "Plan 63"\n')
    record = described(bench, profile, 1)
    (lens,) = [part for part in record.hardware.components if part.kind == "Objective"]
    told = lens.attributes["NominalMagnification"]
    assert (told.value, told.source, told.conflict) == (63.0, "file", "profile says 40.0")
    assert any("NominalMagnification is 63.0 by file, but profile says 40.0" in note for note in record.integrity.notes)
    text = alert(bench)
    assert text is not None
    assert "profile says 40.0" in text
    # The same again is no news; a right profile clears it.
    before = bench.outbox.last_sequence()
    described(bench, profile, 2)
    raised = [e for e in bench.outbox.unpublished(before, 100) if e.topic == TOPICS.alert("conflict")]
    assert len(raised) <= 1, "one alert for the newest acquisition at most"
    profile.write_text('[objective.Turret."Plan 63"]\nmagnification = 63\nmodel = "Plan 63"\n')
    described(bench, profile, 3)
    assert alert(bench) is None
    bench.outbox.close()
