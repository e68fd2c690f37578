"""What goes where by the facility's policy, how complete it is by REMBI, and the English of it; all without a file."""

import builtins
import dataclasses
import io
import json
import math
import os
from array import array
from pathlib import Path

import jsonschema
import pytest

from agent.contract.record import Captured, Channel, Counts
from agent.document import Context, Documents, build, rembi
from agent.document.english import article, duration, figure, listed
from agent.document.methods import methods
from agent.document.settings import DocumentSettings
from agent.snapshot import Image, Planes, Profile, take
from tests.unit.snapshot.demo_runs import Recorded

STANDARDS = Path(os.environ.get("SCOPE_AGENT_STANDARDS", Path(__file__).parents[4] / "shared" / "standards"))


def context(**policy: str) -> Context:
    return Context("lab", "demo", "0.1.0", "0" * 64, DocumentSettings(**policy))


def made(run: Recorded, profile: Profile | None = None, **policy: str) -> Documents:
    snapshot = take(run.acquisition, profile or run.profile, run.capture, run.metadata)
    return build(context(**policy), run.acquisition, snapshot)


def test_sidecar_leaves_the_files_alone(tiff_run: Recorded, zarr_run: Recorded) -> None:
    assert len(made(tiff_run).embedded) == 2
    assert made(tiff_run, ome_tiff="sidecar").embedded == {}
    assert len(made(tiff_run, ome_zarr="sidecar", tiff="sidecar").embedded) == 2
    plain = made(zarr_run, ome_zarr="sidecar")
    assert (plain.additions, plain.replacements) == ({}, {})
    assert plain.ome_xml == made(zarr_run).ome_xml
    assert "out.ome.zarr/OME/METADATA.ome.xml" in made(zarr_run).additions


@pytest.mark.parametrize(
    ("name", "carries"),
    [("ome-tiff", True), ("micromanager-1.4", True), ("tiff", True), ("ome-zarr", True), ("imagej-tiff", True),
     ("scanimage", False), ("stk", False), ("nd2", False), (None, False)],
)  # fmt: skip
def test_only_formats_that_take_it_are_embedded(name: str | None, carries: bool) -> None:
    assert DocumentSettings().embeds(name) is carries
    assert DocumentSettings(ome_tiff="sidecar", tiff="sidecar", ome_zarr="sidecar").embeds(name) is False
    assert DocumentSettings(vendor_tiff="embed").embeds(name) is (carries or name == "scanimage")


