"""Annotated copies: every byte of the original in its place, the new text readable, resumable at any offset."""

import gzip
import hashlib
import logging
import os
import struct
from pathlib import Path

import numpy as np
import ome_types
import pytest
import tifffile

from agent.document.annotate import Patch, blocks, delivered_size, plan
from agent.errors import SourceChanged
from agent.formats import registry

OME = b'<?xml version="1.0" encoding="UTF-8"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"></OME>'
CORPUS = Path(os.environ.get("SCOPE_AGENT_CORPUS", Path(__file__).parents[4] / "shared" / "data"))


def deliver(path: Path, patch: Patch | None, block_size: int = 1 << 16, start: int = 0) -> tuple[bytes, bytes]:
    """(source, delivered) bytes as one stream gives them."""
    pairs = list(blocks(path, patch, block_size, start))
    assert all(len(source) <= block_size and len(sent) <= block_size for source, sent in pairs)
    return b"".join(source for source, _ in pairs), b"".join(sent for _, sent in pairs)


def tiff_file(folder: Path, **options: object) -> Path:
    path = folder / "image.tif"
    data = np.arange(3 * 20 * 30, dtype=np.uint16).reshape(3, 20, 30)
    settings = {"metadata": None, "photometric": "minisblack", **options}
    tifffile.imwrite(path, data, **settings)
    return path


def segments(path: Path) -> list[tuple[int, int, str]]:
    """Offset, size and hash of every strip and tile."""
    raw = path.read_bytes()
    with tifffile.TiffFile(path) as tiff:
        spots = [spot for page in tiff.pages for spot in zip(page.dataoffsets, page.databytecounts, strict=True)]
    return [(at, size, hashlib.sha256(raw[at : at + size]).hexdigest()) for at, size in spots]


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("bigtiff", [False, True])
@pytest.mark.parametrize("description", [None, "something"])
def test_description_comes_first_and_pixels_stay(
    tmp_path: Path, byteorder: str, bigtiff: bool, description: str | None
) -> None:
    path = tiff_file(tmp_path, byteorder=byteorder, bigtiff=bigtiff, description=description)
    before, original = segments(path), path.read_bytes()
    patch = plan(path, OME)
    assert patch is not None
    source, sent = deliver(path, patch)
    assert source == original == path.read_bytes()
    assert len(sent) == delivered_size(len(original), patch)
    copy = tmp_path / "copy.tif"
    copy.write_bytes(sent)
    assert segments(copy) == before
    with tifffile.TiffFile(copy) as tiff:
        assert tiff.is_bigtiff is bigtiff
        assert tiff.pages[0].description.encode() == OME
        assert len(tiff.pages) == 3
        tags = [tag.code for tag in tiff.pages[0].tags]
        assert tags == sorted(tags)
        assert [tag.value for tag in tiff.pages[0].tags if tag.code == 270][1:] == (
            [description] if description else []
        )
    np.testing.assert_array_equal(tifffile.imread(copy), tifffile.imread(path))
    # Only the address in the header differs.
    width = 8 if bigtiff else 4
    at = 8 if bigtiff else 4
    assert sent[:at] == original[:at]
    assert sent[at + width : len(original)] == original[at + width :]


@pytest.mark.parametrize("block_size", [1, 3, 5, 7, 64, 1 << 20])
def test_overlays_across_block_borders(tmp_path: Path, block_size: int) -> None:
    path = tiff_file(tmp_path, bigtiff=True)
    patch = plan(path, OME)
    whole = deliver(path, patch)
    assert deliver(path, patch, block_size) == whole


def test_goes_on_at_any_offset(tmp_path: Path) -> None:
    path = tmp_path / "small.tif"
    tifffile.imwrite(path, np.zeros((4, 4), np.uint8), metadata=None)
    patch = plan(path, OME)
    assert patch is not None
    source, sent = deliver(path, patch)
    for start in range(len(sent) + 1):
        rest_source, rest = deliver(path, patch, 11, start)
        assert rest == sent[start:]
        assert rest_source == source[start:]


def test_without_a_patch_the_file_is_streamed_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "any.bin"
    path.write_bytes(bytes(range(256)) * 5)
    source, sent = deliver(path, None, 100)
    assert source == sent == path.read_bytes()
    assert deliver(path, None, 100, 1000)[1] == path.read_bytes()[1000:]
    assert delivered_size(1280, None) == 1280


