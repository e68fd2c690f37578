"""OME's own files: OME-TIFF alone, in sets and with a companion, OME-Zarr, OME-XML; and what nobody knows."""

from __future__ import annotations

import json
import random

from tests.writers.run import SIDE, Run, Value, chain, noise, put, tiff

_HEAD = '<?xml version="1.0" encoding="UTF-8"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '


def _image(number: int, planes: int, blocks: str) -> str:
    return (
        f'<Image ID="Image:{number}"><Pixels ID="Pixels:{number}" DimensionOrder="XYZCT" Type="uint8" SizeX="{SIDE}" '
        f'SizeY="{SIDE}" SizeZ="1" SizeC="1" SizeT="{planes}"><Channel ID="Channel:{number}:0" SamplesPerPixel="1"/>'
        f"{blocks}</Pixels></Image>"
    )


def _blocks(planes: int, name: str = "", uuid: str = "") -> str:
    inside = f'<UUID FileName="{name}">{uuid}</UUID>' if name else ""
    return "".join(f'<TiffData IFD="{t}" FirstT="{t}" PlaneCount="1">{inside}</TiffData>' for t in range(planes))


def ome_tiff(dice: random.Random) -> Run:
    """The OME-XML with the first plane, the planes as they come."""
    run, count = Run("ome-tiff"), dice.randint(1, 5)
    text = f"{_HEAD}>{_image(0, count, _blocks(count))}</OME>\0".encode()
    pages: list[list[Value]] = [[(270, 2, text)]] + [[] for _ in range(count - 1)]
    chain(run, "x.ome.tif", pages, dice)
    return run


def ome_set(dice: random.Random) -> Run:
    """A file a position, each of which names all of them."""
    run, count, files = Run("ome-tiff"), dice.randint(1, 3), dice.randint(2, 3)
    names = [f"x_p{n:03}.ome.tif" for n in range(files)]
    images = "".join(_image(n, count, _blocks(count, name, f"urn:uuid:{n}")) for n, name in enumerate(names))
    for number in dice.sample(range(files), files):
        text = f'{_HEAD}UUID="urn:uuid:{number}">{images}</OME>\0'.encode()
        chain(run, names[number], [[(270, 2, text)]] + [[] for _ in range(count - 1)], dice)
    return run


def companion(dice: random.Random) -> Run:
    """The text of all before or after the images, which point at it or say nothing."""
    run, files = Run("ome-companion"), dice.randint(1, 3)
    names = [f"c_{n}.ome.tif" for n in range(files)]
    images = "".join(_image(n, 1, _blocks(1, name, f"urn:uuid:{n + 1}")) for n, name in enumerate(names))
    text = f'{_HEAD}UUID="urn:uuid:0">{images}</OME>'.encode()
    late = dice.random() < 0.5
    if not late:
        run.flow("c.companion.ome", text, dice)
        run.close("c.companion.ome")
    for number, name in enumerate(names, start=1):
        pointer = (
            f'{_HEAD}UUID="urn:uuid:{number}"><BinaryOnly MetadataFile="c.companion.ome" UUID="urn:uuid:0"/></OME>'
        )
        put(run, name, tiff(dice, pointer.encode(), None, dice.random() < 0.5), dice)
    if late:
        run.flow("c.companion.ome", text, dice)
        run.close("c.companion.ome")
    return run


def ome_xml(dice: random.Random) -> Run:
    run = Run("ome-xml")
    run.flow("x.ome.xml", f"{_HEAD}>{_image(0, 1, '<MetadataOnly/>')}</OME>".encode(), dice)
    run.close("x.ome.xml")
    return run


def _chunks(run: Run, names: list[str], level: str, raw: bool, dice: random.Random) -> None:
    for name in names:
        data = noise(dice)
        if raw:
            run.flow(f"{level}/{name}", data, dice)
        else:
            # What compresses writes beside its place and moves it there.
            run.say(f"{level}/{name}", data[: dice.randint(40, len(data))])
        run.close(f"{level}/{name}")


