"""The OME-XML of real runs: valid, complete, true, the same each time; inside the files and beside them."""

import dataclasses
import gzip
import hashlib
import json
import os
import time
import tracemalloc
from array import array
from pathlib import Path

import numpy as np
import ome_types
import pytest
import tifffile
from lxml import etree

from agent.document import Context, Documents, build
from agent.document.annotate import blocks, plan
from agent.document.embed import BUDGET
from agent.snapshot import Profile, load_profile, take
from tests.unit.document.sealing import seal
from tests.unit.snapshot.demo_runs import Recorded, of_files, record

SHARED = Path(__file__).parents[4] / "shared"
CORPUS = Path(os.environ.get("SCOPE_AGENT_CORPUS", SHARED / "data"))
CONTEXT = Context("lab", "demo", "0.1.0", "0" * 64)


@pytest.fixture(scope="session")
def schema() -> etree.XMLSchema:
    offline = SHARED / "standards" / "ome" / "ome-2016-06.offline.xsd"
    if offline.is_file():
        return etree.XMLSchema(etree.parse(offline))
    text = (Path(ome_types.__file__).parent / "ome-2016-06.xsd").read_bytes()
    place = b' schemaLocation="http://www.w3.org/2001/xml.xsd"'
    return etree.XMLSchema(etree.fromstring(text.replace(place, b"")))


def errors(schema: etree.XMLSchema, text: bytes) -> list[str]:
    schema.validate(etree.fromstring(text))
    return [f"{e.line}: {e.message}" for e in schema.error_log]


def documents(run: Recorded, profile: Profile | None = None) -> Documents:
    snapshot = take(run.acquisition, profile or run.profile, run.capture, run.metadata)
    return build(CONTEXT, run.acquisition, snapshot)


def annotated(run: Recorded, folder: Path) -> list[Path]:
    """The delivered copies, as they would lie at the facility."""
    texts, written = documents(run).embedded, []
    for file in run.acquisition.files:
        source = Path(file.path)
        patch = plan(source, texts[file.name])
        assert patch is not None
        copy = folder / file.name
        copy.write_bytes(b"".join(sent for _, sent in blocks(source, patch, 1 << 16)))
        written.append(copy)
    return written


def test_every_document_is_valid(schema: etree.XMLSchema, tiff_run: Recorded, zarr_run: Recorded) -> None:
    for run in (tiff_run, zarr_run):
        for profile in (run.profile, Profile()):
            made = documents(run, profile)
            texts = {"companion": made.ome_xml, **made.embedded}
            texts |= {name: text for name, text in made.additions.items() if name.endswith(".xml")}
            for name, text in texts.items():
                assert errors(schema, text) == [], name


def test_same_input_same_bytes(tiff_run: Recorded) -> None:
    one, other = documents(tiff_run), documents(tiff_run)
    assert dataclasses.asdict(one) == dataclasses.asdict(other)
    assert one.device_state[4:8] == bytes(4)  # no time in the gzip header


def test_annotated_files_keep_their_pixels_and_tell_everything(
    schema: etree.XMLSchema, tiff_run: Recorded, tmp_path: Path
) -> None:
    copies = annotated(tiff_run, tmp_path)
    assert len(copies) == 2
    for file, copy in zip(tiff_run.acquisition.files, copies, strict=True):
        with tifffile.TiffFile(file.path) as old, tifffile.TiffFile(copy) as new:
            assert new.is_ome
            text = new.pages[0].description
            # As a file alone: the series that are in it.
            assert len(new.pages) == len(old.pages)
            for before, after in zip(old.pages, new.pages, strict=True):
                assert before.dataoffsets == after.dataoffsets
                np.testing.assert_array_equal(before.asarray(), after.asarray())
        assert errors(schema, text.encode()) == []
        said = ome_types.from_xml(text)
        assert said.uuid == next(
            b.uuid.value for i in said.images for b in i.pixels.tiff_data_blocks if b.uuid.file_name == copy.name
        )
        own = [image for image in said.images if image.pixels.planes]
        assert len(own) == 1
        assert own[0].pixels.tiff_data_blocks[0].uuid.file_name == copy.name
        assert len(own[0].pixels.planes) == 12
    # Opened as a set through either file: both positions.
    with tifffile.TiffFile(copies[0]) as tiff:
        assert [series.asarray().shape for series in tiff.series] == [(2, 2, 3, 512, 512)] * 2


def test_companion_names_the_delivered_files(tiff_run: Recorded) -> None:
    said = ome_types.from_xml(documents(tiff_run).ome_xml)
    names = [b.uuid.file_name for image in said.images for b in image.pixels.tiff_data_blocks]
    assert names == [f"data/{file.name}" for file in tiff_run.acquisition.files]
    assert [image.name for image in said.images] == ["A1", "1"]
    assert [len(image.pixels.planes) for image in said.images] == [12, 12]


