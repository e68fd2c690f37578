"""Real vendor files, cut, flipped, emptied and renamed: a verdict, never an exception, never a hang, never `whole`.

The long campaigns: SCOPE_AGENT_FUZZ=600 gives each format so many seconds of random damage (default 0.4), and
SCOPE_AGENT_LONG=1 cuts at every 4 KiB boundary. `benchmarks/fuzz_formats.py` fuzzes for hours.
"""

import os
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

import pytest
from ome_types import validate_xml

from agent.formats import Wholeness
from agent.formats.inspection import inspect

_LONG = bool(os.environ.get("SCOPE_AGENT_LONG"))
ITEMS = {
    "czi": ("czi/CellDivision_T3_Z5_CH2_X240_Y170.czi", "czi/WellD6-7_S2.czi", "czi/RGB-8bit.czi"),
    "nd2": ("nd2/cluster.nd2", "nd2/example-multichannel.nd2"),
    "lif": ("lif/PR2729_frameOrderCombinedScanTypes.lif",),
    "oib": ("oib/test.oib",),
    "deltavision-dv": ("deltavision-dv/toxo.dv",),
    "stk": ("stk/model_puff.stk",),
    "metamorph-tif": ("metamorph-tif/MetamorphImage.tif",),
    "vsi": (
        "vsi/anonymised-single-plane/anon.vsi",
        "vsi/Image_Mouse13_PB_H7/Image_Mouse13_PB_H7/Image_Mouse13_PB_H7.vsi",
    ),
    "ndtiff": ("ndtiff/ndtiffv3.0_test/NDTiff.index", "ndtiff/ndtiffv3.0_test/ndtiffv3.0_test_NDTiffStack.tif"),
    "metamorph-nd": ("metamorph-nd/sample_3ch_2pos_mixed-z/sample_3ch_2pos_mixed-z.nd",),
    "micromanager-2.0": ("micromanager-2.0/alpha_2.0_singleplane/Pos0/metadata.txt",),
    "imagexpress": ("imagexpress/9987_Plate_3420/9987.HTD", "imagexpress/9987_Plate_3420/TimePoint_1/9987_B02.TIF"),
    "ome-companion": ("ome-companion/c3_z33.companion.ome",),
    "scanr": ("scanr/scanr-1w/scanr-1w/data/metadata.ome.xml",),
    "ome-xml": ("ome-xml/spec-instrument.ome.xml",),
}
_DEEP = {"imagexpress": 3, "ndtiff": 2, "metamorph-nd": 2, "micromanager-2.0": 2}
"""How many folders belong to an item: the damaged file lies among its own."""


@pytest.fixture(
    params=[(name, path) for name, paths in ITEMS.items() for path in paths], ids=lambda p: p[1].rsplit("/", 1)[-1]
)
def damaged(request, corpus, tmp_path):
    """(format, a copy of a real file among its own, its good content)."""
    name, path = request.param
    source = corpus / path
    top = source.parents[len(Path(path).parts) - 3] if name in _DEEP else source
    if top.is_dir():
        copy = tmp_path / top.name
        shutil.copytree(top, copy, copy_function=shutil.copyfile)
        for folder in (copy, *(p for p in copy.rglob("*") if p.is_dir())):
            folder.chmod(0o755)
        target = copy / source.relative_to(top)
    else:
        target = tmp_path / source.name
        shutil.copyfile(source, target)
    return name, target, target.read_bytes()


def answer(path):
    began = time.monotonic()
    found = inspect(path)
    text = found.to_ome_xml()
    found.to_json()
    assert time.monotonic() - began < 10
    return found, text


