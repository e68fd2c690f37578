"""What other files of a known format hold: sets and versions that the corpus lacks, made here."""

import ast
import random
import shutil
import struct
from datetime import UTC, datetime

import h5py
import numpy as np
import pytest
import tifffile
from ome_types import validate_xml

from agent.formats import Wholeness, binary, lsm_metadata, vsi_metadata, vsi_tags
from agent.formats.inspection import inspect
from agent.formats.parts import Parts
from agent.formats.vsi import externals
from tests.conftest import ROOT
from tests.unit.formats.compound import compound
from tests.writers import WRITERS

IMAGE = np.zeros((32, 48), np.uint16)


def seen(path):
    found = inspect(path)
    validate_xml(found.to_ome_xml())
    assert not found.metadata.errors, found.metadata.errors
    return found


def pixels(found):
    return found.metadata.ome.images[0].pixels


@pytest.fixture
def tia(tmp_path):
    """A run of two series of TIA whose .emi is written by the test."""
    runs = [WRITERS["ser"](random.Random(number)) for number in range(20)]
    run = next(run for run in runs if len({op.name for op in run.ops}) == 3)
    files = {}
    for op in run.ops:
        content = files.setdefault(op.name, bytearray())
        at = len(content) if op.at is None else op.at
        content[at : at + len(op.data)] = op.data
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)

    def write(*objects):
        xml = b"".join(b"<ObjectInfo>%s<ExperimentalConditions/></ObjectInfo>" % one for one in objects)
        xml = xml.replace(b"<ExperimentalConditions/>", b"<ExperimentalConditions></ExperimentalConditions>")
        (tmp_path / "e.emi").write_bytes(b"JK\0\2" + xml + b"\0" * 90 + b"\x03\x4d\0\x08\0\0\0\0")
        return tmp_path / "e.emi"

    return write


REFERENCE = b"<ReferenceImagePath>11.50.43 Spectrum profile</ReferenceImagePath>"


def test_the_image_in_which_a_spectrum_was_placed_has_no_series(tia):
    found = seen(tia(b"<Uuid>image</Uuid>", b"<Uuid>eels</Uuid>" + REFERENCE, b"<Uuid>eds</Uuid>"))
    assert (found.verdict.state, found.dataset.missing) == (Wholeness.WHOLE, ())
    kept = found.metadata.not_carried_over
    assert [kept[f"ObjectInfo {n}"]["Uuid"] for n in (1, 2)] == ["eels", "eds"]
    assert "ObjectInfo 3" not in kept


def test_a_series_that_is_described_and_not_there_is_awaited(tia):
    found = seen(tia(b"", b"", b""))
    assert (found.verdict.state, found.dataset.missing) == (Wholeness.GROWING, ("e_3.ser",))


def test_more_series_than_the_emi_describes_are_never_called_whole(tia):
    assert seen(tia(b"")).verdict.state is Wholeness.UNKNOWN


def smartsem(path, size, exact):
    text = "\r\n".join(["0", "0", "0", exact, "1", "DP_SEM", "SEM = SUPRA", "AP_IMAGE_PIXEL_SIZE", size, ""])
    raw = text.encode("cp1252")
    tifffile.imwrite(path, IMAGE, metadata=None, extratags=[(34118, 2, len(raw), raw, True)])
    return seen(path)


@pytest.mark.parametrize(
    ("size", "exact", "nm"),
    [
        ("Image Pixel Size = 2.615 µm", "2.614514e-006", 2614.514),
        ("Image Pixel Size = 4.990 nm", "4.990418e-09", 4.990418),
        # Another number than the one that is rounded is not believed.
        ("Image Pixel Size = 4.990 nm", "9.98e-09", 4.99),
        ("Image Pixel Size = 4.990 nm", "none", 4.99),
    ],
)
def test_smartsem_says_all_digits_of_its_pixel(tmp_path, size, exact, nm):
    found = smartsem(tmp_path / "a.tif", size, exact)
    assert found.format == "sem-tiff"
    assert pixels(found).physical_size_x == pytest.approx(nm, rel=1e-9)