def test_settings_and_components_of_each_channel(tiff_run: Recorded) -> None:
    said = ome_types.from_xml(documents(tiff_run).ome_xml)
    instrument = said.instruments[0]
    assert instrument.microscope.model == "Eclipse Ti2-E"
    assert instrument.microscope.serial_number == "DEMO-540212"
    assert instrument.detectors[0].model == "ORCA-Fusion BT"
    for image in said.images:
        objective = next(o for o in instrument.objectives if o.id == image.objective_settings.id)
        assert (objective.nominal_magnification, objective.lens_na) == (10.0, 0.5)
        assert image.instrument_ref.id == instrument.id
        assert image.experimenter_ref.id == said.experimenters[0].id
        assert (image.pixels.physical_size_x, image.pixels.physical_size_z) == (1.0, 1.0)
        dapi, fitc = image.pixels.channels
        assert dapi.light_path.dichroic_ref.id == "Dichroic:Dichroic.400DCLP"
        assert fitc.light_path.dichroic_ref.id == "Dichroic:Dichroic.Q505LP"
        assert [f.id for f in fitc.light_path.emission_filters] == ["Filter:Emission.Chroma-HQ535"]
        assert (dapi.excitation_wavelength, fitc.emission_wavelength) == (360.0, 535.0)
        assert dapi.detector_settings.binning.value == "1x1"
        assert dapi.light_source_settings.id == "LightSource:White-Light-Shutter"
    assert said.experimenters[0].user_name == "Ada Lovelace"


def test_annotations_are_namespaced_and_all_referenced(tiff_run: Recorded) -> None:
    root = etree.fromstring(documents(tiff_run).ome_xml)
    ours = root.findall("{*}StructuredAnnotations/{*}MapAnnotation")
    ours = [a for a in ours if a.get("Namespace", "").startswith("urn:scope-agent:v1:")]
    referenced = {ref.get("ID") for ref in root.iter("{*}AnnotationRef")}
    assert {a.get("ID") for a in ours} <= referenced
    objective = root.find("{*}Instrument/{*}Objective/{*}AnnotationRef").get("ID")
    entry = next(a for a in ours if a.get("ID") == objective)
    assert {m.get("K"): m.text for m in entry.iter("{*}M")}["CatalogNumber"] == "MRF00100"


def test_planes_equal_what_the_run_reported(tiff_run: Recorded) -> None:
    frames = tiff_run.capture.frames
    said = ome_types.from_xml(documents(tiff_run).ome_xml)
    for row, index in enumerate(frames.index):
        where = dict(zip(frames.axes, index, strict=True))
        plane = next(
            p
            for p in said.images[where["p"]].pixels.planes
            if (p.the_t, p.the_c, p.the_z) == (where["t"], where["c"], where["z"])
        )
        assert plane.exposure_time == pytest.approx(frames.exposure_ms[row] / 1e3)
        assert plane.delta_t == pytest.approx(frames.runner_ms[row] / 1e3, abs=1e-6)
        assert plane.position_x == pytest.approx(frames.x_um[row])
        assert plane.position_z == pytest.approx(frames.z_um[row])
        assert plane.position_z_unit.value == "µm"


def test_zarr_gets_its_metadata_and_our_key(schema: etree.XMLSchema, zarr_run: Recorded) -> None:
    made = documents(zarr_run)
    assert made.embedded == {}
    assert set(made.additions) == {"out.ome.zarr/OME/METADATA.ome.xml"}
    said = ome_types.from_xml(made.additions["out.ome.zarr/OME/METADATA.ome.xml"])
    assert [image.name for image in said.images] == ["A1", "1"]
    assert all(image.pixels.metadata_only is not None for image in said.images)
    root = json.loads(made.replacements["out.ome.zarr/zarr.json"])
    original = next(f for f in zarr_run.acquisition.files if f.name == "out.ome.zarr/zarr.json")
    before = json.loads(Path(original.path).read_text())
    assert root["attributes"].pop("scope_agent")["acquisition"] == zarr_run.acquisition.id
    assert root == before


def test_device_state_holds_every_property(tiff_run: Recorded) -> None:
    dump = json.loads(gzip.decompress(documents(tiff_run).device_state))
    assert len(dump["start"]["devices"]) == len(tiff_run.capture.summary["devices"])
    camera = next(d for d in dump["start"]["devices"] if d["label"] == "Camera")
    values = {p["name"]: p["value"] for p in camera["properties"]}
    assert values["Photon Conversion Factor"] == "1.0000"
    assert sum(count for _, count in dump["state_of_frames"]) == 24


