"""Plates and wells in OME: real plates of the corpus, and one of each kind that is made here."""

import pytest
from ome_types import OME, from_xml, model, validate_xml

from agent.formats import ome_build
from agent.formats.inspection import inspect
from agent.formats.plates import well, with_plate


@pytest.mark.parametrize(
    ("name", "place"),
    [("A01", (0, 0)), ("b12", (1, 11)), ("P24", (15, 23)), ("AA01", (26, 0)), ("AF48", (31, 47)), ("A00", None),
     ("A", None), ("", None), ("1A", None), ("ZZ999", None)],
)  # fmt: skip
def test_the_place_of_a_well_by_its_name(name, place):
    assert well(name) == place


def image(number):
    return ome_build.image(number, str(number), {"x": 4, "y": 4}, "uint8")


def test_each_image_is_a_sample_of_its_well():
    made = with_plate(OME(images=[image(n) for n in range(4)]), "p", [(1, 2), (0, 0), (1, 2), None], 8, 12)
    validate_xml(made.to_xml())
    (plate,) = from_xml(made.to_xml()).plates
    assert (plate.name, plate.rows, plate.columns) == ("p", 8, 12)
    assert (plate.row_naming_convention, plate.column_naming_convention) == (
        model.NamingConvention.LETTER,
        model.NamingConvention.NUMBER,
    )
    said = {(one.row, one.column): [s.image_ref.id for s in one.well_samples] for one in plate.wells}
    assert said == {(0, 0): ["Image:1"], (1, 2): ["Image:0", "Image:2"]}
    assert sorted(s.index for one in plate.wells for s in one.well_samples) == [0, 1, 2]


def test_what_cannot_be_a_plate_is_left_out():
    ome = OME(images=[image(0), image(1)])
    assert with_plate(ome, "p", [None, (-1, 3)]) is ome
    assert with_plate(ome, "p", [(9999, 0)]) is ome
    (plate,) = with_plate(ome, "", [(7, 11)], 4, 1_000_000).plates
    assert (plate.name, plate.rows, plate.columns) == (None, None, None)


REAL = {
    "imagexpress/9987_Plate_3420/": ("9987_Plate_3420", {"B02"}),
    "imagexpress/9987_Plate_3435/": (None, {"B02", "B03"}),
    "imagexpress/1well-3C-2S-Zmix-T/": (None, {"C07"}),
    "cellvoyager/CV8000-2C-3W-4S/": (None, {"D08", "E03", "F08"}),
    "leica-matrix-ome-tiff/matrixscreener-experiment--test/": (None, {"A01"}),
}


@pytest.mark.parametrize("path", REAL)
def test_real_plates_name_their_wells(corpus, path):
    found = inspect(corpus / path)
    text = found.to_ome_xml()
    validate_xml(text)
    ome = from_xml(text)
    (plate,) = ome.plates
    named = {f"{chr(65 + one.row)}{one.column + 1:02d}" for one in plate.wells}
    name, wells = REAL[path]
    assert named == wells
    assert name is None or plate.name == name
    samples = [s.image_ref.id for one in plate.wells for s in one.well_samples]
    assert sorted(samples) == sorted(image.id for image in ome.images)
    if path.startswith("cellvoyager"):
        assert (plate.rows, plate.columns) == (8, 12)


def test_an_operetta_plate(tmp_path):
    import tifffile

    from tests.unit.formats.test_vendor_synthetic import PLANE, index

    names = ["r02c03f01p01-ch1sk1fk1fl1.tiff"]
    index(tmp_path, names)
    tifffile.imwrite(tmp_path / names[0], PLANE, metadata=None)
    (plate,) = inspect(tmp_path / "Index.idx.xml").metadata.ome.plates
    assert [(one.row, one.column) for one in plate.wells] == [(1, 2)]