@pytest.mark.parametrize(
    ("said", "expected"),
    [("2016:06:13 16:08:49", datetime(2016, 6, 13, 16, 8, 49)), ("0000:00:00 00:00:00", None), ("", None)],  # noqa: DTZ001
)
def test_a_plain_tiff_says_when_it_was_made(tmp_path, said, expected):
    tifffile.imwrite(tmp_path / "a.tif", IMAGE, metadata=None, datetime=said or None)
    found = seen(tmp_path / "a.tif")
    assert found.format == "tiff"
    assert found.metadata.ome.images[0].acquisition_date == expected


OIF_MAIN = """[Version Info]
SystemVersion="4.1"
[Axis 0 Parameters Common]
AxisCode="X"
MaxSize=48
[Axis 1 Parameters Common]
AxisCode="Y"
MaxSize=32
[Axis 2 Parameters Common]
AxisCode="T"
MaxSize=2
"""


def test_fluoview_planes_say_their_time_and_height(tmp_path):
    (tmp_path / "a.oif").write_bytes(OIF_MAIN.encode("utf-16"))
    folder = tmp_path / "a.oif.files"
    folder.mkdir()
    for t in range(2):
        tifffile.imwrite(folder / f"s_C001T00{t + 1}.tif", IMAGE, metadata=None)
        text = (
            f'[Axis 3 Parameters]\nAbsPositionUnitName="nm"\nAbsPositionValue=-99{t}00.0\n'
            f'[Axis 4 Parameters]\nAbsPositionUnitName="ms"\nAbsPositionValue={t * 1500}.0\n'
        )
        (folder / f"s_C001T00{t + 1}.pty").write_bytes(text.encode("utf-16"))
    # A text of a plane that the main text does not announce is left out.
    (folder / "s_C001T009.pty").write_bytes(text.encode("utf-16"))
    said = [(p.the_t, p.delta_t, p.position_z) for p in pixels(seen(tmp_path / "a.oif")).planes]
    assert said == [(0, 0.0, pytest.approx(-99.0)), (1, 1.5, pytest.approx(-99.1))]


def test_leica_xz_scans_say_when_and_where(corpus):
    images = seen(corpus / "lif/xz-example.lif").metadata.ome.images
    said = {image.name: [(p.the_z, p.the_c, p.the_t) for p in image.pixels.planes] for image in images}
    assert said["xzt"] == [(0, c, t) for t in range(20) for c in range(2)]
    assert said["xzy"] == [(0, 0, 0), (0, 1, 0)]
    last = images[0].pixels.planes[-1]
    assert (last.delta_t, round(last.position_x, 3), round(last.position_y, 3)) == (10.07, 34620.939, 14743.054)


def cxd(frames=3, **more):
    """A sequence of HCImage: facts as doubles, a bitmap for each field."""
    streams = {
        "File Info/First Field Date & Time": struct.pack("<d", 13_000_000_000.0),
        "Field Data/Field Count": struct.pack("<i", frames),
    }
    for field in range(1, frames + 1):
        top = f"Field Data/Field {field}"
        streams |= {
            f"{top}/Details/Time_From_Start": struct.pack("<d", 0.25 * (field - 1)),
            f"{top}/Details/Image_Depth": struct.pack("<d", 16.0),
            f"{top}/Details/Image_Height": struct.pack("<d", 32.0),
            f"{top}/Details/Image_Width": struct.pack("<d", 48.0),
            f"{top}/Details/Position_Z": struct.pack("<d", 7.5),
            f"{top}/i_Image1/Bitmap 1": bytes(48 * 32 * 2) + bytes(2048),
        }
    return compound(streams | more)


def test_a_cxd_says_its_sizes_times_and_date(tmp_path):
    path = tmp_path / "a.cxd"
    path.write_bytes(cxd(**{"File Info/Comments": b"note\r\nfactor=0.65;um\r\n"}))
    found = seen(path)
    assert (found.format, found.verdict.state, found.planes) == ("hcimage-cxd", Wholeness.WHOLE, 3)
    said = pixels(found)
    assert (said.size_x, said.size_y, said.size_t, said.type.value, said.significant_bits) == (48, 32, 3, "uint16", 16)
    assert (said.physical_size_x, said.physical_size_y) == (0.65, 0.65)
    assert [(p.the_t, p.delta_t, p.position_z) for p in said.planes] == [(0, 0.0, 7.5), (1, 0.25, 7.5), (2, 0.5, 7.5)]
    assert found.metadata.ome.images[0].acquisition_date == datetime(2012, 12, 14, 23, 6, 40)  # noqa: DTZ001
    good = path.read_bytes()
    for size in range(0, len(good), 512):
        path.write_bytes(good[:size])
        assert inspect(path).verdict.state in (Wholeness.GROWING, Wholeness.DAMAGED, Wholeness.UNKNOWN), size