def test_a_run_without_files_is_described_all_the_same(schema: etree.XMLSchema, tiff_run: Recorded) -> None:
    run = dataclasses.replace(
        tiff_run, acquisition=dataclasses.replace(tiff_run.acquisition, files=(), format=None), metadata=None
    )
    made = documents(run)
    assert errors(schema, made.ome_xml) == []
    said = ome_types.from_xml(made.ome_xml)
    assert [len(image.pixels.planes) for image in said.images] == [12, 12]
    assert said.images[0].pixels.size_z == 3
    assert made.embedded == {}


def test_nothing_known_is_a_valid_document_too(schema: etree.XMLSchema, tiff_run: Recorded) -> None:
    bare = dataclasses.replace(tiff_run.acquisition, files=(), format=None, software={}, marks={})
    made = build(CONTEXT, bare, take(bare, Profile(), None, None))
    assert errors(schema, made.ome_xml) == []
    assert b"PhysicalSize" not in made.ome_xml
    assert made.record.hardware.components == []
    assert "Not known: make and model of the microscope, the objective, the detector" in made.methods


def test_hostile_names_and_values_stay_valid(schema: etree.XMLSchema, tiff_run: Recorded, tmp_path: Path) -> None:
    path = tmp_path / "instrument.toml"
    path.write_text(
        """
        [microscope]
        model = "<&>\\u0000\\u0007"
        [light."White Light Shutter"]
        source = "Laser"
        wavelength_nm = {prop = "Label"}
        settings = {attenuation = 90}
        [objective.Objective."Nikon 10X S Fluor"]
        na = {prop = "Label"}
        [filter.Emission."Chroma-HQ535"]
        role = "emission"
        cut_on_nm = 1e300
        """
    )
    marks = {"user": "A\x00 \ud800 <b>", "sample": "]]>"}
    acquisition = dataclasses.replace(tiff_run.acquisition, name='"<\x01>\udcff', marks=marks)
    run = dataclasses.replace(tiff_run, acquisition=acquisition)
    made = documents(run, load_profile(path))
    assert errors(schema, made.ome_xml) == []
    assert all(errors(schema, text) == [] for text in made.embedded.values())
    assert made.record.model_dump_json()
    assert json.loads(seal(made.record, made.crate, [])["acquisition.json"])["session"]["sample"]["value"] == "]]>"


def test_uncalibrated_means_no_physical_size(tmp_path: Path) -> None:
    sequence = {"channels": [{"config": "DAPI", "exposure": 5}]}
    run = record(tmp_path / "run", "", sequence, [["Objective", "Label", "Objective-2"]])
    made = documents(run, Profile())
    assert b"PhysicalSize" not in made.ome_xml
    assert made.record.calibration.pixel_size["Status"].value == "uncalibrated"
    assert "the pixel size" in made.methods.partition("Not known:")[2]


def large(run: Recorded, count: int, positions: int) -> Recorded:
    """The real run with its frames repeated to `count` planes."""
    frames = dataclasses.replace(run.capture.frames)
    times = count // positions // 2
    frames.axes = ("t", "p", "c")
    frames.index = [(t, p, c) for t in range(times) for p in range(positions) for c in range(2)]
    total = len(frames.index)
    frames.at_ns = array("q", [run.acquisition.started_ns + 1_000_000 * n for n in range(total)])
    frames.runner_ms = array("d", [1.0 * n for n in range(total)])
    frames.exposure_ms = array("d", [10.0]) * total
    frames.x_um, frames.y_um, frames.z_um = (array("d", [1.25]) * total for _ in range(3))
    frames.channel = [("DAPI", "FITC")[n % 2] for n in range(total)]
    frames.camera = ["Camera"] * total
    frames.position = [f"P{n // 2 % positions}" for n in range(total)]
    frames.state = [0] * total
    frames.camera_metadata = [{}] * total
    capture = dataclasses.replace(run.capture, frames=frames)
    acquisition = dataclasses.replace(run.acquisition, files=(), format=None)
    return dataclasses.replace(run, capture=capture, acquisition=acquisition, metadata=None)


def test_hundred_thousand_planes_in_time_and_memory(schema: etree.XMLSchema, tiff_run: Recorded) -> None:
    run = large(tiff_run, 100_000, 4)
    # Its own time: the machine may be busy with others. benchmarks/documents.py looks at the clock.
    began = time.process_time()
    made = documents(run)
    taken = time.process_time() - began
    assert made.ome_xml.count(b"<Plane ") == 100_000
    assert taken < 3.0
    assert errors(schema, made.ome_xml) == []
    few = large(tiff_run, 10_000, 4)
    tracemalloc.start()
    documents(few)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak * 10 < 300e6