def zarr04(dice: random.Random) -> Run:
    """All texts first, then the chunks; those that hold nothing are left out."""
    count, raw = dice.randint(1, 5), dice.random() < 0.5
    run = Run("ome-zarr", sure=False)
    scale = [{"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [1, 0.1, 0.1]}]}]
    axes = [{"name": "t", "type": "time"}, {"name": "y", "type": "space"}, {"name": "x", "type": "space"}]
    array = {"zarr_format": 2, "shape": [count, SIDE, SIDE], "chunks": [1, SIDE, SIDE], "dtype": "|u1", "order": "C"}
    array |= {"compressor": None if raw else {"id": "zlib", "level": 1}, "filters": None, "fill_value": 0}
    texts = {".zgroup": {"zarr_format": 2}, "0/.zarray": array | {"dimension_separator": "/"},
             ".zattrs": {"multiscales": [{"version": "0.4", "axes": axes, "datasets": scale}]}}  # fmt: skip
    for name, text in texts.items():
        run.say(f"z.zarr/{name}", json.dumps(text).encode())
        run.close(f"z.zarr/{name}")
    # Nothing tells what was left out from what is still to come.
    left_out = {dice.randrange(count)} - {0}
    _chunks(run, [f"{t}/0/0" for t in range(count) if t not in left_out], "z.zarr/0", raw, dice)
    return run


def zarr05(dice: random.Random) -> Run:
    """Several resolutions; the text of the whole first."""
    levels, count, raw = dice.randint(1, 2), dice.randint(1, 4), dice.random() < 0.5
    run = Run("ome-zarr", sure=False)
    axes = [{"name": "t", "type": "time"}, {"name": "y", "type": "space"}, {"name": "x", "type": "space"}]
    scales = [
        {"path": str(n), "coordinateTransformations": [{"type": "scale", "scale": [1, 2**n, 2**n]}]}
        for n in range(levels)
    ]
    ome = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": scales}]}
    group = {"zarr_format": 3, "node_type": "group", "attributes": {"ome": ome}}
    run.say("z.ome.zarr/zarr.json", json.dumps(group).encode())
    codecs = [{"name": "bytes"}] + ([] if raw else [{"name": "zstd", "configuration": {"level": 1}}])
    for level in range(levels):
        array = {
            "zarr_format": 3, "node_type": "array", "shape": [count, SIDE, SIDE], "data_type": "uint8",
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [1, SIDE, SIDE]}}, "fill_value": 0,
            "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}}, "codecs": codecs,
        }  # fmt: skip
        run.say(f"z.ome.zarr/{level}/zarr.json", json.dumps(array).encode())
        run.close(f"z.ome.zarr/{level}/zarr.json")
    run.close("z.ome.zarr/zarr.json")
    for t in range(count):
        for level in range(levels):
            _chunks(run, [f"c/{t}/0/0"], f"z.ome.zarr/{level}", raw, dice)
    return run


def zarr_appended(dice: random.Random) -> Run:
    """An array that is made longer with each plane: it could always be over."""
    run = Run("ome-zarr", sure=False)
    axes = [{"name": "t", "type": "time"}, {"name": "y", "type": "space"}, {"name": "x", "type": "space"}]
    scales = [{"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [1, 1, 1]}]}]
    ome = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": scales}]}
    group = {"zarr_format": 3, "node_type": "group", "attributes": {"ome": ome}}
    run.say("a.ome.zarr/zarr.json", json.dumps(group).encode())
    run.close("a.ome.zarr/zarr.json")
    for t in range(dice.randint(1, 4)):
        array = {
            "zarr_format": 3, "node_type": "array", "shape": [t + 1, SIDE, SIDE], "data_type": "uint8",
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [1, SIDE, SIDE]}}, "fill_value": 0,
            "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
            "codecs": [{"name": "bytes"}],
        }  # fmt: skip
        run.patch("a.ome.zarr/0/zarr.json", 0, json.dumps(array).encode())
        _chunks(run, [f"c/{t}/0/0"], "a.ome.zarr/0", True, dice)
    run.close("a.ome.zarr/0/zarr.json")
    return run


def unknown(dice: random.Random) -> Run:
    """A program that nobody knows."""
    run = Run("unknown", sure=False)
    run.flow("frames.raw", noise(dice, dice.randint(1, 3)), dice)
    run.close("frames.raw")
    return run
