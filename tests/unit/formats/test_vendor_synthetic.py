"""Vendor formats that the corpus lacks or holds in one state only: made here, or made from the corpus, in parts."""

import json
import random
import shutil
import struct
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
from ome_types import validate_xml

from agent.formats import Wholeness, identify
from agent.formats.inspection import inspect
from tests.writers import WRITERS

PLANE = np.arange(48, dtype=np.uint16).reshape(6, 8)


def check(path, expected, state):
    found = inspect(path)
    assert (found.format, found.verdict.state) == (expected, state), (found.verdict, found.metadata.errors)
    validate_xml(found.to_ome_xml())
    return found


def restore(skeleton, target):
    """A pixel file from the corpus' skeleton: its headers and its table of tiles, holes where the pixels were."""
    raw = skeleton.read_bytes()
    total, parts = struct.unpack_from("<QI", raw, 8)
    at = 20
    with target.open("wb") as file:
        for _ in range(parts):
            place, length = struct.unpack_from("<QI", raw, at)
            file.seek(place)
            file.write(raw[at + 12 : at + 12 + length])
            at += 12 + length
        file.truncate(total)


def test_a_vsi_with_its_pixel_file(corpus, tmp_path):
    source = corpus / "vsi/anonymised-single-plane"
    shutil.copyfile(source / "anon.vsi", tmp_path / "anon.vsi")
    check(tmp_path / "anon.vsi", "vsi", Wholeness.GROWING)
    stack = tmp_path / "_anon_/stack1"
    stack.mkdir(parents=True)
    pixels = stack / "frame_t_0.ets"
    restore(source / "_anon_/stack1/frame_t_0.ets.skel", pixels)
    found = check(tmp_path / "anon.vsi", "vsi", Wholeness.WHOLE)
    assert found.dataset == identify(pixels).dataset(pixels)
    assert found.planes == 4
    image = found.metadata.ome.images[0].pixels
    assert (image.size_x, image.size_y, image.size_c, image.size_z, image.size_t) == (2304, 2304, 4, 1, 1)
    assert (image.type.value, image.physical_size_x) == ("uint16", 0.25)
    with pixels.open("r+b") as file:
        file.truncate(pixels.stat().st_size - 100)
    check(tmp_path / "anon.vsi", "vsi", Wholeness.GROWING)


def index(tmp_path, names, state="Ok", end="</Images></EvaluationInputData>"):
    images = "".join(
        f'<Image Version="1"><id>0101K1F1P1R{n}</id><State>{state}</State><URL>{name}</URL><Row>2</Row><Col>3</Col>'
        f"<FieldID>1</FieldID><PlaneID>1</PlaneID><TimepointID>0</TimepointID><ChannelID>{n + 1}</ChannelID>"
        f"<ChannelName>dye {n}</ChannelName><ImageResolutionX Unit='m'>2.9E-07</ImageResolutionX>"
        "<ImageResolutionY Unit='m'>2.9E-07</ImageResolutionY><ImageSizeX>8</ImageSizeX><ImageSizeY>6</ImageSizeY>"
        "<PositionX Unit='m'>-0.0003</PositionX><PositionY Unit='m'>0.0001</PositionY>"
        "<AbsPositionZ Unit='m'>0.13</AbsPositionZ><MeasurementTimeOffset Unit='s'>1.5</MeasurementTimeOffset>"
        "<AbsTime>2020-02-03T10:11:12.5+01:00</AbsTime>"
        "<MainExcitationWavelength Unit='nm'>488</MainExcitationWavelength>"
        "<MainEmissionWavelength Unit='nm'>522</MainEmissionWavelength>"
        "<ObjectiveMagnification Unit=''>20</ObjectiveMagnification>"
        "<ObjectiveNA Unit=''>0.8</ObjectiveNA><ExposureTime Unit='s'>0.04</ExposureTime></Image>"
        for n, name in enumerate(names)
    )
    text = (
        '<?xml version="1.0" encoding="utf-8"?><EvaluationInputData xmlns="http://www.perkinelmer.com/PEHH/HarmonyV5">'
        f"<User>somebody</User><InstrumentType>Phenix</InstrumentType><Images>{images}{end}"
    )
    (tmp_path / "Index.idx.xml").write_text(text)


