"""Record, completeness, methods text and RO-Crate of real runs."""

import dataclasses
import hashlib
import json
import re
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from rocrate.rocrate import ROCrate

from agent import document
from agent.contract.record import FileEntry, Record
from agent.document import Context, Documents, build
from agent.document.completeness import completeness
from agent.document.methods import methods
from agent.snapshot import Profile, take
from agent.sources.events import FinishReason, Plan
from tests.unit.document.sealing import seal
from tests.unit.snapshot.demo_runs import Recorded

CONTEXT = Context("lab", "demo", "0.1.0", "0" * 64)
PID = "https://hdl.handle.net/21.T11998/0000-DEMO"


@pytest.fixture(scope="module")
def made(tiff_run: Recorded) -> Documents:
    return documents(tiff_run, tiff_run.profile)


def documents(run: Recorded, profile: Profile) -> Documents:
    return build(CONTEXT, run.acquisition, take(run.acquisition, profile, run.capture, run.metadata))


def entries() -> list[FileEntry]:
    names = {
        "metadata.companion.ome": "metadata",
        "data/out_p000.ome.tif": "data",
        "data/a b#ü.txt": "data",
        "methods.txt": "methods",
    }
    return [
        FileEntry(path=path, size=3, sha256=hashlib.sha256(path.encode()).hexdigest(), role=role)
        for path, role in names.items()
    ]


def test_tier_one_of_the_demo_is_complete(made: Documents) -> None:
    tiers = made.record.completeness
    assert list(tiers) == ["tier1", "tier2", "tier3", "rembi"]
    assert tiers["tier1"].missing == []
    assert tiers["tier1"].filled == tiers["tier1"].required >= 100
    assert tiers["tier2"].missing == []
    assert tiers["tier1"].required < tiers["tier2"].required < tiers["tier3"].required


def test_tier_three_misses_exactly_what_the_profile_does_not_know(made: Documents) -> None:
    assert made.record.completeness["tier3"].missing == [
        "objective Nikon 10X S Fluor: objective view field",
        "objective Nikon 10X S Fluor: image distance",
        "dichroic 400DCLP: mirror type",
        "dichroic Q505LP: mirror type",
        "camera ORCA-Fusion BT: cut on",
        "camera ORCA-Fusion BT: cut off",
        "camera ORCA-Fusion BT: quantum efficiency curve",
        "camera ORCA-Fusion BT: full well capacity",
        "camera ORCA-Fusion BT: maximum frame rate",
        "camera ORCA-Fusion BT: maximum readout rate",
        "channel DAPI: frame rate",
        "channel FITC: frame rate",
    ]


def test_one_value_less_is_one_field_less(tiff_run: Recorded) -> None:
    whole = tiff_run.profile
    label = "Nikon 10X S Fluor"
    table = dict(whole.objective["Objective"])
    table[label] = table[label].model_copy(update={"na": None, "catalogue_number": " "})
    less = whole.model_copy(update={"objective": {"Objective": table}})
    before = documents(tiff_run, whole).record.completeness["tier1"]
    after = documents(tiff_run, less).record.completeness["tier1"]
    assert after.required == before.required
    assert after.filled == before.filled - 2
    assert after.missing == [f"objective {label}: catalogue number", f"objective {label}: numerical aperture"]


def test_nothing_known_is_nearly_everything_missing(tiff_run: Recorded) -> None:
    bare = dataclasses.replace(tiff_run.acquisition, files=(), software={})
    tiers = completeness(take(bare, Profile(), None, None))
    assert tiers["tier1"].filled == 0
    assert "which objective was used" in tiers["tier1"].missing
    assert "the microscope stand: catalogue number" in tiers["tier1"].missing


def test_record_reads_back_and_counts(made: Documents, tiff_run: Recorded) -> None:
    sealed = seal(made.record, made.crate, entries())
    record = Record.model_validate_json(sealed["acquisition.json"])
    assert [file.path for file in record.files] == sorted(file.path for file in entries())
    assert record.planes.count == 24
    assert record.integrity.frames_dropped == 0
    assert record.source == "both"
    assert record.calibration.metrics == {}
    assert record.hardware.microscope["PersistentIdentifier"].value == PID
    assert record.session.user.value == "Ada Lovelace"
    assert record.software["MMCore"] == "12.5.1"
    assert made.record.files == [], "sealing must not change the documents"


def test_dropped_frames_are_counted_only_in_completed_runs(tiff_run: Recorded) -> None:
    planned = dataclasses.replace(tiff_run.acquisition, plan=Plan(30))
    run = dataclasses.replace(tiff_run, acquisition=planned)
    assert documents(run, run.profile).record.integrity.frames_dropped == 6
    canceled = dataclasses.replace(planned, reason=FinishReason.CANCELED)
    run = dataclasses.replace(tiff_run, acquisition=canceled)
    made = documents(run, run.profile)
    assert made.record.integrity.frames_dropped is None
    assert "stopped by the user after 24 of 30 planned frames" in made.methods


