"""Thumbnails: of every channel, from pyramids and large planes, and never while the instrument acquires."""

from __future__ import annotations

import io
import shutil
import tracemalloc
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import tifffile
from PIL import Image

from agent.facility import thumbnails
from agent.facility.app import open_storage
from agent.facility.previews import Previews
from agent.facility.settings import Settings

from .rig import DATASET, Agent, Running, files, wait_for


def laid(folder: Path, data: dict[str, Path] | None = None) -> Any:
    """Storage with a committed dataset whose files lie under `folder/image`."""
    from agent.contract.manifest import render

    place = folder / "datasets" / DATASET
    (place / "data").mkdir(parents=True, exist_ok=True)
    paths = {path.relative_to(place).as_posix(): "0" * 64 for path in (place / "data").rglob("*") if path.is_file()}
    (place / "manifest-sha256.txt").write_bytes(render(paths))
    return open_storage(Settings(data_dir=folder))


def data(folder: Path) -> Path:
    place = folder / "datasets" / DATASET / "data"
    place.mkdir(parents=True)
    return place


def shown(picture: thumbnails.Picture) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(picture.png)))


def marked(shape: tuple[int, ...], level: int) -> np.ndarray:
    """Dark, with a bright square in the upper left quarter."""
    plane = np.full(shape, level, np.uint16)
    plane[..., : shape[-2] // 4, : shape[-1] // 4] = level * 10
    return plane


def is_marked(picture: thumbnails.Picture) -> bool:
    pixels = shown(picture).astype(int)
    rows, columns = pixels.shape[:2]
    corner = pixels[rows // 16 : rows // 6, columns // 16 : columns // 6].mean()
    return bool(corner > 200 > 60 > pixels[rows // 2 :, columns // 2 :].mean())


def test_a_picture_of_each_channel_of_an_ome_tiff(tmp_path: Path) -> None:
    stack = np.stack([marked((3, 200, 300), 100 * (channel + 1)) for channel in range(2)])
    tifffile.imwrite(data(tmp_path) / "a.ome.tif", stack, ome=True, metadata={"axes": "CZYX"}, compression="zlib")
    pictures, problem = thumbnails.draw(laid(tmp_path), DATASET, ["DAPI", "GFP"])
    assert problem is None
    assert [picture.said["name"] for picture in pictures] == ["DAPI", "GFP"]
    assert all(is_marked(picture) for picture in pictures)
    assert [picture.said["low"] for picture in pictures] == [100, 200]
    assert shown(pictures[0]).shape == (200, 300)


def test_the_right_plane_of_every_order_of_axes(tmp_path: Path) -> None:
    stack = np.zeros((2, 4, 3, 32, 32), np.uint16)  # T Z C
    for channel in range(3):
        stack[0, 2, channel] = 1000 * (channel + 1)
        stack[0, 2, channel, 0, 0] = 0
    tifffile.imwrite(data(tmp_path) / "a.ome.tif", stack, ome=True, metadata={"axes": "TZCYX"})
    pictures, _ = thumbnails.draw(laid(tmp_path), DATASET, [])
    assert [picture.said["high"] for picture in pictures] == [1000, 2000, 3000]


def test_a_pyramid_is_read_at_its_small_level(tmp_path: Path) -> None:
    whole = marked((4096, 4096), 100)
    with tifffile.TiffWriter(data(tmp_path) / "a.ome.tif", ome=True) as out:
        out.write(whole, subifds=2, tile=(256, 256), metadata={"axes": "YX"})
        out.write(whole[::4, ::4], subfiletype=1, tile=(256, 256))
        out.write(whole[::8, ::8], subfiletype=1, tile=(256, 256))
    storage = laid(tmp_path)
    thumbnails.draw(storage, DATASET, [])
    tracemalloc.start()
    try:
        pictures, problem = thumbnails.draw(storage, DATASET, [])
        assert tracemalloc.get_traced_memory()[1] < 8 << 20, "32 MB lie in the full level"
    finally:
        tracemalloc.stop()
    assert problem is None
    assert is_marked(pictures[0])


@pytest.mark.parametrize("kind", ["raw", "tiles", "strips", "imagej"])
def test_a_plane_too_large_for_memory_is_read_in_parts(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(thumbnails, "_MAX_PLANE", 1 << 18)
    plane = marked((2048, 3072), 50)
    more: dict[str, Any] = {
        "raw": {}, "imagej": {"imagej": True, "metadata": {"axes": "CYX"}},
        "tiles": {"tile": (256, 256), "compression": "zlib"}, "strips": {"rowsperstrip": 64, "compression": "zlib"},
    }[kind]  # fmt: skip
    tifffile.imwrite(data(tmp_path) / "a.tif", np.stack([plane, 2 * plane]) if kind == "imagej" else plane, **more)
    storage = laid(tmp_path)
    thumbnails.draw(storage, DATASET, [])
    tracemalloc.start()
    try:
        pictures, problem = thumbnails.draw(storage, DATASET, [])
        assert tracemalloc.get_traced_memory()[1] < 10 << 20, "a plane is 12 MB"
    finally:
        tracemalloc.stop()
    assert problem is None
    assert len(pictures) == (2 if kind == "imagej" else 1)
    assert all(is_marked(picture) for picture in pictures)


@pytest.mark.parametrize("version", [2, 3])
def test_a_picture_of_each_channel_of_an_ome_zarr(tmp_path: Path, version: int) -> None:
    tensorstore = pytest.importorskip("tensorstore", reason="needs tensorstore to read OME-Zarr")
    import json

    top = data(tmp_path) / "a.ome.zarr"
    axes = [{"name": name, "type": "space"} for name in "czyx"]
    image = {"axes": axes, "datasets": [{"path": "0"}, {"path": "1"}], "version": "0.4" if version == 2 else "0.5"}
    said = {"multiscales": [image], "omero": {"channels": [{"label": "DAPI"}, {"label": "GFP"}]}}
    for path, side in (("0", 1024), ("1", 512)):
        driver = {2: "zarr", 3: "zarr3"}[version]
        spec = {"driver": driver, "kvstore": {"driver": "file", "path": f"{top / path}/"}}
        pixels = np.stack([marked((3, side, side), 100 * (channel + 1)) for channel in range(2)])
        array = tensorstore.open(spec, create=True, dtype=tensorstore.uint16, shape=pixels.shape).result()
        array.write(pixels).result()
    if version == 2:
        (top / ".zattrs").write_text(json.dumps(said))
        (top / ".zgroup").write_text('{"zarr_format": 2}')
    else:
        (top / "zarr.json").write_text(
            json.dumps({"zarr_format": 3, "node_type": "group", "attributes": {"ome": said}})
        )
    pictures, problem = thumbnails.draw(laid(tmp_path), DATASET, [])
    assert problem is None
    assert [picture.said["name"] for picture in pictures] == ["DAPI", "GFP"]
    assert all(is_marked(picture) for picture in pictures)


def test_colour_float_and_odd_images(tmp_path: Path) -> None:
    place = data(tmp_path)
    tifffile.imwrite(place / "a.tif", np.full((40, 50, 3), (255, 0, 128), np.uint8), photometric="rgb")
    (picture,), _ = thumbnails.draw(laid(tmp_path), DATASET, [])
    assert (shown(picture)[20, 20] == (255, 0, 128)).all()
    (place / "a.tif").unlink()
    tifffile.imwrite(place / "a.tif", np.full((40, 50), np.nan, np.float32))
    (picture,), _ = thumbnails.draw(laid(tmp_path), DATASET, [])
    assert shown(picture).max() == 0


@pytest.mark.parametrize("side", [64, 1000])
def test_counts_beyond_single_precision(tmp_path: Path, side: int) -> None:
    plane = np.full((side, side), -1e200)
    plane[:, side // 2 :] = 3e300
    tifffile.imwrite(data(tmp_path) / "a.tif", plane)
    (picture,), problem = thumbnails.draw(laid(tmp_path), DATASET, [])
    assert problem is None
    pixels = shown(picture)
    assert (pixels[0, 0], pixels[0, -1]) == (0, 255)
    assert picture.said["high"] == pytest.approx(3e300)


@pytest.mark.parametrize(("shape", "size"), [((1, 5000), (312, 1)), ((4000, 1), (1, 333)), ((1, 1), (1, 1))])
def test_line_scans_and_single_pixels(tmp_path: Path, shape: tuple[int, int], size: tuple[int, int]) -> None:
    plane = np.arange(shape[0] * shape[1], dtype=np.uint16).reshape(shape)
    tifffile.imwrite(data(tmp_path) / "a.tif", plane, photometric="minisblack")
    (picture,), problem = thumbnails.draw(laid(tmp_path), DATASET, [])
    assert problem is None
    assert (picture.said["width"], picture.said["height"]) == size
    assert (np.diff(shown(picture).ravel().astype(int)) >= 0).all()


@pytest.mark.parametrize("body", [b"", b"II*\0pix", b"not a tiff", b"II*\0\x08\0\0\0\xff\xff" + b"\xff" * 500])
def test_damaged_images_become_a_reason(tmp_path: Path, body: bytes) -> None:
    (data(tmp_path) / "a.tif").write_bytes(body)
    pictures, problem = thumbnails.draw(laid(tmp_path), DATASET, [])
    assert pictures == []
    assert problem
    assert problem.startswith("data/a.tif: ")


def test_an_image_that_claims_too_much_is_not_believed(tmp_path: Path) -> None:
    place = data(tmp_path)
    tifffile.imwrite(
        place / "a.tif", np.zeros((1, 1, 60_000), np.uint8), photometric="minisblack", planarconfig="contig"
    )
    _, problem = thumbnails.draw(laid(tmp_path), DATASET, [])
    assert problem == "data/a.tif: 60000 samples a pixel cannot be shown"
    tifffile.imwrite(place / "a.tif", np.zeros((16, 16), np.uint8), compression="zlib")
    said = bytearray((place / "a.tif").read_bytes())
    with tifffile.TiffFile(place / "a.tif") as tiff:
        offsets = [tiff.pages[0].tags[name].valueoffset for name in ("ImageWidth", "ImageLength", "RowsPerStrip")]
        sizes = [tiff.pages[0].tags[name].dtype for name in ("ImageWidth", "ImageLength", "RowsPerStrip")]
    for offset, kind in zip(offsets, sizes, strict=True):
        said[offset : offset + (2 if kind == 3 else 4)] = (60_000).to_bytes(2 if kind == 3 else 4, "little")
    (place / "a.tif").write_bytes(said)
    tracemalloc.start()
    try:
        pictures, problem = thumbnails.draw(laid(tmp_path), DATASET, [])
        assert tracemalloc.get_traced_memory()[1] < 64 << 20, "it claims 3.6 GB in one strip"
    finally:
        tracemalloc.stop()
    assert pictures == []
    assert problem is not None


def test_formats_that_cannot_be_shown_are_said(tmp_path: Path) -> None:
    (data(tmp_path) / "a.nd2").write_bytes(b"x")
    pictures, problem = thumbnails.draw(laid(tmp_path), DATASET, [])
    assert pictures == []
    assert problem is not None
    assert "no image of a kind" in problem


def test_never_while_the_instrument_acquires(tmp_path: Path) -> None:
    tifffile.imwrite(data(tmp_path) / "a.tif", marked((64, 64), 10))
    acquiring = {"lab/scope1": True}
    previews = Previews(laid(tmp_path), lambda key: acquiring[key])
    made: list[str] = []
    previews.on_made = made.append
    previews.start()
    try:
        assert previews.of(DATASET) is None
        assert previews.is_waiting(DATASET)
        with pytest.raises(AssertionError, match="the preview"):
            wait_for(lambda: made, "the preview", 1.5)
        acquiring["lab/scope1"] = False
        wait_for(lambda: made, "the preview")
        preview = previews.of(DATASET)
        assert preview is not None
        assert [one.file for one in preview.thumbnails] == ["data/a.tif"]
        assert previews.picture(DATASET, 0) is not None
        assert previews.picture(DATASET, 1) is None
    finally:
        previews.stop()


def test_the_page_shows_them_after_a_delivery(agent: Agent, facility: Running) -> None:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, marked((64, 64), 10))
    agent.deliver(files(channels=[{"name": "<b>DAPI"}]) | {"data/cells.ome.tif": buffer.getvalue()})
    url = f"{facility.url}/preview/{DATASET}/0.png"
    answer = wait_for(lambda: (got := httpx.get(url, trust_env=False)).status_code == 200 and got, "the picture")
    assert answer.headers["content-type"] == "image/png"
    page = httpx.get(f"{facility.url}/view/{DATASET}", trust_env=False).text
    assert f'src="/preview/{DATASET}/0.png"' in page
    assert "&lt;b&gt;DAPI" in page
    assert httpx.get(f"{facility.url}/preview/{DATASET}/7.png", trust_env=False).status_code == 404


KINDS = ["ome-tiff", "imagej-tiff", "ome-zarr", "ndtiff", "leica-matrix-ome-tiff", "metamorph-nd"]


@pytest.mark.parametrize("kind", KINDS)
def test_real_images_are_shown(corpus: Path, tmp_path: Path, kind: str) -> None:
    """Each file or folder of a kind as a dataset of its own: a picture with contrast."""
    for number, source in enumerate(sorted((corpus / kind).iterdir())):
        folder = tmp_path / str(number)
        place = data(folder)
        if source.is_dir():
            shutil.copytree(source, place / source.name)
        else:
            shutil.copy(source, place / source.name)
        if not any(str(path).lower().endswith((".tif", ".tiff", "zarr.json", ".zattrs")) for path in place.rglob("*")):
            continue
        pictures, problem = thumbnails.draw(laid(folder), DATASET, [])
        assert pictures, (source.name, problem)
        assert all(max(shown(picture).shape[:2]) < 2 * thumbnails.SIDE for picture in pictures)
        assert any(shown(picture).std() > 0 for picture in pictures), source.name