def test_operetta(tmp_path):
    names = [f"r02c03f01p01-ch{n + 1}sk1fk1fl1.tiff" for n in range(2)]
    index(tmp_path, names, end="")
    check(tmp_path / "Index.idx.xml", "operetta-phenix", Wholeness.GROWING)
    index(tmp_path, names)
    tifffile.imwrite(tmp_path / names[0], PLANE, metadata=None)
    found = check(tmp_path / "Index.idx.xml", "operetta-phenix", Wholeness.GROWING)
    assert found.dataset.missing == (names[1],)
    tifffile.imwrite(tmp_path / names[1], PLANE, metadata=None)
    found = check(tmp_path / names[1], "operetta-phenix", Wholeness.WHOLE)
    image = found.metadata.ome.images[0]
    assert image.acquisition_date.isoformat() == "2020-02-03T10:11:12.500000+01:00"
    pixels = image.pixels
    assert (pixels.size_c, pixels.physical_size_x) == (2, pytest.approx(0.29))
    assert [c.excitation_wavelength for c in pixels.channels] == [488, 488]
    assert (pixels.planes[1].exposure_time, pixels.planes[1].position_x) == (0.04, pytest.approx(-300))
    assert found.metadata.ome.instruments[0].objectives[0].lens_na == 0.8
    index(tmp_path, names, state="Missing")
    check(tmp_path / "Index.idx.xml", "operetta-phenix", Wholeness.DAMAGED)


OIF = """[Version Info]
SystemName="FLUOVIEW FV1000"
SystemVersion="4.1"
[Axis 0 Parameters Common]
AxisCode="X"
MaxSize=8
[Axis 1 Parameters Common]
AxisCode="Y"
MaxSize=6
[Axis 2 Parameters Common]
AxisCode="C"
MaxSize=1
[Axis 3 Parameters Common]
AxisCode="Z"
MaxSize=2
StartPosition=0
EndPosition=500
UnitName="nm"
[Reference Image Parameter]
WidthConvertValue=0.2
WidthUnit="um"
ImageDepth=2
[Channel 1 Parameters]
CH Name="CH1"
ExcitationWavelength=488
"""


def test_oif(tmp_path):
    text = tmp_path / "a.oif"
    text.write_bytes(OIF.encode("utf-16"))
    check(text, "oif", Wholeness.GROWING)
    folder = tmp_path / "a.oif.files"
    folder.mkdir()
    tifffile.imwrite(folder / "s_C001Z001.tif", PLANE, metadata=None)
    check(text, "oif", Wholeness.GROWING)
    tifffile.imwrite(folder / "s_C001Z002.tif", PLANE, metadata=None)
    (folder / "s_C001Z001.pty").write_bytes('[A]\nObjectiveLens Name="UPLFLN 40X"\nMagnification=40\n'.encode("utf-16"))
    found = check(folder / "s_C001Z002.tif", "oif", Wholeness.WHOLE)
    assert found.dataset == identify(text).dataset(text)
    pixels = found.metadata.ome.images[0].pixels
    assert (pixels.size_z, pixels.physical_size_z, pixels.physical_size_z_unit.value) == (2, 500, "nm")
    assert found.metadata.ome.instruments[0].objectives[0].model == "UPLFLN 40X"
    assert found.metadata.software == {"FLUOVIEW FV1000": "4.1"}


def test_imaris(tmp_path):
    path = tmp_path / "a.ims"

    def letters(text):
        return np.array([one.encode() for one in text], "S1")

    with h5py.File(path, "w") as file:
        info = file.create_group("DataSetInfo/Image")
        said = {"X": "8", "Y": "6", "Z": "3", "Unit": "um", "RecordingDate": "2020-02-03 04:05:06.789"}
        said |= {f"ExtMin{n}": "1" for n in range(3)} | {"ExtMax0": "5", "ExtMax1": "4", "ExtMax2": "7"}
        for key, value in said.items():
            info.attrs[key] = letters(value)
        file.create_group("DataSetInfo/Channel 0").attrs["Name"] = letters("GFP")
        file.create_group("DataSetInfo/Imaris").attrs["Version"] = letters("9.5")
        file["DataSet/ResolutionLevel 0/TimePoint 0/Channel 0/Data"] = np.zeros((3, 6, 8), np.uint8)
    found = check(path, "ims", Wholeness.WHOLE)
    image = found.metadata.ome.images[0]
    assert (image.pixels.size_z, image.pixels.physical_size_x, image.pixels.physical_size_z) == (3, 0.5, 2)
    assert image.pixels.channels[0].name == "GFP"
    assert found.metadata.software == {"Imaris": "9.5"}
    good = path.read_bytes()
    for size in range(0, len(good), 512):
        path.write_bytes(good[:size])
        assert inspect(path).verdict.state is not Wholeness.WHOLE


