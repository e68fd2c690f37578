"""What other files of a known format hold: sets and versions that the corpus lacks, made here."""

import random
from datetime import datetime

import numpy as np
import pytest
import tifffile
from ome_types import validate_xml

from agent.formats import Wholeness
from agent.formats.inspection import inspect
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