def memory_mb():
    """The most that the process has had; 0 where nobody counts."""
    if sys.platform == "win32":
        return 0
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def test_cut_off_at_pages_is_never_whole(damaged):
    name, path, good = damaged
    before, _ = answer(path)
    step = 4096 if _LONG else max(4096, len(good) // 4096 // 6 * 4096)
    sizes = sorted({*range(0, len(good), step), len(good) - 1, 1, 7, 100})
    for size in sizes:
        path.write_bytes(good[:size])
        found, _ = answer(path)
        if name in ("scanr", "ome-companion", "ome-xml", "vsi", "oib", "czi", "imagexpress") and size == len(good) - 1:
            continue  # the last byte is a line end or padding
        text_only = path.suffix == ".nd" and size == len(good) - 1
        assert found.verdict.state is not Wholeness.WHOLE or text_only, (size, len(good), found.verdict)
        if size > 200_000 and found.format == name:
            assert found.verdict.state in (Wholeness.GROWING, Wholeness.DAMAGED), (size, found.verdict)
    assert before.format == name


def test_flipped_bytes_never_raise(damaged):
    _, path, good = damaged
    dice = random.Random(5)
    seconds = float(os.environ.get("SCOPE_AGENT_FUZZ", "0.4"))
    limit = time.monotonic() + seconds
    memory = memory_mb()
    count = 0
    while time.monotonic() < limit:
        data = bytearray(good)
        for _ in range(dice.choice((1, 1, 2, 5, 20))):
            # Headers, the directory and the tail are where damage hurts.
            place = dice.choice(
                (
                    dice.randrange(min(len(data), 2000)),
                    dice.randrange(len(data)),
                    -1 - dice.randrange(min(len(data), 2000)),
                )
            )
            data[place] = dice.choice((0, 255, 127, dice.randrange(256)))
        path.write_bytes(data)
        if dice.random() < 0.1:
            path.write_bytes(data[: dice.randrange(len(data))])
        try:
            _, text = answer(path)
        except Exception:
            Path(tempfile.gettempdir(), "scope_agent_finding").write_bytes(bytes(data))
            raise
        if count % 20 == 0:
            validate_xml(text)
        count += 1
    assert count
    assert memory_mb() - memory < 500


@pytest.mark.parametrize(
    "suffix",
    [
        ".czi",
        ".nd2",
        ".lif",
        ".oib",
        ".oif",
        ".vsi",
        ".dv",
        ".stk",
        ".nd",
        ".HTD",
        ".ims",
        ".lsm",
        ".cxd",
        ".ets",
        ".ome.xml",
        ".companion.ome",
    ],
)
@pytest.mark.parametrize(
    "content", [b"", b"\0" * 5000, b"plain text\n" * 500, b"II*\0\x08\0\0\0\xff\xff", b"\xff" * 3000]
)
def test_empty_and_misnamed_files(tmp_path, suffix, content):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    found, text = answer(path)
    assert found.verdict.state is not Wholeness.WHOLE, found
    validate_xml(text)


def test_a_real_file_under_another_name_is_still_itself_or_unknown(corpus, tmp_path):
    for source, expected in (
        ("czi/RGB-8bit.czi", "czi"),
        ("nd2/cluster.nd2", "nd2"),
        ("deltavision-dv/toxo.dv", "deltavision-dv"),
    ):
        path = tmp_path / "renamed.dat"
        shutil.copyfile(corpus / source, path)
        assert answer(path)[0].format == expected
        shutil.copyfile(corpus / source, tmp_path / "wrong.lif")
        assert answer(tmp_path / "wrong.lif")[0].format in (expected, "lif")


@pytest.mark.parametrize("sizes", [{"t": 0, "z": 1 << 40, "c": 1}, {"t": 0, "z": 1, "c": -(1 << 40)}])
def test_axes_of_an_lsm_that_cannot_be_have_no_planes(sizes):
    """Fuzzing found 23 GB: a file of no time points, and of two thousand million sections."""
    from agent.formats import lsm_metadata

    assert lsm_metadata._planes({}, sizes) == []


def test_an_axis_of_none_beside_an_endless_one(tmp_path):
    from agent.formats import lif_metadata, zarr_layout
    from agent.formats.safe_xml import parse

    assert zarr_layout.planes(zarr_layout.Array((0, 1 << 50), (1, 1), "uint8", True, "c"), [(0, 0)]) == 0
    axes = [
        lif_metadata._Dimension(axis, count, 1, "m", n)
        for n, (axis, count) in enumerate(zip("xyz", (4, 4, 1 << 50), strict=True))
    ]
    assert lif_metadata._frames(axes, parse(b"<Image><ImageDescription/></Image>"), [], []) == []