def test_leica_export(corpus, tmp_path):
    """The XML of a LIF image is what LAS X writes beside its exported planes."""
    raw = (corpus / "lif/PR2729_frameOrderCombinedScanTypes.lif").read_bytes()
    text = raw[13 : 13 + 2 * struct.unpack_from("<I", raw, 9)[0]].decode("utf-16-le")
    (tmp_path / "MetaData").mkdir()
    (tmp_path / "MetaData/scan.xml").write_text(text)
    for n in range(47):
        tifffile.imwrite(tmp_path / f"scan_s{n}_ch00.tif", PLANE, metadata=None)
    check(tmp_path / "scan_s0_ch00.tif", "leica-tif-export", Wholeness.GROWING)
    tifffile.imwrite(tmp_path / "scan_s47_ch00.tif", PLANE, metadata=None)
    found = check(tmp_path / "MetaData/scan.xml", "leica-tif-export", Wholeness.WHOLE)
    assert len(found.dataset.files) == 49
    assert found.metadata.ome.images[0].pixels.size_z == 3


def test_a_stack_of_micromanager_that_was_not_closed(corpus, tmp_path):
    import gzip

    for one in (corpus / "micromanager-1.4/1.4compatTest_3").iterdir():
        (tmp_path / one.stem).write_bytes(gzip.decompress(one.read_bytes()))
    stacks = sorted(tmp_path.glob("*.ome.tif"))
    check(stacks[2], "micromanager-1.4", Wholeness.WHOLE)
    with stacks[3].open("r+b") as file:
        file.seek(8)
        file.write(bytes(8))
    found = check(stacks[0], "micromanager-1.4", Wholeness.GROWING)
    assert "index" in found.verdict.reason
    stacks[3].unlink()
    assert check(stacks[0], "micromanager-1.4", Wholeness.GROWING).dataset.missing == (stacks[3].name,)


def test_image_folders_of_micromanager_with_two_positions(tmp_path):
    summary = {"MicroManagerVersion": "1.4.22", "Positions": 2, "UUID": "u", "ChNames": ["DAPI"], "PixelType": "GRAY16"}
    for position in range(2):
        folder = tmp_path / f"Pos{position}"
        folder.mkdir()
        text = {"Summary": summary}
        for t in range(2):
            name = f"img_{t:09d}_DAPI_000.tif"
            tifffile.imwrite(folder / name, PLANE, metadata=None)
            tags = {
                "FileName": name,
                "ElapsedTime-ms": 100 * t,
                "Exposure-ms": 20,
                "XPositionUm": 5,
                "Time": "2020-02-03 04:05:06 +0100",
            }
            text[f"FrameKey-{t}-0-0"] = tags
        (folder / "metadata.txt").write_text(json.dumps(text, indent=1))
    found = check(tmp_path / "Pos1/img_000000001_DAPI_000.tif", "micromanager-1.4", Wholeness.WHOLE)
    assert found.dataset == identify(tmp_path / "Pos0/metadata.txt").dataset(tmp_path / "Pos0/metadata.txt")
    assert (len(found.dataset.files), found.planes) == (6, 4)
    images = found.metadata.ome.images
    assert [image.name for image in images] == ["Pos0", "Pos1"]
    assert images[1].acquisition_date.isoformat() == "2020-02-03T04:05:06+01:00"
    assert [(p.delta_t, p.exposure_time, p.position_x) for p in images[1].pixels.planes] == [
        (0.0, 0.02, 5),
        (0.1, 0.02, 5),
    ]
    (tmp_path / "Pos1/img_000000001_DAPI_000.tif").unlink()
    check(tmp_path / "Pos0/metadata.txt", "micromanager-1.4", Wholeness.GROWING)