def test_crate_is_read_by_rocrate(made: Documents, tmp_path: Path) -> None:
    sealed = seal(made.record, made.crate, entries())
    (tmp_path / "ro-crate-metadata.json").write_bytes(sealed["ro-crate-metadata.json"])
    for path in [*(file.path for file in entries()), "acquisition.json"]:
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(b"x")
    crate = ROCrate(tmp_path)
    instrument = crate.get(PID)
    assert instrument.type == "IndividualProduct"
    assert instrument["serialNumber"] == "DEMO-540212"
    assert instrument["manufacturer"]["name"] == "Nikon"
    action = crate.get("#acquisition")
    assert action.type == "CreateAction"
    assert instrument in action["instrument"]
    assert action["agent"]["name"] == "Ada Lovelace"
    assert action["startTime"] < action["endTime"]
    files = {entity.id: entity["sha256"] for entity in crate.data_entities}
    assert files["data/out_p000.ome.tif"] == entries()[1].sha256
    assert files["acquisition.json"] == hashlib.sha256(sealed["acquisition.json"]).hexdigest()
    assert "data/a%20b%23%C3%BC.txt" in files
    assert [part.id for part in instrument["hasPart"] if part.id.startswith("#Detector")] == ["#Detector:Camera"]


def test_every_entity_that_is_named_is_there(made: Documents) -> None:
    graph = json.loads(seal(made.record, made.crate, entries())["ro-crate-metadata.json"])["@graph"]
    known = {entity["@id"] for entity in graph}
    assert len(known) == len(graph)
    for entity in graph:
        for value in entity.values():
            for one in value if isinstance(value, list) else [value]:
                if isinstance(one, dict) and not one["@id"].startswith("http"):
                    assert one["@id"] in known, one


def test_the_page_writes_values_as_people_do(made: Documents) -> None:
    page = seal(made.record, made.crate, entries())["ro-crate-preview.html"].decode()
    for said in (">1200 µm <", ">yes <", ">no <", ">340, 380 nm <"):
        assert said in page
    assert "True" not in page


@pytest.mark.parametrize("listed", ["none", "no data", "all", "many"])
def test_sealed_documents_are_laid_out_as_json_dump_does(made: Documents, listed: str) -> None:
    files = {"none": [], "no data": entries()[:1], "all": entries(), "many": [*entries(), *many(600)]}[listed]
    odd = FileEntry(path='data/"a\\\n\u2028µ.txt', size=1 << 60, sha256="b" * 64, role="data", annotated=True)
    for some in (files, [*files, odd]):
        sealed = seal(made.record, made.crate, some)
        for name in ("acquisition.json", "ro-crate-metadata.json"):
            text = sealed[name].decode()
            assert text == json.dumps(json.loads(text), indent=1, ensure_ascii=False) + "\n"
        graph = json.loads(sealed["ro-crate-metadata.json"])["@graph"]
        root, action = (next(one for one in graph if one["@id"] == name) for name in ("./", "#acquisition"))
        assert [part["@id"] for part in root["hasPart"]] == [one["@id"] for one in graph if one["@type"] == "File"]
        assert len(root["hasPart"]) == len(some) + 1
        assert len(action["result"]) == max(1, sum(file.role == "data" for file in some))
        assert ("more</p>" in sealed["ro-crate-preview.html"].decode()) == (listed == "many")


def many(count: int) -> Iterator[FileEntry]:
    names = sorted(f"data/x.zarr/{n}" for n in range(count))
    return (FileEntry(path=name, size=512, sha256="a" * 64, role="data") for name in names)


class Many:
    """Files that are made anew whenever they are gone through."""

    def __iter__(self) -> Iterator[FileEntry]:
        return many(10_000)


def test_sealing_holds_one_file_after_the_other(made: Documents, tmp_path: Path) -> None:
    tracemalloc.start()
    sealed = document.seal(made.record, made.crate, Many(), tmp_path)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert sum(path.stat().st_size for path in sealed.values()) > 4_500_000
    # The names alone are 0.9 MB here, in this test.
    assert most < 2_500_000


def test_methods_say_what_was_done(made: Documents) -> None:
    text = made.methods
    for words in (
        f"with an inverted widefield Nikon Eclipse Ti2-E microscope (serial number DEMO-540212; {PID})",
        "a Nikon S Fluor 10×/0.5 NA air objective",
        "a Hamamatsu ORCA-Fusion BT CMOS camera (6.5 µm pixels)",
        "controlled by MMCore 12.5.1 and pymmcore-plus",
        "A total of 24 frames of 512 × 512 pixels (16-bit) were recorded, comprising two positions,",
        " two time points at intervals of ",
        " three focal planes 1 µm apart, and two channels; the pixel size in the sample was 1 µm.",
        "Channel DAPI was recorded with 10 ms exposure, illumination by an Excelitas X-Cite 120Q arc lamp",
        "arc lamp (100 % power), a Chroma D360/40x excitation filter (340–380 nm), a Chroma 400DCLP dichroic",
        "mirror, and a Chroma HQ620/60m emission filter (590–650 nm).",
        "Quality-control measurements of this instrument were not available.",
    ):
        assert words in text
    assert "Not known" not in text
    assert text.endswith(".\n")
    assert not re.search(r"  |None|nan|\(\)| ,|\.\.", text)


def test_methods_say_what_is_not_known(tiff_run: Recorded) -> None:
    text = documents(tiff_run, Profile()).methods
    assert "a Nikon 10X S Fluor objective of unknown numerical aperture" in text
    assert (
        "Not known: make and model of the microscope; the light source and the emission band of channels DAPI and FITC."
        in text
    )
    assert not re.search(r"  |None|nan|\(\)| ,|\.\.", text)


def test_methods_of_nothing(tiff_run: Recorded) -> None:
    bare = dataclasses.replace(tiff_run.acquisition, files=(), software={}, marks={})
    text = methods(bare, take(bare, Profile(), None, None))
    assert text.startswith("Images were acquired with a microscope. ")
    assert text.rstrip().endswith(
        "Not known: make and model of the microscope, the objective, the detector, the date, the acquisition software, "
        "and number and size of the images."
    )
