"""Truncated, flipped, empty, misnamed and hostile files: a verdict, never an exception, never a hang."""

import json
import random
import struct
import time
import tracemalloc

import numpy as np
import pytest
import tifffile
from ome_types import validate_xml

from agent.formats import Wholeness, identify
from agent.formats.inspection import inspect
from agent.formats.tiff_layout import layout

NOT_WHOLE = (Wholeness.GROWING, Wholeness.DAMAGED, Wholeness.UNKNOWN)


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """An OME-TIFF of 6 planes with strips, an ImageJ stack of 5 planes and a big-endian BigTIFF, as bytes."""
    folder = tmp_path_factory.mktemp("good")
    data = np.random.default_rng(1).integers(0, 65535, (2, 3, 40, 50), np.uint16)
    tifffile.imwrite(folder / "a.ome.tif", data, metadata={"axes": "CZYX", "Name": "a"}, rowsperstrip=8)
    tifffile.imwrite(folder / "b.tif", data[0], imagej=True, metadata={"axes": "ZYX", "spacing": 2, "unit": "um"})
    with tifffile.TiffWriter(folder / "c.tif", bigtiff=True, byteorder=">") as writer:
        for plane in data[0]:
            writer.write(plane, contiguous=False, metadata=None)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def verdict(path):
    began = time.monotonic()
    found = inspect(path)
    found.to_ome_xml()
    found.to_json()
    assert time.monotonic() - began < 10
    return found


@pytest.mark.parametrize("name", ["a.ome.tif", "b.tif", "c.tif"])
def test_the_good_ones_are_whole(good, tmp_path, name):
    (tmp_path / name).write_bytes(good[name])
    found = verdict(tmp_path / name)
    assert found.exit_code == 0, found.verdict
    assert found.planes == {"a.ome.tif": 6, "b.tif": 3, "c.tif": 3}[name]