def test_building_opens_no_file(zarr_run: Recorded, tiff_run: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshots = [(r, take(r.acquisition, r.profile, r.capture, r.metadata)) for r in (zarr_run, tiff_run)]
    expected = [build(context(), run.acquisition, snapshot) for run, snapshot in snapshots]

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a pure function opened a file")

    for module in (builtins, io):
        monkeypatch.setattr(module, "open", refuse)
    monkeypatch.setattr(os, "scandir", refuse)
    again = [build(context(), run.acquisition, snapshot) for run, snapshot in snapshots]
    assert [dataclasses.asdict(one) for one in again] == [dataclasses.asdict(one) for one in expected]


def test_a_root_that_is_no_json_is_delivered_as_it_is(zarr_run: Recorded) -> None:
    snapshot = take(zarr_run.acquisition, zarr_run.profile, zarr_run.capture, zarr_run.metadata)
    (place,) = snapshot.texts
    for text in (b"{ torn", b"[]", b""):
        torn = build(context(), zarr_run.acquisition, dataclasses.replace(snapshot, texts={place: text}))
        assert place not in torn.replacements
        assert "out.ome.zarr/OME/METADATA.ome.xml" in torn.additions
    whole = build(context(), zarr_run.acquisition, snapshot)
    assert json.loads(whole.replacements[place])["attributes"]["scope_agent"]["acquisition"] == zarr_run.acquisition.id


def test_rembi_of_the_demo_is_valid_and_complete(tiff_run: Recorded) -> None:
    snapshot = take(tiff_run.acquisition, tiff_run.profile, tiff_run.capture, tiff_run.metadata)
    said = rembi.image_acquisition(snapshot)
    assert said["imaging_method.value"] == "wide-field fluorescence microscopy"
    assert said["imaging_method.ontology_id"] == "http://purl.obolibrary.org/obo/FBbi_00100013"
    assert said["imaging_instrument"].startswith("Nikon Eclipse Ti2-E with a Nikon S Fluor 10×/0.5 NA air objective")
    schema = STANDARDS / "rembi_mihcsme" / "rembi_1.5_from_rembi-mifa-0.1.2.schema.json"
    if schema.exists():
        nested: dict = {"imaging_method": {}}
        for key, value in said.items():
            place, _, leaf = key.rpartition(".")
            (nested[place] if place else nested)[leaf] = value
        whole = json.loads(schema.read_text(encoding="utf-8"))
        jsonschema.validate(nested, {"$ref": "#/$defs/ImageAcquisition", "$defs": whole["$defs"]})
    tier = rembi.completeness(snapshot)
    assert (tier.missing, tier.filled) == ([], tier.required)
    assert tier.states == {"captured": 4, "profile": 4, "derived": 4}
    text = made(tiff_run).ome_xml.decode()
    assert 'Namespace="urn:scope-agent:v1:rembi"' in text


def test_rembi_says_what_is_missing_in_words(tiff_run: Recorded) -> None:
    snapshot = take(tiff_run.acquisition, Profile(), tiff_run.capture, tiff_run.metadata)
    tier = rembi.completeness(snapshot)
    assert tier.missing == [
        "imaging method: name",
        "imaging method: ontology",
        "imaging method: term in the ontology",
        "imaging instrument: make and model",
        "acquisition parameters: excitation of channel DAPI",
        "acquisition parameters: emission of channel DAPI",
        "acquisition parameters: excitation of channel FITC",
        "acquisition parameters: emission of channel FITC",
    ]
    assert tier.filled == tier.required - 8
    bright = Channel(name="BF", settings={"ContrastMethod": Captured(value="Brightfield", source="profile")})
    tier = rembi.completeness(dataclasses.replace(snapshot, channels=(bright,)))
    assert tier.missing == ["imaging instrument: make and model", "acquisition parameters: exposure time of channel BF"]
    assert "acquisition parameters: emission of channel BF" in tier.not_applicable


def test_defaults_and_what_cannot_apply_are_told_apart(tiff_run: Recorded) -> None:
    label = "Nikon 10X S Fluor"
    table = dict(tiff_run.profile.objective["Objective"])
    table[label] = table[label].model_copy(update={"catalogue_number": "NA", "contrast_modulation": "unknown"})
    profile = tiff_run.profile.model_copy(update={"objective": {"Objective": table}})
    tier = made(tiff_run, profile).record.completeness["tier1"]
    assert f"objective {label}: catalogue number" in tier.not_applicable
    assert tier.missing == [f"objective {label}: phase ring or other contrast plate"]
    bare = dataclasses.replace(tiff_run, metadata=None)
    tier = made(bare).record.completeness["tier1"]
    # Nobody has written a file: the order of the planes is what OME assumes.
    assert tier.defaulted == ["the images: dimension order"]
    assert tier.states["defaulted"] == 1


def test_completeness_is_not_quality_control(tiff_run: Recorded) -> None:
    record = made(tiff_run).record
    assert record.calibration.metrics == {}
    assert not any("qc" in name or "calibr" in what for name, t in record.completeness.items() for what in t.missing)


@pytest.mark.parametrize(
    ("value", "said"),
    [(0.65, "0.65"), (1.0, "1"), (120000, "120,000"), (12345.6, "12,350"), (0.0000123456, "0.00001235"), (0, "0"),
     (1.40000001, "1.4"), (999.96, "1000"), (-0.5, "-0.5")],
)  # fmt: skip
def test_numbers_have_the_digits_that_they_deserve(value: float, said: str) -> None:
    assert figure(value) == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.05, "50 ms"), (2.5, "2.5 s"), (60, "1 min"), (90, "90 s"), (300, "5 min"), (3600, "1 h"), (43200, "12 h")],
)
def test_times_have_the_unit_that_people_use(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_articles_and_lists() -> None:
    words = ["LED", "sCMOS camera", "8× lens", "inverted stand", "unit", "Olympus IX83", "EMCCD camera", "Hamamatsu"]
    assert [article(word).split()[0] for word in words] == ["an", "an", "an", "an", "a", "an", "an", "a"]
    assert listed(["a", "b", "c"]) == "a, b, and c"


def test_a_file_without_a_date_is_not_given_one(tiff_run: Recorded) -> None:
    from tests.unit.snapshot.demo_runs import of_files

    acquisition, metadata = of_files(Path(tiff_run.acquisition.files[0].path))
    snapshot = take(acquisition, Profile(), None, metadata)
    undated = build(context(), acquisition, dataclasses.replace(snapshot, acquired_at=None))
    assert "Images were acquired with a " in undated.methods
    assert "the date" in undated.methods.partition("Not known:")[2]
    action = next(entity for entity in undated.crate["@graph"] if entity["@id"] == "#acquisition")
    assert "startTime" not in action
    dated = build(context(), acquisition, dataclasses.replace(snapshot, acquired_at="2021-03-04T05:06:07"))
    assert "Images were acquired on 4 March 2021 with" in dated.methods
    assert "The files were written by " in dated.methods
    assert "controlled by" not in dated.methods


def told(run: Recorded, size: tuple[int, int, int], frames: int = 4, columns: Planes | None = None, **steps) -> str:
    """The methods of one image of 64 x 64 pixels with (Z, C, T) planes."""
    image = Image("one", (64, 64, *size), "uint16", planes=columns or Planes.none(), **steps)
    snapshot = take(run.acquisition, run.profile, run.capture, run.metadata)
    snapshot = dataclasses.replace(snapshot, images=(image,), actual=Counts(frames=frames))
    return methods(run.acquisition, snapshot)


def planes(axis: str, values: list[float]) -> Planes:
    """One plane a value: the time of time points, or the height of focal planes."""
    count, zeros = len(values), array("q", [0] * len(values))
    numbers, unknown = array("q", range(count)), array("d", [math.nan] * count)
    if axis == "t":
        return Planes(zeros, zeros, numbers, array("d", values), unknown, unknown, unknown, unknown)
    return Planes(numbers, zeros, zeros, unknown, unknown, unknown, unknown, array("d", values))


@pytest.mark.parametrize(
    ("nominal", "times", "said"),
    [
        (0.2, [0, 0.2, 0.41, 0.6], "four time points at intervals of 200 ms;"),
        (0.2, [0, 0.29, 0.58, 0.87], "four time points at intervals of 290 ms (nominally 200 ms);"),
        (None, [0, 60, 120, 180], "four time points at intervals of 1 min;"),
        (None, [0, 1, 3, 12], "four time points at intervals between 1 s and 9 s;"),
        (5.0, [0, math.nan, 2, 3], "four time points at intervals of 5 s;"),
        (None, [0, math.nan, 2, 3], "four time points;"),
        (None, [3, 2, 1, 4], "four time points;"),
    ],
)
def test_intervals_are_those_of_the_frames(
    tiff_run: Recorded, nominal: float | None, times: list[float], said: str
) -> None:
    assert f"comprising {said} " in told(tiff_run, (1, 1, 4), columns=planes("t", times), t_step_s=nominal)


@pytest.mark.parametrize(
    ("places", "said"),
    [
        ([0, 1, 2.02, 3], "four focal planes 1 µm apart;"),
        ([0, 1, 3, 6], "four focal planes between 1 and 3 µm apart;"),
        ([6, 3, 1, 0], "four focal planes between 1 and 3 µm apart;"),
    ],
)
def test_uneven_stacks_are_told(tiff_run: Recorded, places: list[float], said: str) -> None:
    assert f"comprising {said} " in told(tiff_run, (4, 1, 1), columns=planes("z", places), z_step_um=1.0)


def test_a_sentence_does_not_begin_with_a_figure(tiff_run: Recorded) -> None:
    assert " A total of 24 frames of 64 × 64 pixels" in told(tiff_run, (1, 1, 24), 24)
    assert " Three frames of 64 × 64 pixels" in told(tiff_run, (1, 1, 3), 3)


def test_a_program_is_named_once(tiff_run: Recorded) -> None:
    snapshot = take(tiff_run.acquisition, tiff_run.profile, tiff_run.capture, tiff_run.metadata)
    wrote = {"OME Creator": "tifffile.py 2026.3.3", "TIFF Software": "tifffile.py", "ZEN": "3.1"}
    text = methods(tiff_run.acquisition, dataclasses.replace(snapshot, software=wrote))
    assert "The files were written by tifffile.py 2026.3.3 and ZEN 3.1." in text
