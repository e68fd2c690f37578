"""Versions and corners that the corpus does not hold, and what the fuzzer found: each file is made here."""

import json
import random
import struct
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest
import tifffile
from ome_types import validate_xml

from agent.formats import Wholeness
from agent.formats.inspection import inspect
from agent.formats.local_dates import day_and_time, with_zone
from agent.formats.members import plain
from tests.writers import WRITERS

IMAGE = np.zeros((32, 48), np.uint16)


def seen(path):
    found = inspect(path)
    validate_xml(found.to_ome_xml())
    json.loads(found.to_json())
    return found


def pixels(found):
    return found.metadata.ome.images[0].pixels


def test_scanimage_3_8(tmp_path):
    path = tmp_path / "old_001.tif"
    text = "\r".join([
        "state.software.version=3.8", "state.acq.savingChannel1=1", "state.acq.savingChannel2=1",
        "state.acq.savingChannel3=0", "state.acq.numberOfZSlices=3", "state.acq.zStepSize=1.5",
        "state.internal.triggerTimeString='5/3/2015 14:30:17.250'",
    ])  # fmt: skip
    with tifffile.TiffWriter(path) as writer:
        for _ in range(12):
            writer.write(IMAGE, contiguous=False, description=text, metadata=None)
    found = seen(path)
    assert (found.format, found.verdict.state, found.planes) == ("scanimage", Wholeness.UNKNOWN, 12)
    said = pixels(found)
    assert (said.size_z, said.size_c, said.size_t) == (3, 2, 2)
    assert said.physical_size_z == 1.5
    assert found.metadata.software["ScanImage"] == "3.8"
    assert found.metadata.ome.images[0].acquisition_date == datetime(2015, 5, 3, 14, 30, 17, 250000)  # noqa: DTZ001


def test_scanimage_5_in_the_description(tmp_path):
    path = tmp_path / "si5_00001.tif"
    with tifffile.TiffWriter(path) as writer:
        for number in range(4):
            text = (
                f"Frame Number = {number + 1}\nFrame Timestamp(s) = {number / 4}\nscanimage.SI5.channelsSave = [1;2]\n"
            )
            writer.write(IMAGE, contiguous=False, description=text, metadata=None)
    found = seen(path)
    assert found.format == "scanimage"
    assert (pixels(found).size_c, pixels(found).size_t) == (2, 2)
    assert [one.delta_t for one in pixels(found).planes] == [0, 0.25, 0.5, 0.75]


def test_a_hole_in_a_rolled_run_is_named(tmp_path):
    for number in (1, 2, 4):
        path = tmp_path / f"run_00003_{number:05}.tif"
        tifffile.imwrite(path, IMAGE, description="frameNumbers = 1\nframeTimestamps_sec = 0\n", metadata=None)
    found = seen(tmp_path / "run_00003_00002.tif")
    assert found.dataset.missing == ("run_00003_00003.tif",)
    assert found.verdict.state is Wholeness.GROWING


def test_fibics_atlas(tmp_path):
    path = tmp_path / "atlas.tif"
    xml = (
        b"<Fibics><Application><Version>Atlas 5</Version><Date>2020-05-28T09:21:00</Date></Application>"
        b"<Scan><Dwell>1500</Dwell><Ux>0.005</Ux><Vy>-0.005</Vy></Scan><Stage><X>10</X><Y>20</Y><Z>30</Z></Stage></Fibics>"
    )
    tifffile.imwrite(path, IMAGE, metadata=None, extratags=[(51023, 7, len(xml), xml, True)])
    found = seen(path)
    assert found.format == "sem-tiff"
    assert (pixels(found).physical_size_x, pixels(found).physical_size_y) == (5.0, 5.0)
    assert pixels(found).planes[0].position_y == 20
    assert found.metadata.not_carried_over["dwell_time_ns"] == "1500"
    assert found.metadata.ome.images[0].acquisition_date == datetime(2020, 5, 28, 9, 21)  # noqa: DTZ001


def test_tescan_without_a_header_waits_and_still_reads_the_tag(tmp_path):
    path = tmp_path / "t.tif"
    tag = b"\xff\xd9\x00AccFrames=1\nDevice=TESCAN X\nPixelSizeX=0.000000001\nPixelSizeY=0.000000002\nStageX=0.001\n\0"
    tifffile.imwrite(path, IMAGE, metadata=None, extratags=[(50431, 7, len(tag), tag, True)])
    found = seen(path)
    assert (found.format, found.verdict.state) == ("sem-tiff", Wholeness.UNKNOWN)
    assert (pixels(found).physical_size_x, pixels(found).physical_size_y) == pytest.approx((1.0, 2.0))
    (tmp_path / "t-tif.hdr").write_text("[MAIN]\nDevice=TESCAN X\n")
    assert seen(tmp_path / "t-tif.hdr").verdict.state is Wholeness.WHOLE
    assert seen(path).dataset.files == (tmp_path / "t-tif.hdr", path)