@pytest.mark.parametrize(("first", "kept"), [(b"<OME", ["two"]), (b"one", ["one", "two"])])
def test_other_descriptions_are_kept(tmp_path: Path, first: bytes, kept: list[str]) -> None:
    """Micro-Manager writes two, the OME-XML first; no library writes such a file."""
    numbers = [(256, 4, 2), (257, 4, 2), (258, 3, 8), (262, 3, 1)]
    entries = [struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in numbers]
    entries += [struct.pack("<HHI", 270, 2, 4) + text[:4].ljust(4, b"\0") for text in (first, b"two")]
    entries += [struct.pack("<HHII", 273, 4, 1, 8), struct.pack("<HHII", 279, 4, 1, 4)]
    path = tmp_path / "two.tif"
    path.write_bytes(b"II*\0\x0c\0\0\0\1\2\3\4" + struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4))
    copy = tmp_path / "copy.tif"
    copy.write_bytes(deliver(path, plan(path, OME))[1])
    with tifffile.TiffFile(copy) as tiff:
        found = [tag.value for tag in tiff.pages[0].tags if tag.code == 270]
        assert tiff.pages[0].asarray().tolist() == [[1, 2], [3, 4]]
    assert found == [OME.decode(), *kept]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"not a tiff at all", "not a TIFF"),
        (b"II", "ends in the middle"),
        (b"II*\0\xff\xff\xff\x7f", "points outside"),
        (b"II*\0\x08\0\0\0\xff\xff", "claims 65535 entries"),
        (b"II*\0\x08\0\0\0\x02\0abc", "ends in the middle"),
    ],
)
def test_other_files_are_left_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes, reason: str
) -> None:
    path = tmp_path / "odd.tif"
    path.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        assert plan(path, OME) is None
    assert reason in caplog.text


def test_imagej_keeps_its_description(tmp_path: Path) -> None:
    """As the second one, where ImageJ finds it: that is how Micro-Manager writes its stacks."""
    path, copy = tmp_path / "imagej.tif", tmp_path / "copy.tif"
    tifffile.imwrite(path, np.arange(192, dtype=np.uint8).reshape(3, 8, 8), imagej=True, metadata={"axes": "ZYX"})
    copy.write_bytes(deliver(path, plan(path, OME))[1])
    with tifffile.TiffFile(copy) as tiff, tifffile.TiffFile(path) as old:
        assert tiff.is_ome
        assert tiff.imagej_metadata == old.imagej_metadata
        assert tiff.pages[0].tags.get(270, index=1).value == old.pages[0].description


def test_a_stack_behind_one_directory_stays_as_it_is(tmp_path: Path) -> None:
    """ImageJ keeps stacks of more than 4 GiB so: no OME-XML can say where the second plane is."""
    from tests.unit.document.test_corpus_round_trip import described

    path = tmp_path / "large.tif"
    tifffile.imwrite(path, np.zeros((3, 8, 8), np.uint8), imagej=True, metadata={"axes": "ZYX"})
    raw = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as tiff:
        first = tiff.pages[0]
        at = first.offset + 2 + 12 * len(list(first.tags))
    raw[at : at + 4] = bytes(4)
    path.write_bytes(raw)
    _, metadata, made = described(registry.datasets_in(path)[0])
    assert metadata.ome is not None
    assert metadata.ome.images[0].pixels.size_z == 3
    assert made.embedded == {}


@pytest.mark.parametrize(("tag", "count", "reason"), [(33629, 5, "one directory"), (34412, 1, "thumbnails")])
def test_hidden_planes_are_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, tag: int, count: int, reason: str
) -> None:
    path = tmp_path / "hidden.tif"
    tifffile.imwrite(path, np.zeros((8, 8), np.uint8), metadata=None, extratags=[(tag, 4, count, (1,) * count, True)])
    assert plan(path, OME) is None
    assert reason in caplog.text


def test_a_classic_tiff_does_not_outgrow_four_gigabytes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tiff_file(tmp_path)
    os.truncate(path, 2**32 - len(OME))  # sparse
    assert plan(path, OME) is None
    assert "4 GiB" in caplog.text
    os.truncate(path, 2**32 - 4 * len(OME) - 512)
    assert plan(path, OME) is not None


def test_a_file_that_changed_since_is_refused(tmp_path: Path) -> None:
    path = tiff_file(tmp_path)
    patch = plan(path, OME)
    with path.open("ab") as file:
        file.write(b"more")
    with pytest.raises(SourceChanged, match="document it again"):
        deliver(path, patch)


