"""Names that are no text or not allowed elsewhere keep what they were."""

# ruff: noqa: PTH110, PTH118, PTH123, PTH208
# Names are bytes here.

import os
import sys
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.facility.naming import check_file
from agent.sources.names import fold
from agent.sources.spelling import apart, original, portable, restored, shown, stored

_ANY = st.text(st.characters(codec=None), max_size=30)
"""Lone surrogates included."""
_NAMES = st.binary(min_size=1, max_size=20).map(lambda raw: os.fsdecode(raw.replace(b"\0", b"_").replace(b"/", b"_")))


@settings(deadline=None)
@given(_ANY)
def test_what_is_stored_is_text_and_comes_back(text):
    stored(text).encode("utf-8")
    assert restored(stored(text)) == text


@settings(deadline=None)
@given(_ANY)
def test_what_is_shown_is_text(text):
    shown(text).encode("utf-8")


@pytest.mark.skipif(sys.platform == "win32", reason="names are bytes on POSIX only")
@settings(deadline=None)
@given(_NAMES.filter(lambda name: name not in (".", "..")))
def test_every_name_can_be_delivered_to_windows_and_be_turned_back(name):
    spelled = portable(name)
    assert original(spelled) == name
    assert check_file(f"data/{spelled}", windows=True) == f"data/{spelled}"


@pytest.mark.parametrize(
    ("name", "spelled"),
    [
        ("a b/µ.tif", "a b/µ.tif"),
        ("50% laser.tif", "50% laser.tif"),
        ("50%25.tif", "50%2525.tif"),
        ("a:b\\c\n%", "a%3Ab%5Cc%0A%"),
        ("a\udcff.tif", "a%FF.tif"),
        ('<>"|?*', "%3C%3E%22%7C%3F%2A"),
        ("CON", "%43ON"),
        ("nul.txt/x", "%6Eul.txt/x"),
        ("COM1.tif", "%43OM1.tif"),
        ("console.tif", "console.tif"),
        ("ends. /with dot.", "ends%2E%20/with dot%2E"),
    ],
)
def test_names_that_are_illegal_elsewhere(name, spelled):
    assert portable(name) == spelled
    assert original(spelled) == name


def test_a_name_that_grows_too_long_is_cut_and_stays_one_of_a_kind():
    names = [("\udcff" * 200) + f"{i}.tif" for i in range(3)]
    spelled = [portable(name) for name in names]
    assert len(set(spelled)) == 3
    assert all(len(one.encode()) <= 255 and one.endswith(".tif") for one in spelled)
    assert all(check_file(f"data/{one}", windows=True) for one in spelled)


def test_names_that_collide_elsewhere_are_spelled_apart():
    names = ["A.tif", "a.tif", "x/Ä.tif", "x/" + unicodedata.normalize("NFD", "Ä.tif"), "other.tif"]
    spelled = apart(names)
    assert len({fold(one) for one in spelled.values()}) == len(names)
    assert spelled["other.tif"] == "other.tif"
    assert {original(one): name for name, one in spelled.items()} == {name: name for name in names}


def test_a_real_name_that_is_no_text(tmp_path):
    if sys.platform != "linux":
        pytest.skip("names are bytes on Linux")
    path = os.path.join(os.fsencode(tmp_path), b"caf\xe9 \xff.tif")
    with open(path, "wb"):
        pass
    (name,) = os.listdir(tmp_path)
    assert portable(name) == "caf%E9 %FF.tif"
    assert os.fsencode(original(portable(name))) == b"caf\xe9 \xff.tif"
    assert os.path.exists(restored(stored(str(tmp_path / name))))