def test_qptiff_with_the_encoding_that_it_does_not_have(tmp_path):
    path = tmp_path / "q.qptiff"
    with tifffile.TiffWriter(path) as writer:
        for name, exposure in (("DAPI", 5000), ("Opal 520", 12000)):
            xml = (
                f'<?xml version="1.0" encoding="utf-16"?><PerkinElmer-QPI-ImageDescription><Name>{name}</Name>'
                f"<InstrumentType>Vectra Polaris</InstrumentType><ExposureTime>{exposure}</ExposureTime>"
                "<Objective>20x</Objective><OperatorName>someone</OperatorName></PerkinElmer-QPI-ImageDescription>"
            )
            writer.write(
                IMAGE, contiguous=False, description=xml, metadata=None, resolution=(20000, 20000),
                resolutionunit="CENTIMETER",
            )  # fmt: skip
        writer.write(IMAGE[::2, ::2], contiguous=False, metadata=None, subfiletype=1)
    found = seen(path)
    assert (found.format, found.verdict.state, found.planes) == ("qptiff", Wholeness.WHOLE, 2)
    assert [one.name for one in pixels(found).channels] == ["DAPI", "Opal 520"]
    assert [one.exposure_time for one in pixels(found).planes] == [0.005, 0.012]
    assert pixels(found).physical_size_x == pytest.approx(0.5)
    assert found.metadata.ome.instruments[0].objectives[0].nominal_magnification == 20


def test_lightfield_has_its_facts_in_the_xml(tmp_path):
    xml = (
        b'<SpeFormat version="3.0" xmlns="http://www.princetoninstruments.com/spe/2009"><DataHistories><DataHistory>'
        b'<Origin software="LightField" softwareVersion="6.1" created="2015-06-01T10:00:00.1234567-05:00"/>'
        b'<Experiment><Camera model="PIXIS"/><ExposureTime type="Double">250</ExposureTime></Experiment>'
        b"</DataHistory></DataHistories></SpeFormat>"
    )
    head = bytearray(4100)
    struct.pack_into("<H", head, 42, 8)
    struct.pack_into("<H", head, 656, 4)
    struct.pack_into("<h", head, 108, 3)
    struct.pack_into("<i", head, 1446, 2)
    struct.pack_into("<f", head, 1992, 3.0)
    struct.pack_into("<Q", head, 678, 4100 + 128)
    path = tmp_path / "l.spe"
    path.write_bytes(bytes(head) + bytes(128) + xml)
    found = seen(path)
    assert (found.verdict.state, found.planes) == (Wholeness.WHOLE, 2)
    assert pixels(found).planes[0].exposure_time == 0.25
    assert found.metadata.software == {"LightField": "6.1"}
    assert found.metadata.ome.images[0].acquisition_date.utcoffset() == timedelta(hours=-5)
    path.write_bytes(bytes(head) + bytes(128) + xml[:-5])
    assert seen(path).verdict.state is Wholeness.GROWING


def test_a_prairie_run_without_its_images_names_them(tmp_path):
    frame = '<Sequence type="TSeries"><Frame><File filename="{}"/></Frame></Sequence>'
    xml = f'<PVScan version="5.0" date="1/2/2020 3:04:05 PM">{frame}</PVScan>'
    (tmp_path / "run.xml").write_text(xml.format("run_Cycle00001_Ch1_000001.ome.tif"))
    found = seen(tmp_path / "run.xml")
    assert (found.format, found.dataset.missing) == ("prairieview", ("run_Cycle00001_Ch1_000001.ome.tif",))
    assert found.verdict.state is Wholeness.GROWING
    for name in ("../../etc/passwd", "x" * 5000, "a\\b.tif"):
        (tmp_path / "run.xml").write_text(xml.format(name))
        assert seen(tmp_path / "run.xml").dataset.files == (tmp_path / "run.xml",)