def test_many_files_do_not_multiply_the_text(tiff_run: Recorded) -> None:
    """384 positions in 384 files: each gets what fits the budget, its own image and planes always."""
    from agent.acquisition import SourceFile
    from agent.document.embed import embedded
    from agent.document.ome import sheet

    run = large(tiff_run, 384 * 26, 384)
    snapshot = take(run.acquisition, run.profile, run.capture, None)
    from agent.snapshot import Block

    images = tuple(
        dataclasses.replace(image, blocks=(Block(f"f{n}.ome.tif", None, 0, 0, 0, 0, 26),))
        for n, image in enumerate(snapshot.images)
    )
    files = tuple(SourceFile(f"/x/f{n}.ome.tif", f"f{n}.ome.tif", 1, 1, "1:1") for n in range(384))
    acquisition = dataclasses.replace(run.acquisition, files=files, format="ome-tiff")
    texts = embedded(
        CONTEXT, acquisition, sheet(CONTEXT, acquisition, dataclasses.replace(snapshot, images=images), {})
    )
    assert len(texts) == 384
    assert sum(map(len, texts.values())) < BUDGET * 4
    assert all(text.count(b"<Plane ") == 26 for text in texts.values())
    assert texts["f7.ome.tif"].count(b'FileName="f7.ome.tif"') == 1


def strips(tiff: tifffile.TiffFile) -> list[str]:
    """Hashes of the stored strips and tiles of every page, in order, compressed as they are."""
    handle, found = tiff.filehandle, []
    for page in tiff.pages:
        for at, size in zip(page.dataoffsets, page.databytecounts, strict=True):
            handle.seek(at)
            found.append(hashlib.sha256(handle.read(size)).hexdigest())
    return found


@pytest.mark.skipif(not CORPUS.is_dir(), reason="no corpus of microscope files: set SCOPE_AGENT_CORPUS")
@pytest.mark.parametrize(
    "name",
    [
        "ome-tiff/s_1_t_1_c_1_z_1.ome.tiff",
        "ome-tiff-multifile/tubhiswt-2D",
        "leica-matrix-ome-tiff",
        "micromanager-2.0",
        "ome-zarr",
        "imagej-tiff/xyz_8bit__mitotic_plate_calibrated.tif",
        "metamorph-tif/MetamorphImage.tif",
    ],
)
def test_files_of_the_corpus(schema: etree.XMLSchema, tmp_path: Path, name: str) -> None:
    path = CORPUS / name
    acquisition, metadata = of_files(path)
    made = build(CONTEXT, acquisition, take(acquisition, Profile(), None, metadata))
    assert errors(schema, made.ome_xml) == []
    if metadata.ome is not None:
        said = ome_types.from_xml(made.ome_xml)
        assert [i.pixels.size_x for i in said.images] == [i.pixels.size_x for i in metadata.ome.images]
        assert [len(i.pixels.planes) for i in said.images] == [len(i.pixels.planes) for i in metadata.ome.images]
    for file, text in made.embedded.items():
        assert errors(schema, text) == []
        source = Path(next(f.path for f in acquisition.files if f.name == file))
        patch = plan(source, text)
        assert patch is not None, file
        copy = tmp_path / file
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(b"".join(sent for _, sent in blocks(source, patch, 1 << 20)))
        with tifffile.TiffFile(source) as old, tifffile.TiffFile(copy) as new:
            assert new.is_ome
            assert strips(new) == strips(old)
            own, theirs = old.series[0], new.series[0]
            if own.kind == "ome":
                assert (own.shape, own.axes) == (theirs.shape, theirs.axes)


@pytest.mark.skipif(not CORPUS.is_dir(), reason="no corpus of microscope files: set SCOPE_AGENT_CORPUS")
def test_companion_of_another_program_stays_and_ours_is_whole(schema: etree.XMLSchema) -> None:
    acquisition, metadata = of_files(CORPUS / "ome-companion" / "c3_z33.companion.ome")
    made = build(CONTEXT, acquisition, take(acquisition, load_profile(None), None, metadata))
    assert made.embedded == {}
    assert errors(schema, made.ome_xml) == []
    said = ome_types.from_xml(made.ome_xml)
    assert len(said.images[0].pixels.planes) == 99
    assert said.instruments[0].objectives[0].lens_na == 1.4
    channel = next(c for c in made.record.channels if c.name == "Conf640")
    assert channel.settings["ExcitationWavelength"].value == 640.0
    assert channel.settings["ExcitationWavelength"].source == "file"