def test_a_cxd_without_sizes_is_delivered_with_what_it_says(tmp_path):
    path = tmp_path / "a.cxd"
    path.write_bytes(compound({"Field Data/Field 1/i_Image1/Bitmap 1": bytes(5000)}))
    found = inspect(path)
    assert (found.verdict.state, found.planes) == (Wholeness.WHOLE, 1)
    assert found.metadata.errors == ("a.cxd: ValueError: the size of the images is not said",)
    assert "cxd" in found.metadata.not_carried_over


HARMONY_6 = """<?xml version="1.0"?><EvaluationInputData xmlns="http://www.perkinelmer.com/PEHH/HarmonyV6">
<User>u</User><InstrumentType>Phenix</InstrumentType><Plates><Plate><PlateID>p1</PlateID><PlateRows>16</PlateRows>
<PlateColumns>24</PlateColumns><Well id="0204"/></Plate></Plates>
<Wells><Well><id>0204</id><Row>2</Row><Col>4</Col><Image id="0204K1F1P1R1"/></Well></Wells>
<Maps><Map><Entry ChannelID="1"><FlatfieldProfile>{Background: 1}</FlatfieldProfile></Entry></Map>
<Map><Entry ChannelID="1"><ChannelName>DAPI</ChannelName><ImageResolutionX Unit="m">3E-07</ImageResolutionX>
<ImageResolutionY Unit="m">3E-07</ImageResolutionY><ImageSizeX>48</ImageSizeX><ImageSizeY>32</ImageSizeY>
<BinningX>2</BinningX><BinningY>2</BinningY><CameraType>AndorZylaCam</CameraType>
<AcquisitionType>NonConfocal</AcquisitionType><IlluminationType>Epifluorescence</IlluminationType>
<MainExcitationWavelength Unit="nm">405</MainExcitationWavelength>
<MainEmissionWavelength Unit="nm">450</MainEmissionWavelength><ExposureTime Unit="s">0.05</ExposureTime>
<ObjectiveMagnification Unit="">20</ObjectiveMagnification><ObjectiveNA Unit="">0.8</ObjectiveNA></Entry></Map></Maps>
<Images><Image Version="1"><id>0204K1F1P1R1</id><State>Ok</State><URL>r02c04f01p01-ch1sk1fk1fl1.tiff</URL><Row>2</Row>
<Col>4</Col><FieldID>1</FieldID><PlaneID>1</PlaneID><TimepointID>0</TimepointID><ChannelID>1</ChannelID>
<PositionX Unit="m">-0.0006</PositionX><PositionY>0.0006</PositionY><AbsTime>2022-12-19T10:19:26.58+01:00</AbsTime>
</Image></Images></EvaluationInputData>"""


def test_harmony_6_says_once_what_all_images_of_a_channel_share(tmp_path):
    folder = tmp_path / "p1__2022/Images"
    folder.mkdir(parents=True)
    (folder / "Index.idx.xml").write_text(HARMONY_6)
    tifffile.imwrite(folder / "r02c04f01p01-ch1sk1fk1fl1.tiff", IMAGE, metadata=None)
    layout = folder.parent / "Assaylayout/layout.xml"
    layout.parent.mkdir()
    layout.write_text("<AssayLayout/>")
    found = seen(folder / "Index.idx.xml")
    assert (found.format, found.verdict.state) == ("operetta-phenix", Wholeness.WHOLE)
    assert (found.dataset.root, len(found.dataset.files)) == (folder.parent, 3)
    ome = found.metadata.ome
    said, (channel,) = ome.images[0].pixels, ome.images[0].pixels.channels
    assert (said.size_x, said.size_y, said.physical_size_x) == (48, 32, pytest.approx(0.3))
    assert (channel.name, channel.excitation_wavelength, channel.emission_wavelength) == ("DAPI", 405, 450)
    assert (channel.acquisition_mode.value, channel.detector_settings.binning.value) == ("WideField", "2x2")
    plane = said.planes[0]
    # A length without a unit is not guessed at.
    assert (plane.exposure_time, plane.position_x, plane.position_y) == (0.05, pytest.approx(-600), None)
    assert (ome.instruments[0].detectors[0].model, ome.instruments[0].objectives[0].lens_na) == ("AndorZylaCam", 0.8)
    assert (ome.plates[0].rows, ome.plates[0].columns, ome.plates[0].wells[0].row) == (16, 24, 1)
    assert found.metadata.not_carried_over["operetta"]["channels"][0]["FlatfieldProfile"] == "{Background: 1}"
    assert found.metadata.places[0].file == "Images/r02c04f01p01-ch1sk1fk1fl1.tiff"