def test_cost_of_annotating_is_small(tmp_path: Path) -> None:
    """Patching is an exchange of a few bytes: far below what reading and hashing cost."""
    path = tmp_path / "large.tif"
    tifffile.imwrite(path, np.zeros((64, 512, 512), np.uint16), metadata=None, bigtiff=True)
    patch = plan(path, OME * 100)
    sent = hashlib.sha256()
    for _, block in blocks(path, patch, 1 << 20):
        sent.update(block)
    copy = tmp_path / "copy.tif"
    copy.write_bytes(deliver(path, patch)[1])
    assert sent.hexdigest() == hashlib.sha256(copy.read_bytes()).hexdigest()
    assert struct.unpack("<Q", copy.read_bytes()[8:16])[0] > path.stat().st_size


def corpus(*patterns: str) -> list[Path]:
    return sorted(path for pattern in patterns for path in CORPUS.glob(pattern) if path.is_file())


@pytest.mark.skipif(not CORPUS.is_dir(), reason="no corpus of microscope files: set SCOPE_AGENT_CORPUS")
def test_every_tiff_of_the_corpus_is_patched_truly_or_refused(tmp_path: Path) -> None:
    folders = ("ome-tiff", "ome-tiff-multifile", "micromanager-2.0", "micromanager-1.4", "leica-matrix-ome-tiff")
    done, refused = [], []
    found = corpus(*(f"{f}/**/*.tif*" for f in folders), "imagej-tiff/*", "metamorph-tif/*", "stk/**/*.stk")
    for packed in [path for path in found if path.suffix == ".gz"]:
        found.remove(packed)
        found.append(tmp_path / f"unpacked-{packed.stem}")
        found[-1].write_bytes(gzip.decompress(packed.read_bytes()))
    for path in found:
        patch = plan(path, OME)
        if patch is None:
            refused.append(path.name)
            continue
        copy = tmp_path / path.name
        copy.write_bytes(deliver(path, patch, 1 << 20)[1])
        with tifffile.TiffFile(path) as old, tifffile.TiffFile(copy) as new:
            assert len(new.pages) == len(old.pages)
            assert new.pages[0].description.encode() == OME
        assert segments(copy) == segments(path)
        done.append(path.name)
        copy.unlink()
    assert len(done) >= 10
    assert all(path.name in refused for path in corpus("stk/**/*.stk"))


def test_ome_text_of_a_copy_is_read_by_ome_types(tmp_path: Path) -> None:
    path = tiff_file(tmp_path)
    copy = tmp_path / "copy.ome.tif"
    copy.write_bytes(deliver(path, plan(path, OME))[1])
    assert ome_types.from_tiff(copy).images == []


@pytest.mark.parametrize("bigtiff", [False, True])
def test_a_plain_tiff_is_delivered_as_ome_tiff(tmp_path: Path, bigtiff: bool) -> None:
    from tests.unit.document.test_corpus_round_trip import delivered, described, pixels

    path = tiff_file(tmp_path, bigtiff=bigtiff, description="exposed by hand")
    (dataset,) = registry.datasets_in(path)
    acquisition, metadata, made = described(dataset)
    assert metadata.not_carried_over["ImageDescription"] == "exposed by hand"
    assert made.record.not_carried_over["ImageDescription"] == "exposed by hand"
    ((source, copy, annotated),) = delivered(acquisition, made, tmp_path / "out")
    assert annotated
    assert pixels(copy) == pixels(source)
    said = ome_types.from_tiff(copy)
    assert (said.images[0].pixels.size_t, said.images[0].pixels.tiff_data_blocks[0].plane_count) == (3, 3)
    with tifffile.TiffFile(copy) as tiff:
        assert tiff.is_ome
        np.testing.assert_array_equal(tiff.series[0].asarray(), tifffile.imread(path))


def test_a_tiff_whose_pages_are_no_row_of_planes_stays_as_it_is(tmp_path: Path) -> None:
    """A thumbnail between the planes: their number is not their place."""
    from tests.unit.document.test_corpus_round_trip import described

    path = tmp_path / "thumbs.tif"
    with tifffile.TiffWriter(path) as out:
        out.write(np.zeros((64, 64), np.uint16), metadata=None)
        out.write(np.zeros((8, 8), np.uint16), metadata=None, subfiletype=1)
        out.write(np.ones((64, 64), np.uint16), metadata=None)
    _, _, made = described(registry.datasets_in(path)[0])
    assert made.embedded == {}
    assert b"<MetadataOnly" in made.ome_xml