@pytest.mark.parametrize("name", ["a.ome.tif", "b.tif", "c.tif"])
def test_cut_off_anywhere_is_never_whole(good, tmp_path, name):
    path = tmp_path / name
    data = good[name]
    end = layout_end(tmp_path, name, data)
    for size in [*range(0, end, max(1, end // 150)), end - 1]:
        path.write_bytes(data[:size])
        found = identify(path)
        dataset = found.dataset(path)
        answer = found.is_whole(dataset)
        assert answer.state in NOT_WHOLE, (size, answer)
        # A file of which only the data is cut keeps its format, and still grows.
        if found.name != "unknown" and size > 16:
            assert answer.state is Wholeness.GROWING, (size, answer)


def layout_end(tmp_path, name, data):
    (tmp_path / f"whole_{name}").write_bytes(data)
    return layout(tmp_path / f"whole_{name}").end


@pytest.mark.parametrize("name", ["a.ome.tif", "b.tif", "c.tif"])
def test_flipped_bytes_never_raise(good, tmp_path, name):
    dice = random.Random(7)
    path = tmp_path / name
    for _ in range(120):
        data = bytearray(good[name])
        for _ in range(dice.randint(1, 8)):
            # Headers and the chain are where damage hurts.
            place = dice.randrange(len(data)) if dice.random() < 0.3 else dice.randrange(600)
            data[place] = dice.randrange(256)
        path.write_bytes(data)
        verdict(path)


@pytest.mark.parametrize("name", ["a.tif", "a.ome.tif", "a.ome.tiff", "a.companion.ome", "a.czi", "a"])
@pytest.mark.parametrize("content", [b"", b"II", b"\0" * 4096, b"plain text\n" * 100, b"II*\0\0\0\0\0", b"PK\3\4junk"])
def test_empty_and_misnamed_files(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    found = verdict(path)
    assert found.exit_code in (3, 4, 5)
    validate_xml(found.to_ome_xml())


def ifd(offset_of_next, tags, big=False):
    entries = b"".join(struct.pack("<HHQQ" if big else "<HHII", *tag) for tag in tags)
    head = struct.pack("<Q" if big else "<H", len(tags))
    return head + entries + struct.pack("<Q" if big else "<I", offset_of_next)


@pytest.mark.parametrize(
    ("what", "content", "state"),
    [
        ("circle", b"II*\0\x08\0\0\0" + ifd(8, [(256, 3, 1, 4)]), Wholeness.DAMAGED),
        ("terabytes", b"II*\0\x08\0\0\0" + ifd(0, [(273, 4, 0xFFFFFFF0, 8)]), Wholeness.GROWING),
        ("65,535 entries", b"II*\0\x08\0\0\0\xff\xff" + bytes(100), Wholeness.DAMAGED),
        ("no entries", b"II*\0\x08\0\0\0" + bytes(100), Wholeness.DAMAGED),
        ("chain behind the end", b"II*\0\xff\xff\xff\x7f", Wholeness.GROWING),
        (
            "huge BigTIFF offsets",
            b"II+\0\x08\0\0\0\x10\0\0\0\0\0\0\0" + ifd(0, [(273, 16, 1 << 62, 1 << 62)], big=True),
            Wholeness.GROWING,
        ),
    ],
)
def test_header_claims_cost_nothing(tmp_path, what, content, state):
    path = tmp_path / "claims.tif"
    path.write_bytes(content)
    assert verdict(path).verdict.state is state, what


@pytest.mark.parametrize(
    ("claim", "says"),
    [
        ('"NTimePoints", 3610\n"WaveName1", "' + "A" * 9000 + '"', "longer than a file's name"),
        ('"NTimePoints", 99999\n"DoStage", TRUE\n"NStagePositions", 99\n"WaveName1", "BF"', "announces 9899901 files"),
    ],
)
def test_an_index_that_announces_what_cannot_be_is_damaged_and_small(tmp_path, claim, says):
    path = tmp_path / "a.nd"
    path.write_text(
        f'"NDInfoFile", Version 1.0\n"DoTimelapse", TRUE\n{claim}\n"DoWave", TRUE\n"NWavelengths", 1\n'
        '"WaveInFileName", TRUE\n"EndFile"\n'
    )
    tracemalloc.start()
    try:
        found = verdict(path)
        assert tracemalloc.get_traced_memory()[1] < 20e6
    finally:
        tracemalloc.stop()
    assert found.verdict.state is Wholeness.DAMAGED
    assert says in found.verdict.reason


_OME = '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">'
HOSTILE = {
    "laughs": '<!DOCTYPE o [<!ENTITY a "aaaaaaaaaa">'
    + "".join(f'<!ENTITY {chr(98 + i)} "{f"&{chr(97 + i)};" * 10}">' for i in range(9))
    + f"]>{_OME}<Image ID='Image:0' Name='&j;'/></OME>",
    "external": f'<!DOCTYPE o [<!ENTITY x SYSTEM "file:///etc/passwd">]>{_OME}<Image ID="Image:0" Name="&x;"/></OME>',
    "deep": _OME + "<A>" * 100_000,
    "deep and closed": _OME + "<A>" * 100_000 + "</A>" * 100_000 + "</OME>",
    "cut": _OME + '<Image ID="Image:0"><Pixels',
    "other": "<svg>OME</svg>",
    "escape": _OME + '<Image ID="Image:0"><Pixels ID="Pixels:0"><TiffData><UUID FileName="../../../etc/passwd">'
    "urn:uuid:00000000-0000-0000-0000-000000000000</UUID></TiffData></Pixels></Image></OME>",
    "absolute": _OME + '<Image ID="Image:0"><Pixels ID="Pixels:0"><TiffData><UUID FileName="/etc/passwd">'
    "urn:uuid:00000000-0000-0000-0000-000000000000</UUID></TiffData></Pixels></Image></OME>",
    "windows": _OME + '<BinaryOnly MetadataFile="..\\..\\x" UUID="urn:uuid:0"/></OME>',
}


@pytest.mark.parametrize("how", HOSTILE)
@pytest.mark.parametrize("name", ["h.ome.tif", "h.companion.ome"])
def test_hostile_xml_is_refused(tmp_path, how, name):
    path = tmp_path / name
    if name.endswith(".ome"):
        path.write_text(HOSTILE[how])
    else:
        tifffile.imwrite(path, np.zeros((4, 4), np.uint8), description=HOSTILE[how], metadata=None)
    found = verdict(path)
    if found.format == "ome-tiff":
        assert found.exit_code in (3, 5), found.verdict
    assert "root:" not in found.to_json() + found.to_ome_xml()
    assert all(file.parent == tmp_path for file in found.dataset.files)
    validate_xml(found.to_ome_xml())


def test_a_hundred_thousand_planes_cost_little(tmp_path):
    """ome-types alone needs 28 s and 900 MB for them."""
    planes = "".join(
        f'<Plane TheZ="0" TheC="0" TheT="{t}" DeltaT="{t}.5" ExposureTime="0.01" PositionX="1" PositionY="2"/>'
        for t in range(100_000)
    )
    text = (
        f'{_OME}<Image ID="Image:0" Name="long"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint8" '
        'SizeX="4" SizeY="4" SizeZ="1" SizeC="1" SizeT="100000"><Channel ID="Channel:0:0" SamplesPerPixel="1"/>'
        f"<TiffData/>{planes}</Pixels></Image></OME>"
    )
    path = tmp_path / "long.companion.ome"
    path.write_text(text)
    began = time.monotonic()
    found = inspect(path)
    assert time.monotonic() - began < 8
    assert found.metadata.ome.images[0].pixels.size_t == 100_000
    assert found.metadata.ome.images[0].pixels.planes == []
    assert "100001 plane entries" in found.metadata.notes[0]


def test_a_file_that_vanishes_is_an_oserror_and_nothing_else(tmp_path, good):
    path = tmp_path / "a.ome.tif"
    assert identify(path).name == "unknown"
    path.write_bytes(good["a.ome.tif"])
    found = identify(path)
    dataset = found.dataset(path)
    path.unlink()
    for question in (found.is_whole, found.metadata, found.planes_on_disk):
        with pytest.raises(OSError, match="No such file"):
            question(dataset)
    with pytest.raises(FileNotFoundError):
        inspect(path)


HUGE_ARRAY = (
    b'{"node_type": "array", "shape": [9999999999, 9999999999], "data_type": "uint8",'
    b'"codecs": [{"name": "bytes"}], "chunk_grid": {"configuration": {"chunk_shape": [1, 1]}}}'
)


def test_zarr_folders_with_nonsense(tmp_path):
    top = tmp_path / "a.zarr"
    top.mkdir()
    assert verdict(top).exit_code == 3
    nonsense = [
        b"", b"{", b"[]", b"null", b'{"node_type": "array"}', b"[" * 100_000,
        b'{"node_type": "array", "shape": [1e99], "chunk_grid": {"configuration": {"chunk_shape": [0]}}}',
        HUGE_ARRAY,
        b'{"attributes": {"ome": {"multiscales": [{"datasets": [{"path": "../../etc"}, {"path": 3}], "axes": 7}]}}}',
        b'{"attributes": {"ome": {"omero": [], "series": ["..", 5], "multiscales": 5}}}',
    ]  # fmt: skip
    for text in nonsense:
        (top / "zarr.json").write_bytes(text)
        assert verdict(top).exit_code in (3, 5), text


LONG_NAME = "z" * 300 + ".tif"
"""No file system has names of more than 255 bytes: asking for one is an error, not a no."""


def documents(folder):
    """Files of each kind that names others."""
    ome = (
        f'{_OME}<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint8" SizeX="4" SizeY="4" '
        f'SizeZ="1" SizeC="1" SizeT="1"><Channel ID="Channel:0:0"/><TiffData><UUID FileName="{LONG_NAME}">'
        "urn:uuid:00000000-0000-0000-0000-000000000000</UUID></TiffData></Pixels></Image></OME>"
    )
    yield folder / "a.companion.ome", ome
    yield folder / "deep.companion.ome", ome.replace(LONG_NAME, "deep/" * 2000 + "a.tif")
    yield folder / "b.ome.xml", f'{_OME}<BinaryOnly MetadataFile="{LONG_NAME}" UUID="urn:uuid:0"/></OME>'
    yield (
        folder / "Index.idx.xml",
        f"<EvaluationInputData><Images><Image><URL>{LONG_NAME}</URL></Image></Images></EvaluationInputData>",
    )
    yield folder / "run.xml", f'<PVScan><Sequence><Frame><File filename="{LONG_NAME}"/></Frame></Sequence></PVScan>'
    yield folder / "mm/metadata.txt", json.dumps({"Summary": {}, "FrameKey-0-0-0": {"FileName": LONG_NAME}})
    yield folder / "mm2/metadata.txt", json.dumps({"Summary": {}, f"Coords-{LONG_NAME}": {"time": 0}})
    yield (
        folder / "cv/MeasurementData.mlf",
        f'<MeasurementData><MeasurementRecord Type="IMG">{LONG_NAME}</MeasurementRecord></MeasurementData>',
    )
    matrix = (
        '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2008-09"><Image><Pixels><TiffData>'
        f'<UUID FileName="{LONG_NAME}"/></TiffData></Pixels></Image></OME>'
    )
    yield folder / "field--X00--Y00/metadata/image--L00--S00--U00--V00--J20--E00--O00--X00--Y00--T00.ome.xml", matrix
    yield folder / "n.mdoc", f"ImageFile = {LONG_NAME}\n[ZValue = 0]\n"
    waves = f'"DoWave", TRUE\n"NWavelengths", 1\n"WaveInFileName", TRUE\n"WaveName1", "{LONG_NAME}"\n'
    yield folder / "w.nd", f'"NDInfoFile", Version 1.0\n{waves}"EndFile"\n'


def test_names_that_no_file_can_have(tmp_path):
    for path, text in documents(tmp_path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        found = verdict(path)
        assert all(file.is_file() and tmp_path in file.parents for file in found.dataset.files), path