LSM = {
    "DimensionX": 48, "DimensionY": 32, "DimensionZ": 1, "DimensionChannels": 2, "DimensionTime": 2, "DataType": 2,
    "VoxelSizeX": 1e-7, "VoxelSizeY": 1e-7, "VoxelSizeZ": 1e-6, "TimeStamps": [10.0, 12.5],
    "ChannelColors": {"ColorNames": ["Ch1-T1", "Ch2-T2"]},
    "ScanInformation": {
        "Objective": "Plan-Apochromat 63x/1.40 Oil DIC M27", "Sample0time": 40000.5, "User": "somebody",
        "Tracks": [
            {
                "Acquire": 1,
                "DataChannels": [{"Acquire": 1, "Name": "Ch1", "BitsPerSample": 12}, {"Acquire": 0, "Name": "ChD"}],
                "DetectionChannels": [
                    {"Acquire": 1, "DetchannelName": "PMT 1", "PinholeDiameter": 1.2, "DetectorGainFirst": 700.0,
                     "FilterName": "BP 505-530", "DyeName": "EGFP"},
                    {"Acquire": 0, "DetchannelName": "ChD"},
                ],
                "IlluminationChannels": [{"Aquire": 1, "Wavelength": 488.0}, {"Aquire": 0, "Wavelength": 561.0}],
            },
            {"Acquire": 0, "DataChannels": [{"Acquire": 1, "Name": "bleach"}]},
            {
                "Acquire": 1,
                "DataChannels": [{"Acquire": 1, "Name": "Ch2", "BitsPerSample": 12}],
                "IlluminationChannels": [{"Aquire": 1, "Wavelength": 561.0}, {"Aquire": 1, "Wavelength": 633.0}],
            },
        ],
    },
}  # fmt: skip


def test_the_tracks_of_an_lsm_are_its_channels():
    ome = lsm_metadata.ome("a", LSM, "uint16")
    validate_xml(ome.to_xml())
    image = ome.images[0]
    first, second = image.pixels.channels
    assert (first.name, first.fluor, first.excitation_wavelength, first.pinhole_size) == ("Ch1-T1", "EGFP", 488, 1.2)
    assert first.detector_settings.gain == 700
    # Two lasers shone at once: neither is said to be the channel's.
    assert (second.name, second.excitation_wavelength) == ("Ch2-T2", None)
    assert image.pixels.significant_bits == 12
    assert image.acquisition_date == datetime(2009, 7, 6, 12)  # noqa: DTZ001
    assert [(p.the_t, p.the_c, p.delta_t) for p in image.pixels.planes] == [
        (0, 0, 0),
        (0, 1, 0),
        (1, 0, 2.5),
        (1, 1, 2.5),
    ]
    lens = ome.instruments[0].objectives[0]
    assert (lens.nominal_magnification, lens.lens_na, lens.immersion.value) == (63, 1.4, "Oil")
    assert sorted(one.wavelength for one in ome.instruments[0].lasers) == [488, 561, 633]


def test_an_lsm_whose_tracks_do_not_fit_keeps_its_names_only():
    other = LSM | {"DimensionChannels": 3, "ChannelColors": {"ColorNames": ["a", "b", "c"]}}
    ome = lsm_metadata.ome("a", other | {"ScanInformation": LSM["ScanInformation"] | {"Sample0time": 3.0}}, None)
    assert [one.name for one in ome.images[0].pixels.channels] == ["a", "b", "c"]
    assert [one.excitation_wavelength for one in ome.images[0].pixels.channels] == [None] * 3
    assert ome.images[0].acquisition_date is None


