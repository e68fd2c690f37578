"""OME-XML with the faults that writers make, and plain TIFF files that are no plain series."""

import json
import time
import uuid

import numpy as np
import pytest
import tifffile
from ome_types import validate_xml

from agent.formats import Wholeness
from agent.formats.inspection import inspect

SPACE = "http://www.openmicroscopy.org/Schemas/OME/2016-06"


def image(number=0, sizes=(1, 1, 1), inside="<TiffData/>", before="", pixels='Type="uint16"', channel="", planes=""):
    z, c, t = sizes
    channels = "".join(f'<Channel ID="Channel:{number}:{one}" SamplesPerPixel="1" {channel}/>' for one in range(c))
    return (
        f'<Image ID="Image:{number}" Name="i{number}">{before}<Pixels ID="Pixels:{number}" DimensionOrder="XYCZT" '
        f'SizeX="16" SizeY="12" SizeZ="{z}" SizeC="{c}" SizeT="{t}" {pixels}>{channels}{inside}{planes}'
        "</Pixels></Image>"
    )


def document(content, own=""):
    head = f'<OME xmlns="{SPACE}" UUID="urn:uuid:{own or uuid.uuid4()}">'
    return f'<?xml version="1.0" encoding="UTF-8"?>{head}{content}</OME>'


def written(path, text, images=1):
    pages = np.zeros((images, 12, 16), np.uint16)
    tifffile.imwrite(path, pages, description=text.encode(), metadata=None, photometric="minisblack")
    return path


