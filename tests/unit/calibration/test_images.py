"""Calibration images of every kind that is read: TIFF, OME-Zarr of both versions, CZI, ND2, LIF."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from agent.calibration.images import load
from agent.calibration.run import Given, analyse_files
from agent.errors import Rejected
from tests.conftest import ROOT
from tests.unit.calibration.test_automatic import Agent
from tests.unit.calibration.test_truth import truth


def stack_of_beads() -> np.ndarray:
    rng = np.random.default_rng(5)
    shape = (15, 160, 160)
    places = truth.places_of(rng, shape, 36)
    return truth.bead_stack(rng, shape, places, (1.8, 1.2, 1.2), np.full(len(places), 2000.0), 20)


def write_zarr(folder: Path, pixels: np.ndarray, axes: str, scale: list[float], version: int) -> Path:
    """An OME-Zarr image of version 0.4 (Zarr 2) or 0.5 (Zarr 3), with a smaller level beside the full one."""
    tensorstore = pytest.importorskip("tensorstore")
    driver = {2: "zarr", 3: "zarr3"}[version]
    for level, part in (("0", pixels), ("1", pixels[..., ::2, ::2])):
        spec = {"driver": driver, "kvstore": {"driver": "file", "path": str(folder / level)}}
        store = tensorstore.open(spec, create=True, dtype=part.dtype, shape=part.shape).result()
        store.write(part).result()
    units = {"z": "micrometer", "y": "micrometer", "x": "micrometer", "t": "second"}
    smaller = [*scale[:-2], *(2 * step for step in scale[-2:])]
    kinds = {"t": "time", "c": "channel"}
    said = {
        "version": {2: "0.4", 3: "0.5"}[version],
        "axes": [{"name": a, "type": kinds.get(a, "space")} | ({"unit": units[a]} if a in units else {}) for a in axes],
        "datasets": [
            {"path": "0", "coordinateTransformations": [{"type": "scale", "scale": scale}]},
            {"path": "1", "coordinateTransformations": [{"type": "scale", "scale": smaller}]},
        ],
    }  # fmt: skip
    if version == 2:
        (folder / ".zgroup").write_text('{"zarr_format": 2}')
        (folder / ".zattrs").write_text(json.dumps({"multiscales": [said]}))
    else:
        ome = {"version": "0.5", "multiscales": [said]}
        (folder / "zarr.json").write_text(
            json.dumps({"zarr_format": 3, "node_type": "group", "attributes": {"ome": ome}})
        )
    return folder


@pytest.mark.parametrize("version", [2, 3])
def test_beads_in_ome_zarr(tmp_path: Path, version: int) -> None:
    pixels = stack_of_beads()
    path = write_zarr(tmp_path / "beads.ome.zarr", pixels, "zyx", [0.2, 0.1, 0.1], version)
    (picture,) = load(path)
    assert np.array_equal(picture.pixels[0, 0], pixels)
    assert (picture.pixel_um, picture.z_step_um) == (0.1, 0.2)
    marker = path / (".zattrs" if version == 2 else "zarr.json")
    assert np.array_equal(load(marker)[0].pixels, picture.pixels), "a watched folder knows it by a file"
    (outcome,) = analyse_files("psf", [path])
    assert outcome.analysis.metrics["fwhm_micron_x_median"].value == pytest.approx(2.3548 * 0.12, rel=0.01)
    with pytest.raises(Rejected, match="crop it"):
        load(path, max_gib=0.0001)


def test_time_and_depth_of_ome_zarr_are_told_apart(tmp_path: Path) -> None:
    pixels = np.arange(2 * 3 * 32 * 40, dtype=np.uint16).reshape(2, 3, 32, 40)
    path = write_zarr(tmp_path / "t.zarr", pixels, "tcyx", [1.5, 1, 0.1, 0.1], 3)
    (picture,) = load(path)
    assert picture.pixels.shape == (2, 3, 1, 32, 40)
    assert np.array_equal(picture.pixels[:, :, 0], pixels)
    assert picture.times_s == (0.0, 1.5)


def test_a_zarr_in_a_watched_folder_is_analysed_by_itself(tmp_path: Path) -> None:
    agent = Agent(tmp_path)
    write_zarr(agent.images / "qc/psf/beads.ome.zarr", stack_of_beads(), "zyx", [0.2, 0.1, 0.1], 3)
    agent.until_queued(1)
    (entry,) = agent.registry.entries()
    assert entry.metrics["fwhm_micron_z_median"].value == pytest.approx(2.3548 * 0.36, rel=0.01)
    assert {"zarr.json", "0/zarr.json"} <= {file.name.partition("/")[2] or file.name for file in entry.inputs}


def test_real_ome_zarr(corpus: Path) -> None:
    folder = corpus / "ome-zarr/WD1_15-02_WT_confocalonly/WD1_15-02_WT_confocalonly_segmented.zarr"
    if not folder.exists():
        pytest.skip(f"no {folder}")
    (picture,) = load(folder)
    assert picture.pixels.shape[3:] == (512, 512)
    assert picture.pixels.max() > picture.pixels.min()


REAL = [
    ("nd2/example-zstack.nd2", [(1, 1, 11, 128, 128)], 0.3234, ["FITC BP"]),
    ("nd2/cluster.nd2", [(3, 2, 10, 31, 38)], 0.1678, ["5-FAM/pH 9.0", "FM 4-64/2% CHAPS"]),
    ("czi/CellDivision_T3_Z5_CH2_X240_Y170.czi", [(3, 2, 5, 170, 240)], 0.0906, ["LED555", "LED470"]),
    ("czi/DAPI_GFP.czi", [(1, 2, 1, 640, 640)], None, ["DAPI", "GFP"]),
    ("lif/PR2729_frameOrderCombinedScanTypes.lif", [(2, 2, 3, 64, 64)] * 4, 3.9683, ["channel 1", "channel 2"]),
]


@pytest.mark.parametrize(("name", "shapes", "pixel_um", "channels"), REAL, ids=[one[0] for one in REAL])
def test_real_files_of_vendors(
    corpus: Path, name: str, shapes: list, pixel_um: float | None, channels: list[str]
) -> None:
    pytest.importorskip({"nd2": "nd2", "czi": "czifile", "lif": "liffile"}[name[:3]])
    path = corpus / name
    if not path.exists():
        pytest.skip(f"no {path}")
    pictures = load(path)
    assert [picture.pixels.shape for picture in pictures] == shapes
    assert all(picture.pixels.max() > picture.pixels.min() for picture in pictures)
    assert pictures[0].pixel_um == (pixel_um and pytest.approx(pixel_um, abs=1e-4))
    assert [facts.name for facts in pictures[0].channels] == channels


def test_a_real_field_of_a_vendor_is_analysed(corpus: Path) -> None:
    pytest.importorskip("nd2")
    path = corpus / "nd2/example-multichannel.nd2"
    if not path.exists():
        pytest.skip(f"no {path}")
    found = analyse_files("field", [path], Given(offset_adu=100))
    assert [outcome.channels for outcome in found] == [("Mono",), ("DAPI",), ("FITC BP",), ("TRITC BP",)]
    assert all(0 < outcome.analysis.metrics["uniformity_percent"].value <= 100 for outcome in found)


@pytest.mark.parametrize("name", ["czi/RGB-8bit.czi", "lif/xz-example.lif"])
def test_what_is_no_measurement_is_refused(corpus: Path, name: str) -> None:
    path = corpus / name
    if not path.exists():
        pytest.skip(f"no {path}")
    with pytest.raises(Rejected, match=r"colour images are no measurement|are not understood; write them as OME-TIFF"):
        load(path)


@pytest.mark.parametrize(("ending", "reader"), [("nd2", "nd2"), ("czi", "czifile"), ("lif", "liffile")])
def test_a_reader_that_is_absent_and_a_file_that_is_damaged_are_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str, reader: str
) -> None:
    path = tmp_path / f"x.{ending}"
    path.write_bytes(b"ZISRAWFILE" + bytes(600))
    pytest.importorskip(reader)
    with pytest.raises(Rejected, match=r"the pixels cannot be read|holds no image"):
        load(path)
    monkeypatch.setitem(sys.modules, reader, None)
    with pytest.raises(Rejected, match=f"needs {reader}: pip install"):
        load(path)


def test_the_guided_run_may_write_ome_zarr(tmp_path: Path) -> None:
    pytest.importorskip("mm_test_adapters")
    from agent.calibration import guided
    from tests.unit.calibration.acquire_demo import DARK, LIGHT, NOISE

    core = guided.load_core(None)
    run = guided.DetectorRun((1, 5, 20), 6, 10, 0.001, DARK, LIGHT)
    path = guided.acquire_detector(core, run, tmp_path / "detector.ome.zarr", NOISE)
    (outcome,) = analyse_files("detector", [path])
    assert outcome.analysis.metrics["gain_electrons_per_adu"].value == pytest.approx(0.8, rel=0.02)


def test_nothing_is_imported_before_it_is_needed() -> None:
    import subprocess

    names = "('nd2', 'czifile', 'tensorstore')"
    code = f"import sys, agent.calibration.images; print([n for n in {names} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