OF_2003 = (
    '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/XMLschemas/OME/FC/ome.xsd"><Image '
    'ID="openmicroscopy.org:Image:1" Name="old" DefaultPixels="openmicroscopy.org:Pixels:1-1" PixelSizeX="0.5" '
    'PixelSizeY="0.5"><CreationDate>2004-01-02T03:04:05</CreationDate><Pixels ID="openmicroscopy.org:Pixels:1-1" '
    'DimensionOrder="XYZCT" {pixel_type}="Uint16" BigEndian="false" SizeX="48" SizeY="32" SizeZ="1" SizeC="1" '
    'SizeT="1"><TiffData/></Pixels></Image></OME>'
)


def test_an_ome_tiff_of_2003(tmp_path):
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, IMAGE, description=OF_2003.format(pixel_type="PixelType"), metadata=None)
    found = seen(path)
    said = pixels(found)
    assert (found.verdict.state, said.size_x, said.type.value, said.physical_size_x) == (
        Wholeness.WHOLE,
        48,
        "uint16",
        0.5,
    )
    assert found.metadata.ome.images[0].acquisition_date == datetime(2004, 1, 2, 3, 4, 5)  # noqa: DTZ001
    tifffile.imwrite(path, IMAGE, description=OF_2003.format(pixel_type="Nonsense"), metadata=None)
    (error,) = inspect(path).metadata.errors
    assert "does not follow its schema" in error


def test_vsi_channels_say_their_light_camera_and_exposure(corpus):
    path = next((corpus / "vsi/Image_Mouse13_PB_H7").rglob("*.vsi"))
    with binary.opened(path) as file:
        images = externals(vsi_tags.read(file))
    parts = Parts()
    said = [vsi_metadata._channels(image, 1, parts) for image in images]
    assert [exposures for _, exposures in said] == [[0.00175], [0.0033], [0.0033]]
    detectors = parts.ome([]).instruments[0].detectors
    assert [(one.model, one.manufacturer) for one in detectors] == [("VC50", "Olympus Soft Imaging Solutions")]
    planes = vsi_metadata._planes({"z": 2, "c": 1}, [0.0033])
    assert [(one["the_z"], one["exposure_time"]) for one in planes] == [(0, 0.0033), (1, 0.0033)]
    assert vsi_metadata._planes({"z": 2}, [None]) == []
    with binary.opened(corpus / "vsi/anonymised-single-plane/anon.vsi") as file:
        (image,) = externals(vsi_tags.read(file))
    channels, exposures = vsi_metadata._channels(image, 4, parts)
    assert [one["emission_wavelength"] for one in channels] == [460, 525, 595, 670]
    assert exposures == [None] * 4  # the anonymised file says 0
    assert vsi_metadata._channels(image, 3, parts) == ([], [])


def deltavision(kind, times, wide, seconds):
    head = bytearray(1024)
    struct.pack_into("<4i", head, 0, 8, 6, 4, 6)
    struct.pack_into("<3f", head, 40, 0.1, 0.1, 0.2)
    struct.pack_into("<H", head, 96, 0xC0A0)
    struct.pack_into("<h", head, 160, kind)
    struct.pack_into("<Hh", head, 180, times, 0)
    struct.pack_into("<2h", head, 196, 1, 525)
    head[224:236] = b"first title\0"
    struct.pack_into("<di", head, 844, seconds, wide)
    return bytes(head) + bytes(8 * 6 * 2 * 4)


@pytest.mark.parametrize(
    ("kind", "times", "wide", "seconds", "sizes", "date"),
    [
        (100, 2, 2, 1.5e9, (2, 2), datetime(2017, 7, 14, 2, 40, tzinfo=UTC)),
        (100, 0xFFFF, 4, 0.0, (1, 4), None),
        (100, 0, 4, 1e300, (1, 4), None),
        # An older header has titles at that place.
        (0, 2, 4, 1.5e9, (2, 2), None),
        (0, 0, 4, 1.5e9, (4, 1), None),
    ],
)
def test_the_newer_header_of_deltavision(tmp_path, kind, times, wide, seconds, sizes, date):
    path = tmp_path / "a.dv"
    path.write_bytes(deltavision(kind, times, wide, seconds))
    found = seen(path)
    assert found.verdict.state is Wholeness.WHOLE
    assert (pixels(found).size_z, pixels(found).size_t) == sizes
    assert found.metadata.ome.images[0].acquisition_date == date