def seen(path):
    found = inspect(path)
    text = found.to_ome_xml()
    validate_xml(text)
    named = 0 if found.metadata.ome is None else len(found.metadata.ome.images)
    assert text.count("<Image ") == named, "the XML does not say what the table says"
    json.loads(found.to_json(), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    return found


@pytest.mark.parametrize(
    ("content", "left_out"),
    [
        (image(pixels='Type="uint16" PhysicalSizeX="0" PhysicalSizeY="0.5"'), "PhysicalSizeX '0'"),
        (image(before="<AcquisitionDate>06.05.2024 07:08</AcquisitionDate>"), "'06.05.2024 07:08'"),
        (image(before="<AcquisitionDate>20240506070809-05-06T07:08:09</AcquisitionDate>"), "'20240506070809-05-06T"),
        (image(before="<AcquisitionDate>-0044-03-15T12:00:00</AcquisitionDate>"), "'-0044-03-15T12:00:00'"),
        (image(channel='EmissionWavelength="0" Name="GFP"'), "EmissionWavelength '0'"),
        ("<Foo bar='1'/>" + image(), "Foo"),
        (image(before="<x:Foo xmlns:x='urn:x'/>"), "Foo"),
        (image(before='<InstrumentRef ID="Instrument:7"/><Foo/>'), "Foo"),
    ],
    ids=["size", "date", "year", "before Christ", "wavelength", "element", "prefix", "reference"],
)
def test_one_wrong_value_does_not_cost_all_others(tmp_path, content, left_out):
    found = seen(written(tmp_path / "a.ome.tif", document(content)))
    assert not found.metadata.errors
    assert any(left_out in note for note in found.metadata.notes)
    assert found.metadata.ome.images[0].name == "i0"
    assert found.metadata.ome.images[0].pixels.size_x == 16


def test_the_other_values_of_a_faulty_element_stay(tmp_path):
    content = image(
        pixels='Type="uint16" PhysicalSizeX="0" PhysicalSizeY="0.5"', channel='EmissionWavelength="0" Name="GFP"'
    )
    pixels = seen(written(tmp_path / "a.ome.tif", document(content))).metadata.ome.images[0].pixels
    assert (pixels.physical_size_x, pixels.physical_size_y) == (None, 0.5)
    assert (pixels.channels[0].name, pixels.channels[0].emission_wavelength) == ("GFP", None)


def test_an_image_that_cannot_be_understood_is_an_error(tmp_path):
    found = seen(written(tmp_path / "a.ome.tif", document(image(pixels='Type="uint12"'))))
    assert found.metadata.ome is None
    assert "uint12" in found.metadata.errors[0]


def test_two_things_of_one_name_both_stay(tmp_path):
    content = image(inside='<TiffData IFD="0"/>') + image(inside='<TiffData IFD="1"/>')
    assert len(seen(written(tmp_path / "a.ome.tif", document(content), 2)).metadata.ome.images) == 2


def test_a_value_that_is_no_number_is_json_all_the_same(tmp_path):
    plane = '<Plane TheZ="0" TheC="0" TheT="0" ExposureTime="NaN"/>'
    assert seen(written(tmp_path / "a.ome.tif", document(image(planes=plane)))).metadata.ome


@pytest.mark.parametrize("version", ["2003-FC", "1999-01", "../../x"])
def test_a_version_that_nobody_knows_does_not_hang(tmp_path, version):
    """The style sheet of 2003 leaves documents of other names as they are."""
    path = written(tmp_path / "a.ome.tif", document(image()).replace("2016-06", version))
    began = time.monotonic()
    found = seen(path)
    assert time.monotonic() - began < 10
    assert "version" in found.metadata.errors[0]


@pytest.mark.parametrize("version", ["2010-06", "2013-06", "2013-06s", "2015-01"])
def test_older_versions_and_a_known_misspelling(tmp_path, version):
    text = document(image(pixels='Type="uint16" PhysicalSizeX="0.25"')).replace("2016-06", version)
    for name, said in (("a.ome.tif", text), ("b.ome.tif", text.replace("Schemas/OME", "Schemas/ome"))):
        found = seen(written(tmp_path / name, said))
        assert found.metadata.ome.images[0].pixels.physical_size_x == 0.25


@pytest.mark.parametrize("number", ['IFD="0"', 'IFD="x"', 'FirstT="-1"'])
def test_more_planes_than_the_model_takes_are_still_an_image(tmp_path, number):
    planes = "".join(f'<Plane TheZ="0" TheC="0" TheT="{t}" DeltaT="{t}"/>' for t in range(2500))
    path = written(
        tmp_path / "a.ome.tif", document(image(sizes=(1, 1, 2500), inside=f"<TiffData {number}/>", planes=planes))
    )
    assert seen(path).metadata.ome.images[0].pixels.size_t == 2500


def test_a_writer_that_places_its_planes_with_no_number_is_awaited(tmp_path):
    path = written(tmp_path / "a.ome.tif", document(image(sizes=(5, 2, 1))), images=7)
    assert seen(path).verdict.state is Wholeness.GROWING
    assert seen(written(path, document(image(sizes=(5, 2, 1))), images=10)).verdict.state is Wholeness.WHOLE


def test_text_that_only_mentions_ome_is_no_ome_tiff(tmp_path):
    found = seen(written(tmp_path / "a.tif", "sample:OMEGA <OMEN>"))
    assert (found.format, found.verdict.state) == ("tiff", Wholeness.WHOLE)


def test_each_file_of_a_large_set_is_not_read_as_a_set(tmp_path, monkeypatch):
    """Every file repeats the text of all: 200 times 200 images."""
    from agent.formats import ome_xml

    owns = [str(uuid.uuid4()) for _ in range(20)]
    place = '<TiffData IFD="0" PlaneCount="1"><UUID FileName="p {0}.ome.tif">urn:uuid:{1}</UUID></TiffData>'
    content = "".join(image(n, inside=place.format(n, own)) for n, own in enumerate(owns))
    for number, own in enumerate(owns):
        written(tmp_path / f"p {number}.ome.tif", document(content, own))
    parsed = []
    one = ome_xml._events
    monkeypatch.setattr(ome_xml, "_events", lambda *given: parsed.append(1) or one(*given))
    found = inspect(tmp_path / "p 7.ome.tif")
    assert found.verdict.state is Wholeness.WHOLE
    assert len(found.metadata.ome.images) == len(found.dataset.files) == 20
    assert len(parsed) <= 5


def test_images_of_other_sizes_in_one_tiff_are_images_of_their_own(tmp_path):
    path = tmp_path / "mixed.tif"
    with tifffile.TiffWriter(path) as file:
        for shape in ((40, 50), (40, 50), (20, 25), (40, 50)):
            file.write(np.zeros(shape, np.uint8), metadata=None)
    found = seen(path).metadata.ome
    sizes = [(one.pixels.size_x, one.pixels.size_y, one.pixels.size_t) for one in found.images]
    assert sizes == [(50, 40, 3), (25, 20, 1)]
    assert [[block.ifd for block in one.pixels.tiff_data_blocks] for one in found.images] == [[0, 1, 3], [2]]


@pytest.mark.parametrize(
    ("axes", "shape", "said"),
    [
        ("ZTCYX", (2, 3, 5, 12, 16), ("XYCTZ", 2, 5, 3)),
        ("TZCYX", (4, 1, 2, 12, 16), ("XYCTZ", 1, 2, 4)),
        ("ZYX", (6, 12, 16), ("XYZCT", 6, 1, 1)),
        ("QYX", (6, 12, 16), ("XYCZT", 1, 1, 6)),
    ],
)
def test_axes_that_tifffile_names_are_believed(tmp_path, axes, shape, said):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros(shape, np.uint16), metadata={"axes": axes}, photometric="minisblack")
    pixels = seen(path).metadata.ome.images[0].pixels
    assert (pixels.dimension_order.value, pixels.size_z, pixels.size_c, pixels.size_t) == said


def test_a_type_that_ome_lacks_is_said(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((12, 16), np.int64))
    assert seen(tmp_path / "a.tif").metadata.notes == ("OME has no pixel type for this image",)


def test_a_tiff_that_got_its_size_ahead_of_its_content_is_awaited(tmp_path):
    """As copying programs make it: the header, and zeros to the end."""
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.ones((12, 16), np.uint16))
    data = path.read_bytes()
    for there in (12, 16, 20):
        path.write_bytes(data[:there] + bytes(len(data) - there))
        assert inspect(path).verdict.state is not Wholeness.WHOLE, there


def test_pages_that_are_not_what_the_xml_says_are_told(tmp_path):
    """ome-writers 0.3 stores each row of a colour frame (pymmcore-plus 0.18) as a page of its own."""
    text, path = document(image(sizes=(1, 1, 2), inside='<TiffData IFD="0" PlaneCount="2"/>')), tmp_path / "a.ome.tif"
    assert seen(written(path, text, images=2)).metadata.notes == ()
    rows = np.zeros((24, 16, 3), np.uint16)
    tifffile.imwrite(path, rows, description=text.encode(), metadata=None, photometric="minisblack")
    (note,) = seen(path).metadata.notes
    assert note == "the OME-XML says images of 16 x 12 pixels, the first one of a.ome.tif has 3 x 16: open it with care"
