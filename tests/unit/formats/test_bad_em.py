"""Real EM, neuro, slide and camera files, spoilt in every way: a verdict, never an exception or a hang."""

import os
import random
import shutil
import struct
import time
import tracemalloc

import pytest
from ome_types import validate_xml

from agent.formats import Wholeness
from agent.formats.inspection import inspect
from agent.formats.tiff_layout import layout
from tests.unit.formats.truth_table_em import TABLE

_LONG = bool(os.environ.get("SCOPE_AGENT_LONG"))
"""With it every 4 KiB boundary is tried, and ten times as many flips."""
_BIG = 3_000_000
_TIFFS = (".tif", ".tiff", ".ndpi", ".svs", ".qptiff")


def sets(corpus, truths):
    """The smallest complete item of each format, as (format, files), main file last."""
    found = {}
    for item in truths.values():
        name = item["format"]
        if name in TABLE and item["complete_dataset"] and item["bytes"] < found.get(name, ({}, 1e12))[1]:
            found[name] = (item, item["bytes"])
    return {name: [corpus / one["path"] for one in item["files"]] for name, (item, _) in found.items()}


@pytest.fixture(scope="module", params=sorted(set(TABLE) - {"serialem-mdoc"}))
def copied(request, corpus, truths, tmp_path_factory):
    """A copy of a real dataset that may be spoilt: (format, its files)."""
    files = sets(corpus, truths)[request.param]
    base = os.path.commonpath([str(path.parent) for path in files])
    top = tmp_path_factory.mktemp(request.param)
    made = []
    for path in files:
        target = top / os.path.relpath(path, base)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
        made.append(target)
    return request.param, made


def answer(path):
    """The inspection, with its documents written, in less than ten seconds."""
    began = time.monotonic()
    found = inspect(path)
    found.to_json()
    validate_xml(found.to_ome_xml())
    assert time.monotonic() - began < 10, path
    return found


def _pixels(files):
    """The file that holds the pixels: the largest of those that are no text."""
    return max(
        files, key=lambda path: (path.suffix.lower() not in (".xml", ".txt", ".hdr", ".emi"), path.stat().st_size)
    )


def test_cut_off_at_any_block_is_never_whole(copied):
    _, files = copied
    path = _pixels(files)
    data = path.read_bytes()
    end = layout(path).end
    blocks = list(range(4096, len(data), 4096))
    sample = blocks if _LONG else sorted(random.Random(1).sample(blocks, min(len(blocks), 5)))
    try:
        for size in [0, 1, 100, *sample, len(data) - 1]:
            path.write_bytes(data[:size])
            found = answer(path)
            # Nothing points to the bytes that fill up the last word of this file.
            if path.suffix.lower() in _TIFFS and size >= end and len(data) - size < 4:
                continue
            tail_only = size > len(data) - 4096 and found.verdict.state is Wholeness.UNKNOWN
            assert found.verdict.state in (Wholeness.GROWING, Wholeness.DAMAGED) or tail_only or found.exit_code == 4, (
                path.name, size, len(data), found.verdict,
            )  # fmt: skip
            # What has its pixels cut is not taken for another format that would be content with it.
            assert found.exit_code != 0
    finally:
        path.write_bytes(data)


def test_flipped_bytes_never_raise(copied):
    name, files = copied
    dice = random.Random(f"flip {name}")
    for path in files[: 4 if _LONG else 2]:
        data = path.read_bytes()
        rounds = (2 if len(data) > _BIG else 4) * (20 if _LONG else 1)
        try:
            for _ in range(rounds):
                spoilt = bytearray(data)
                for _ in range(dice.randint(1, 12)):
                    # Headers and footers are where damage hurts.
                    place = dice.choice((dice.randrange(len(data)), dice.randrange(min(4096, len(data))),
                                         len(data) - 1 - dice.randrange(min(4096, len(data)))))  # fmt: skip
                    spoilt[place] = dice.choice((0, 255, 0x7F, dice.randrange(256)))
                path.write_bytes(spoilt)
                answer(path)
        finally:
            path.write_bytes(data)


def test_numbers_that_claim_terabytes(copied):
    """Four or eight bytes of 0xff or 0x7f over every word of the head, and of the tail."""
    name, files = copied
    path = _pixels(files)
    data = path.read_bytes()
    dice = random.Random(f"claims {name}")
    places = [*range(0, 256, 4), *(dice.randrange(max(len(data) - 8, 1)) & ~3 for _ in range(24))]
    places = places if _LONG else dice.sample(places, 8)
    # Counting every byte costs four times the time.
    if _LONG:
        tracemalloc.start()
    try:
        for place in places:
            claim = dice.choice((b"\xff" * 4, b"\xff\xff\xff\x7f", b"\xff" * 8, struct.pack("<Q", 1 << 43)))
            path.write_bytes(data[:place] + claim + data[place + len(claim) :])
            if _LONG:
                tracemalloc.reset_peak()
            answer(path)
            assert tracemalloc.get_traced_memory()[1] < 500e6, (path.name, place, claim)
    finally:
        tracemalloc.stop()
        path.write_bytes(data)


@pytest.mark.parametrize(
    "content", [b"", b"\0" * 5000, b"not an image\n" * 500, b"II*\0\x08\0\0\0", b"\x89HDF\r\n\x1a\n"]
)
@pytest.mark.parametrize(
    "name",
    ["a.dm3", "a.dm4", "a.ser", "a.emi", "a.mrc", "a.st", "a.mdoc", "a.emd", "a.mesc", "a.sif", "a.spe", "a.isxd",
     "a.svs", "a.ndpi", "a.qptiff", "a.tif", "a.img", "a.hdr", "0.avi", "metaData.json", "Experiment.xml", "a.xml",
     "info.txt", "ChanA_001_001_001_001.tif", "a_Cycle00001_Ch1_000001.ome.tif", "a_00001_00001.tif"],
)  # fmt: skip
def test_names_without_their_content(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    assert answer(path).exit_code in (3, 4, 5)


def test_a_real_file_under_another_name(copied, tmp_path):
    _, files = copied
    path = _pixels(files)
    for suffix in (".tif", ".dm3", ".mrc", ".bin", ".spe"):
        other = tmp_path / f"renamed{suffix}"
        shutil.copyfile(path, other)
        answer(other)
        other.unlink()


def test_without_the_readers_a_file_is_still_known_and_whole(copied, monkeypatch):
    name, files = copied
    for module in ("h5py", "mrcfile", "mrcfile.dtypes"):
        monkeypatch.setitem(__import__("sys").modules, module, None)
    found = answer(_pixels(files))
    assert (found.format, found.verdict.state) == (name, Wholeness.WHOLE)
    if name in ("emd-velox", "femtonics-mesc", "mrc"):
        assert any("pip install 'scope-agent[formats]'" in line for line in found.metadata.errors)
    else:
        assert not found.metadata.errors