GUID = "1E94C24B-D45E-4450-A991-9257C714278F"


def zplate(corpus, folder):
    """Real images of MetaXpress laid out as a plate with z steps beside projections, and no time points."""
    source = min((corpus / "imagexpress/1well-3C-2S-Zmix-T").rglob("*.tif"))
    root = folder / "mix/2023-02-21/1334"
    names = [f"mix_E07_s1_w1{GUID}.tif", f"mix_E07_s1_w2{GUID}.tif", f"mix_E07_s1_w1_thumb{GUID}.tif"]
    names += [f"ZStep_{z}/mix_E07_s1_w1{GUID}.tif" for z in (1, 2, 3)]
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, root / name)
    return root, names


def test_an_imagexpress_plate_with_z_steps_and_without_time_points(corpus, tmp_path):
    root, names = zplate(corpus, tmp_path)
    answers = [seen(root / name) for name in (names[0], names[2], names[-1])]
    assert {(one.format, one.dataset.root, one.dataset.files) for one in answers} == {
        ("imagexpress", root, tuple(sorted(root / name for name in names)))
    }
    assert answers[0].verdict.state is Wholeness.UNKNOWN
    assert answers[0].planes == 5
    images = answers[0].metadata.ome.images
    flat, stack = sorted(images, key=lambda image: image.pixels.size_z)
    assert (flat.pixels.size_z, flat.pixels.size_c, "projections" in flat.name) == (1, 2, True)
    assert (stack.pixels.size_z, stack.pixels.size_c) == (3, 1)
    (plate,) = answers[0].metadata.ome.plates
    assert [(one.row, one.column, len(one.well_samples)) for one in plate.wells] == [(4, 6, 2)]


def test_a_lone_metaseries_image_is_no_plate(corpus, tmp_path):
    source = min((corpus / "imagexpress/1well-3C-2S-Zmix-T").rglob("*.tif"))
    shutil.copyfile(source, tmp_path / "cells_B02.tif")
    found = seen(tmp_path / "cells_B02.tif")
    assert (found.format, found.dataset.files) == ("metamorph-tif", (tmp_path / "cells_B02.tif",))


def test_no_reader_locks_a_file(tmp_path):
    """HDF5 locks what it reads unless it is told not to; a writer would fail to open its own file."""
    path = tmp_path / "a.ims"
    with h5py.File(path, "w", libver="latest") as file:
        for name, said in {"Image": {"X": "48", "Y": "32", "Z": "1"}, "Channel 0": {"Name": "dye"}}.items():
            for key, value in said.items():
                file.require_group(f"DataSetInfo/{name}").attrs[key] = np.array(list(value), "S1")
        file["DataSet/ResolutionLevel 0/TimePoint 0/Channel 0/Data"] = np.zeros((1, 32, 48), np.uint16)
    assert pixels(seen(path)).size_x == 48
    tree = ast.parse(
        "".join(one.read_text() for one in (ROOT / "agent/formats").glob("*.py")).replace(
            "from __future__ import annotations", ""
        )
    )
    opened = [one for one in ast.walk(tree) if isinstance(one, ast.Call) and ast.unparse(one.func) == "h5py.File"]
    assert opened
    for one in opened:
        assert {key.arg: ast.unparse(key.value) for key in one.keywords}.get("locking") == "False", ast.unparse(one)


@pytest.mark.parametrize("name", ["a.xml", "A.XML", "a.ome.xml", "a.ome"])
def test_ome_xml_under_any_name(corpus, tmp_path, name):
    shutil.copyfile(corpus / "ome-xml/spec-instrument.ome.xml", tmp_path / name)
    found = seen(tmp_path / name)
    assert (found.format, found.verdict.state) == ("ome-xml", Wholeness.WHOLE)
    assert found.metadata.ome.instruments
    text = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(text[: len(text) // 2])
    assert inspect(tmp_path / name).verdict.state is Wholeness.GROWING
    (tmp_path / "other.xml").write_text("<Other>OME</Other>")
    assert inspect(tmp_path / "other.xml").format == "unknown"
