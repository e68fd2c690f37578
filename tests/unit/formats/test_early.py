"""What once was called whole too early, found by the simulated writers."""

import random
import struct

import numpy as np
import pytest
import tifffile

from agent.formats import Wholeness, datasets_in, identify
from agent.sources.quiet import Quiet
from agent.steps.examine import examine
from tests.writers import WRITERS
from tests.writers.containers import compound, tables_first

PLANE = np.zeros((6, 8), np.uint16)


def verdict(path):
    found = identify(path)
    return found.name, found.is_whole(found.dataset(path))


@pytest.mark.parametrize(("frames", "early"), [(None, False), (1, True)])
def test_a_tiff_that_could_get_another_image_must_rest(tmp_path, frames, early):
    """A frame at a time, each of them the last one in the chain; where frames are counted nobody needs to wait."""
    path = tmp_path / "t.tif"
    tifffile.imwrite(path, PLANE, metadata=None)
    quiet = Quiet()
    looks = [examine(identify(path).dataset(path), quiet, now, 5.0, frames).whole for now in (0.0, 1.0, 6.0)]
    assert looks == [False, early, True]


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("d.dv", bytes(50), ("deltavision-dv", Wholeness.GROWING)),
        ("n.nd2", b"\xda\xce", ("unknown", Wholeness.GROWING)),
        ("i.ims", b"\x89HD", ("unknown", Wholeness.GROWING)),
        ("p.HTD", b'"HTSInfo', ("imagexpress", Wholeness.GROWING)),
        ("n.nd", b'"NDInf', ("metamorph-nd", Wholeness.GROWING)),
        ("Index.idx.xml", b'<?xml version="1.0" encod', ("unknown", Wholeness.GROWING)),
        ("scan.xml", b"<Data><Image>", ("unknown", Wholeness.GROWING)),
        ("other.xml", b"<Data></Data>", ("unknown", Wholeness.UNKNOWN)),
        ("other.xml", b"<Data></Image>", ("unknown", Wholeness.UNKNOWN)),
        ("other.xml", b"no XML at all", ("unknown", Wholeness.UNKNOWN)),
    ],
)
def test_the_first_bytes_of_a_file(tmp_path, name, content, expected):
    (tmp_path / name).write_bytes(content)
    found, answer = verdict(tmp_path / name)
    assert (found, answer.state) == expected


def test_a_compound_file_ends_with_its_small_streams(tmp_path):
    path = tmp_path / "a.cxd"
    raw = tables_first(compound({f"Field {n}": struct.pack("<d", n) * 40 for n in range(8)}))
    path.write_bytes(raw)
    assert verdict(path)[1].state is Wholeness.WHOLE
    for size in range(len(raw) - 512, 0, -512):
        path.write_bytes(raw[:size])
        assert verdict(path)[1].state is Wholeness.GROWING, size


@pytest.mark.parametrize(
    ("names", "missing"),
    [
        (["Images/r01c01f01p01-ch1sk1fk1fl1.tiff", "Images/r01c01f01p01-ch2sk1fk1fl1.tiff"], "Images/Index.idx.xml"),
        (["r01c01f01p01-ch1sk1fk1fl1.tiff"], "Index.idx.xml"),
        (["plate_D08_T0001F001L01A01Z01C01.tif"], "MeasurementDetail.mrf"),
        (["_scan_/stack1/frame_t.ets"], "scan.vsi"),
        (["a.oif.files/s_C001.tif", "a.oif.files/s_C001.pty"], "a.oif"),
    ],
)
def test_images_whose_index_is_not_there_yet_wait_for_it(tmp_path, names, missing):
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(tmp_path / name, PLANE, metadata=None)
    (found,) = datasets_in(tmp_path)
    assert (found.missing, len(found.files)) == ((missing,), len(names))
    assert {identify(tmp_path / name).dataset(tmp_path / name).main for name in names} == {found.main}
    said = identify(found.main)
    assert said.is_whole(found).state is Wholeness.GROWING
    if missing == "scan.vsi":
        return
    assert said.planes_on_disk(found) == sum(name.endswith(("tif", "tiff")) for name in names)
    # What a single TIFF file says of itself is said.
    assert (said.metadata(found).ome is not None) == (len(names) == 1)


@pytest.mark.parametrize("name", ["mm_stack14", "mm_stack20", "ndtiff"])
def test_a_stack_that_still_has_the_space_it_took_ahead_must_rest(tmp_path, name):
    for op in WRITERS[name](random.Random(1)).ops:
        with (tmp_path / op.name).open("ab") as file:
            pass
        with (tmp_path / op.name).open("r+b") as file:
            file.seek(0 if op.at is None else op.at, 2 if op.at is None else 0)
            file.write(op.data)
            if op.size is not None:
                file.truncate(op.size)
    stack = min(tmp_path.glob("*.tif"))
    assert verdict(stack)[1].state is Wholeness.WHOLE
    with stack.open("r+b") as file:
        file.truncate(stack.stat().st_size + 20_000)
    assert verdict(stack)[1].state is Wholeness.UNKNOWN


@pytest.mark.parametrize("name", ["a.tif", "a.czi", "_a_/stack1/frame_t.ets"])
def test_a_file_that_only_has_its_size_is_not_whole(tmp_path, name):
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_bytes(bytes(5000))
    assert verdict(tmp_path / name)[1].state is Wholeness.GROWING