def test_ndtiff_whose_writer_died(corpus, tmp_path):
    shutil.copytree(corpus / "ndtiff/ndtiffv3.0_test", tmp_path / "run", copy_function=shutil.copyfile)
    folder = tmp_path / "run"
    folder.chmod(0o755)
    check(folder / "NDTiff.index", "ndtiff", Wholeness.WHOLE)
    index = folder / "NDTiff.index"
    good = index.read_bytes()
    index.write_bytes(good[:-5])
    check(index, "ndtiff", Wholeness.GROWING)
    index.write_bytes(good)
    stack = folder / "ndtiffv3.0_test_NDTiffStack.tif"
    stack.write_bytes(stack.read_bytes()[:30_000])
    check(stack, "ndtiff", Wholeness.GROWING)


def test_a_czi_in_two_parts(corpus, tmp_path):
    good = bytearray((corpus / "czi/RGB-8bit.czi").read_bytes())
    main, part = tmp_path / "a.czi", tmp_path / "a (1).czi"
    main.write_bytes(good)
    good[80:84] = struct.pack("<i", 1)
    part.write_bytes(good)
    found = check(part, "czi", Wholeness.WHOLE)
    assert (found.dataset.main, len(found.dataset.files)) == (main, 2)
    main.unlink()
    assert check(part, "czi", Wholeness.GROWING).dataset.missing == ("a.czi",)


def test_a_czi_that_zen_is_still_writing(corpus, tmp_path):
    good = bytearray((corpus / "czi/RGB-8bit.czi").read_bytes())
    at = 32 + 16 + 32 + 4 + 16
    assert good[at : at + 4] == bytes(4)
    good[at] = 1
    (tmp_path / "a.czi").write_bytes(good)
    assert "UpdatePending" in check(tmp_path / "a.czi", "czi", Wholeness.GROWING).verdict.reason


BOMB = '<!DOCTYPE o [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;">]><{0}>&b;</{0}>'


@pytest.mark.parametrize("name", ["Index.idx.xml", "MeasurementDetail.mrf", "MeasurementResult.xml", "a.ome.xml"])
def test_xml_bombs(tmp_path, name):
    path = tmp_path / name
    path.write_text(BOMB.format("EvaluationInputData" if name.startswith("Index") else "OME"))
    found = inspect(path)
    assert found.verdict.state is not Wholeness.WHOLE
    assert "aaaa" not in found.to_json() + found.to_ome_xml()