def test_ndpi_above_4_gb_is_followed_with_64_bits(tmp_path):
    """A sparse file: one image whose pixels lie behind 4 GB."""
    path = tmp_path / "big.ndpi"
    at, pixels_at = (1 << 32) + 4096, (1 << 32) + 100
    entries = [(256, 4, 1, 4), (257, 4, 1, 4), (273, 4, 1, pixels_at & 0xFFFFFFFF), (279, 4, 1, 16), (65420, 4, 1, 1)]
    index = struct.pack("<H", 5) + b"".join(struct.pack("<HHII", *one) for one in entries) + struct.pack("<Q", 0)
    index += b"".join(struct.pack("<I", 1 if one[0] == 273 else 0) for one in entries)
    with path.open("wb") as file:
        file.write(b"II*\0" + struct.pack("<Q", at))
        file.seek(at)
        file.write(index)
    from agent.formats import ndpi_layout

    assert ndpi_layout.verdict(path).state is Wholeness.WHOLE
    with path.open("r+b") as file:
        file.truncate(at + len(index) - 8)
    assert ndpi_layout.verdict(path).state is Wholeness.GROWING


@pytest.mark.parametrize(
    ("day", "clock", "month_first", "expected"),
    [
        ("03/29/2011", "10:10:52 AM", None, "2011-03-29T10:10:52"),
        ("10/11/2016", "01:16:51 PM", None, "2016-10-11T13:16:51"),
        ("29.03.2011", "10:10:52", None, "2011-03-29T10:10:52"),
        ("2022-05-17", "09:07:08", None, "2022-05-17T09:07:08"),
        ("03/04/2011", "10:10:52", None, None),
        ("3/04/2011", "1:10:52 PM", False, None),
        ("4/04/2011", "1:10:52 PM", False, "2011-04-04T13:10:52"),
        ("nonsense", "", None, None),
    ],
)
def test_a_date_that_could_be_two_is_none(day, clock, month_first, expected):
    found, doubt = day_and_time(day, clock, month_first)
    assert (found and found.isoformat()) == expected
    assert bool(doubt) == (expected is None and day != "nonsense")


def test_the_zone_between_two_clocks():
    utc = datetime(2020, 7, 1, 12, 0, 3, tzinfo=UTC)
    found = with_zone(datetime(2020, 7, 1, 17, 30, 0), utc)  # noqa: DTZ001
    assert found.utcoffset() == timedelta(hours=5, minutes=30)
    assert found == utc
    assert found.tzinfo == timezone(timedelta(hours=5, minutes=30))
    assert with_zone(datetime(2020, 7, 9, 17, 30, 0), utc) is None  # noqa: DTZ001


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\\b", "c:x", "a\0b", "x" * 256, "é" * 200, "\ud800"])
def test_names_that_no_file_beside_can_have(name):
    assert not plain(name)


def leave(folder, writer, seed=1):
    """What a simulated writer leaves; its files."""
    for op in WRITERS[writer](random.Random(seed)).ops:
        path = folder / op.name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("r+b" if path.exists() else "w+b") as file:
            file.seek(0, 2) if op.at is None else file.seek(op.at)
            file.write(op.data)
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_found_an_mdoc_that_names_a_file_no_disk_can_hold(tmp_path):
    leave(tmp_path, "serialem")
    text = tmp_path / "t.mrc.mdoc"
    text.write_text("ImageFile = TS" + "[" * 3000 + ".mrc\n[ZValue = 0]\n")
    (tmp_path / "t.mrc").unlink()
    assert seen(text).format == "serialem-mdoc"


def test_found_a_miniscope_recording_that_names_a_folder_that_is_away(tmp_path):
    (tmp_path / "metaData.json").write_text('{"miniscopes": ["Away", 3, null], "cameras": 7}')
    found = seen(tmp_path / "metaData.json")
    assert found.verdict.state is Wholeness.GROWING
    assert found.dataset.missing == (f"{tmp_path.name}/Away",)


def test_found_hdf5_attribute_names_that_are_no_text(tmp_path):
    h5py = pytest.importorskip("h5py", reason="the extra `formats` is not installed")
    path = tmp_path / "m.mesc"
    with h5py.File(path, "w") as file:
        unit = file.create_group("MSession_0/MUnit_0")
        unit.attrs[b"\xff\xfe"] = 1
        unit.create_dataset("Channel_0", data=np.zeros((2, 4, 4), np.uint16))
    assert pixels(seen(path)).size_t == 2


def test_an_open_hdf5_file_is_growing(tmp_path):
    h5py = pytest.importorskip("h5py", reason="the extra `formats` is not installed")
    path = tmp_path / "v.emd"
    with h5py.File(path, "w", libver="latest") as file:
        file.create_dataset("Data", data=np.zeros(100_000))
        file.flush()
        assert seen(path).verdict.state is Wholeness.GROWING
    assert seen(path).verdict.state is Wholeness.WHOLE