def canceled_run(folder: Path) -> Path:
    """What ome-writers leaves of 7 planes of 3 z, 2 channels and 2 times: SizeT 1, and 7 planes."""
    path = folder / "run.ome.tif"
    order = [(z, c, t) for t in range(2) for c in range(2) for z in range(3)][:7]
    planes = "".join(f'<Plane TheZ="{z}" TheC="{c}" TheT="{t}"/>' for z, c, t in order)
    text = (
        '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
        'UUID="urn:uuid:b945d267-ae91-4a8b-b87c-8fe2c36b668a"><Image ID="Image:0"><Pixels ID="Pixels:0" '
        'DimensionOrder="XYZCT" Type="uint16" SizeX="30" SizeY="20" SizeZ="3" SizeC="2" SizeT="1">'
        '<Channel ID="Channel:0:0"/><Channel ID="Channel:0:1"/><TiffData IFD="0" PlaneCount="7"/>'
        f"{planes}</Pixels></Image></OME>"
    )
    with tifffile.TiffWriter(path) as out:
        for number in range(7):
            plane = np.full((20, 30), number + 1, np.uint16)
            out.write(plane, metadata=None, description=text if number == 0 else None)
    return path


def test_planes_of_a_canceled_run_keep_their_place(tmp_path: Path) -> None:
    """All seven planes have a place, and Bio-Formats finds them though others are missing: see blocks_text."""
    from tests.unit.document.test_corpus_round_trip import delivered, described, pixels

    path = canceled_run(tmp_path)
    acquisition, _, made = described(registry.datasets_in(path)[0])
    ((_, copy, annotated),) = delivered(acquisition, made, tmp_path / "out")
    assert annotated
    assert pixels(copy) == pixels(path)
    for said in (ome_types.from_tiff(copy), ome_types.from_xml(made.ome_xml)):
        size = said.images[0].pixels
        assert (size.size_z, size.size_c, size.size_t, len(size.planes)) == (3, 2, 2, 7)
        assert sum(block.plane_count for block in size.tiff_data_blocks) == 7
    first, rest = ome_types.from_tiff(copy).images[0].pixels.tiff_data_blocks
    assert (first.plane_count, first.uuid.file_name, rest.uuid) == (1, path.name, None)
    assert (rest.ifd, rest.first_z, rest.first_c, rest.first_t, rest.plane_count) == (1, 1, 0, 0, 6)
    # The companion stands in no data file: it must name it.
    assert all(block.uuid for block in ome_types.from_xml(made.ome_xml).images[0].pixels.tiff_data_blocks)
    with tifffile.TiffFile(copy) as tiff:
        assert tiff.series[0].asarray()[:, :, :, 0, 0].ravel().tolist() == [1, 2, 3, 4, 5, 6, 7, 0, 0, 0, 0, 0]


def test_thousands_of_planes_are_carried_over_without_an_object_each(tmp_path: Path) -> None:
    """A file that nobody hooked: its planes and their addresses are the document's."""
    from tests.unit.document.test_corpus_round_trip import delivered, described, lost, said

    path, count = tmp_path / "many.ome.tif", 2400
    data = np.arange(count * 12, dtype=np.uint16).reshape(count // 3, 3, 3, 4)
    columns = {
        "DeltaT": [10.0 * n for n in range(count)],
        "DeltaTUnit": ["ms"] * count,
        "ExposureTime": [0.005] * count,
        "PositionX": [0.5 * n for n in range(count)],
        "PositionXUnit": ["µm"] * count,
    }
    options = {"photometric": "minisblack", "metadata": {"axes": "TZYX", "Plane": columns}}
    tifffile.imwrite(path, data, ome=True, **options)
    (dataset,) = registry.datasets_in(path)
    acquisition, metadata, made = described(dataset)
    assert metadata.ome.images[0].pixels.planes == []
    ((_, copy, annotated),) = delivered(acquisition, made, tmp_path / "out")
    assert annotated
    before, after = ome_types.from_tiff(path), ome_types.from_tiff(copy)
    assert lost(said(before), said(after)) == []
    assert len(after.images[0].pixels.planes) == count
    assert after.images[0].pixels.planes[7].delta_t == pytest.approx(0.07)
    assert len(ome_types.from_xml(made.ome_xml).images[0].pixels.planes) == count
    np.testing.assert_array_equal(tifffile.imread(copy), data)