def test_a_bomb_in_the_xml_of_a_lif(tmp_path):
    text = BOMB.format("LMSDataContainerHeader").encode("utf-16-le")
    path = tmp_path / "a.lif"
    path.write_bytes(struct.pack("<iiBi", 0x70, len(text) + 5, 0x2A, len(text) // 2) + text)
    found = check(path, "lif", Wholeness.DAMAGED)
    assert "entities" in found.metadata.errors[0]


CZI = b"ZISRAWFILE".ljust(16, b"\0") + struct.pack("<qqIIII", 512, 512, 1, 0, 0, 0) + bytes(36)
ND2 = b"\xda\xce\xbe\x0a" + bytes(200) + b"ND2 CHUNK MAP SIGNATURE 0000001!"
OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(16) + struct.pack("<HHHHH", 62, 3, 0xFFFE, 9, 6)
DV = struct.pack("<4i", 1 << 30, 1 << 30, 1 << 30, 6) + bytes(80) + struct.pack("<H", 0xC0A0)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.lif", struct.pack("<iiBi", 0x70, 5, 0x2A, 0x3FFFFFFF)),
        ("a.czi", CZI + struct.pack("<qqiq", 1 << 60, 1 << 60, 0, 0)),
        ("a.nd2", ND2 + struct.pack("<Q", 1 << 60)),
        ("a.oib", OLE + b"\xff" * 500),
        ("a.dv", DV + bytes(1000)),
    ],
)
def test_headers_that_claim_terabytes(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    found = inspect(path)
    assert found.verdict.state in (Wholeness.GROWING, Wholeness.DAMAGED), found.verdict
    assert found.metadata.ome is None or not found.metadata.ome.images or name == "a.dv"


def test_a_chunk_of_an_nd2_that_claims_more_than_the_map_says(tmp_path):
    """Found by the fuzzing run: the length in front of a chunk was believed, and that much memory asked for."""
    good = b"".join(op.data for op in WRITERS["nis_elements"](random.Random(1)).ops)
    for title in (b"ImageAttributesLV!", b"ND2 FILEMAP SIGNATURE NAME 0001!"):
        at = good.index(title)
        bad = good[: at - 8] + struct.pack("<Q", 1 << 62) + good[at:]
        (tmp_path / "a.nd2").write_bytes(bad)
        found = inspect(tmp_path / "a.nd2")
        assert found.verdict.state is Wholeness.DAMAGED, found.verdict
        assert not any("MemoryError" in one for one in found.metadata.errors), found.metadata.errors


def test_an_index_of_ndtiff_that_names_a_file_elsewhere(tmp_path):
    """Found by the fuzzing run: it was asked for, and was not there."""
    for op in WRITERS["ndtiff"](random.Random(1)).ops:
        with (tmp_path / op.name).open("ab") as file:
            file.write(op.data)
    index = tmp_path / "NDTiff.index"
    index.write_bytes(index.read_bytes().replace(b"run_NDTiffStack.tif", b"run_NDTiffStack/tif", 1))
    assert inspect(index).verdict.state is Wholeness.DAMAGED


def test_a_pixel_type_of_isxd_that_is_no_number(tmp_path):
    """Found by the fuzzing run: a footer is JSON, and may hold anything."""
    path = tmp_path / "m.isxd"
    path.write_bytes(b"".join(op.data for op in WRITERS["isxd"](random.Random(1)).ops))
    path.write_bytes(path.read_bytes().replace(b'"dataType": 2', b'"dataType":{}', 1))
    assert inspect(path).metadata.ome is None


def test_counts_that_claim_millions(corpus, tmp_path):
    """Found by the fuzzing run: a flipped bit in the directory of a CZI made sixteen million channels of it."""
    good = bytearray((corpus / "czi/CellDivision_T3_Z5_CH2_X240_Y170.czi").read_bytes())
    entry = 544 + 32 + 128
    at = good.index(b"C\0\0\0", entry) + 4
    good[at : at + 4] = struct.pack("<i", 0x0FFFFFFF)
    (tmp_path / "a.czi").write_bytes(good)
    (tmp_path / "b.nd").write_text(
        '"NDInfoFile", Version 1.0\n"DoWave", TRUE\n"NWavelengths", 99999999\n"DoStage", TRUE\n'
        '"NStagePositions", 99999\n"DoTimelapse", TRUE\n"NTimePoints", 99999\n"EndFile"\n'
    )
    (tmp_path / "p/TimePoint_1").mkdir(parents=True)
    (tmp_path / "p/c.HTD").write_text(
        '"HTSInfoFile", Version 1.0\n"TimePoints", 999999999\n"YWells", 999999999\n"EndFile"\n'
    )
    (tmp_path / "m").mkdir()
    frame = {"FileName": "img_0_a_0.tif"}
    text = {"Summary": {"Width": 1, "Height": 1, "PixelType": "GRAY8"}, "FrameKey-9-999999999-9": frame}
    (tmp_path / "m/metadata.txt").write_text(json.dumps(text))
    began = time.monotonic()
    for name in ("a.czi", "b.nd", "p/c.HTD", "m/metadata.txt"):
        inspect(tmp_path / name).to_ome_xml()
    assert time.monotonic() - began < 5


def test_without_its_reader_a_file_is_recognised_and_delivered(corpus):
    """In a process of its own, where `nd2` cannot be imported."""
    code = (
        "import sys; sys.modules['nd2'] = None\n"
        "from pathlib import Path\nfrom agent.formats.inspection import inspect\n"
        "found = inspect(Path(sys.argv[1]))\n"
        "print(found.format, found.verdict.state, found.planes, found.metadata.errors[0])"
    )
    command = [sys.executable, "-c", code, str(corpus / "nd2/cluster.nd2")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[3])
    assert done.stdout.startswith("nd2 whole 60 cluster.nd2: nd2 is not installed")
    assert "pip install 'scope-agent[formats]'" in done.stdout


def test_every_reader_of_ours_is_asked_without_being_imported():
    """The idle daemon pays for no reader: heavy packages are imported when metadata is read."""
    code = (
        "import sys\nfrom agent.formats.registry import FORMATS, _load\n"
        "for entry in FORMATS: _load(*entry)\n"
        "print([one for one in ('numpy', 'tifffile', 'ome_types', 'lxml.etree', 'nd2', 'h5py') if one in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[3]
    )
    assert done.stdout.strip() == "[]"
