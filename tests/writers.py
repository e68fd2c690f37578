"""Writers that put files on a disk in the order in which the real software does. Small, synthetic, seeded.

A writer is a list of operations; `sure` says that the files themselves tell when it is over, so that it may
pause as long as it likes without a handle that shows.
"""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SIDE = 24
_TEXTS = (".xml", ".json", ".mdoc", ".hdr")


@dataclass(frozen=True)
class Op:
    """Append `data` to a file, or put it at `at`; an operation without data closes the file."""

    name: str
    data: bytes = b""
    at: int | None = None


@dataclass
class Run:
    """What one acquisition writes."""

    format: str
    ops: list[Op] = field(default_factory=list)
    sure: bool = True

    def append(self, name: str, data: bytes, dice: random.Random) -> None:
        """In pieces of random size, as a buffer empties itself; a text is smaller than its buffer."""
        if name.endswith(_TEXTS):
            self.ops.append(Op(name, data))
            return
        while data:
            cut = dice.randint(1, max(1, min(len(data), 900)))
            self.ops.append(Op(name, data[:cut]))
            data = data[cut:]

    def patch(self, name: str, at: int, data: bytes) -> None:
        self.ops.append(Op(name, data, at))

    def close(self, name: str) -> None:
        self.ops.append(Op(name))


def _tags(entries: list[tuple[int, int, int, int]], following: int = 0) -> bytes:
    body = b"".join(struct.pack("<HHII", *one) for one in sorted(entries))
    return struct.pack("<H", len(entries)) + body + struct.pack("<I", following)


def _page(description: int, length: int, data: int, extra: list[tuple[int, int, int, int]] = []) -> list[Any]:  # noqa: B006
    """Tags of a gray image of `SIDE` x `SIDE` bytes."""
    return [
        (256, 4, 1, SIDE), (257, 4, 1, SIDE), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1),
        (270, 2, length, description), (273, 4, 1, data), (277, 3, 1, 1), (278, 4, 1, SIDE), (279, 4, 1, SIDE * SIDE),
        *extra,
    ]  # fmt: skip


def _pixels(dice: random.Random, count: int = 1) -> bytes:
    return dice.randbytes(SIDE * SIDE * count)


def tiff(
    dice: random.Random, text: bytes, private: tuple[int, int, bytes] | None, index_first: bool
) -> list[tuple[int | None, bytes]]:
    """Pieces of a TIFF of one page as (place or None for append, bytes)."""
    text = text.ljust(8, b" ") + b"\0"
    block = private[2] if private else b""
    pixels = _pixels(dice)
    entries = 10 + bool(private)
    size = 2 + entries * 12 + 4
    if index_first:
        at_text = 8 + size
        at_block, at_pixels = at_text + len(text), at_text + len(text) + len(block)
        extra = [(private[0], private[1], len(block), at_block)] if private else []
        head = b"II*\0" + struct.pack("<I", 8) + _tags(_page(at_text, len(text), at_pixels, extra))
        return [(None, head + text + block), (None, pixels)]
    at_text, at_block = 8 + len(pixels), 8 + len(pixels) + len(text)
    at_tags = at_block + len(block)
    extra = [(private[0], private[1], len(block), at_block)] if private else []
    index = _tags(_page(at_text, len(text), 8, extra))
    return [(None, b"II*\0\0\0\0\0" + pixels), (None, text + block + index), (4, struct.pack("<I", at_tags))]


def _put(run: Run, name: str, pieces: list[tuple[int | None, bytes]], dice: random.Random) -> None:
    for at, data in pieces:
        if at is None:
            run.append(name, data, dice)
        else:
            run.patch(name, at, data)
    run.close(name)


FEI = b"[User]\r\nDate=06/13/2016\r\n[Beam]\r\nBeam=EBeam\r\nScan=EScan\r\n[EScan]\r\nPixelWidth=1e-9\r\n"


def sem(dice: random.Random) -> Run:
    run = Run("sem-tiff")
    _put(run, "sem.tif", tiff(dice, b"", (34682, 2, FEI), dice.random() < 0.5), dice)
    return run


def tescan(dice: random.Random) -> Run:
    """The image, then its text: only quiet time bridges the gap."""
    run = Run("sem-tiff", sure=False)
    _put(run, "t.tif", tiff(dice, b"", (50431, 1, b"x" * 40), dice.random() < 0.5), dice)
    run.append("t.hdr", b"[MAIN]\r\nDevice=TESCAN\r\n[SEM]\r\nHV=1\r\n", dice)
    run.close("t.hdr")
    return run


def slide(dice: random.Random) -> Run:
    run = Run("svs")
    _put(run, "s.svs", tiff(dice, b"Aperio Image Library\n1x1|MPP = 0.5|AppMag = 20", None, False), dice)
    return run


def ndpi(dice: random.Random) -> Run:
    run = Run("ndpi")
    _put(run, "n.ndpi", tiff(dice, b"", (65420, 1, b"\1" * 8), False), dice)
    return run


def streak_tiff(dice: random.Random) -> Run:
    run = Run("hamamatsu-streak")
    _put(run, "h.tif", tiff(dice, b'[Application],Date="10/02/2022"', None, dice.random() < 0.5), dice)
    return run


def streak_img(dice: random.Random) -> Run:
    run = Run("hamamatsu-streak")
    text = b'[Application],Date="10/02/2022",Software="HPD-TA"'
    head = struct.pack("<2s6H", b"IM", len(text), SIDE, SIDE, 0, 0, 0).ljust(64, b"\0")
    run.append("h.img", head + text + _pixels(dice), dice)
    run.close("h.img")
    return run


def imagej(dice: random.Random) -> Run:
    count = dice.randint(2, 6)
    run = Run("imagej-tiff")
    pieces = tiff(dice, b"ImageJ=1.53\nimages=%d\nslices=%d\n" % (count, count), None, True)
    _put(run, "i.tif", [*pieces, (None, _pixels(dice, count - 1))], dice)
    return run


def _mrc(count: int, label: bytes = b"") -> bytes:
    head = bytearray(1024)
    struct.pack_into("<10i", head, 0, SIDE, SIDE, count, 0, 0, 0, 0, SIDE, SIDE, max(count, 1))
    struct.pack_into("<3f", head, 40, SIDE * 2.0, SIDE * 2.0, count * 2.0)
    head[208:216] = b"MAP DD\0\0"
    struct.pack_into("<i", head, 220, bool(label))
    head[224 : 224 + len(label)] = label
    return bytes(head)


def mrc(dice: random.Random) -> Run:
    """The planned number first; or none until the end."""
    count = dice.randint(1, 5)
    run = Run("mrc")
    last = dice.random() < 0.5
    run.append("m.mrc", _mrc(0 if last else count) + _pixels(dice, count), dice)
    if last:
        run.patch("m.mrc", 8, struct.pack("<i", count))
    run.close("m.mrc")
    return run


def serialem(dice: random.Random) -> Run:
    """A section and its text at a time: nothing says which is the last."""
    run = Run("serialem-mdoc", sure=False)
    run.append("t.mrc.mdoc", b"PixelSpacing = 2\nImageFile = t.mrc\nImageSize = 24 24\nDataMode = 0\n\n", dice)
    run.append("t.mrc", _mrc(0, b"SerialEM"), dice)
    for z in range(dice.randint(1, 5)):
        run.append("t.mrc", _pixels(dice), dice)
        run.patch("t.mrc", 8, struct.pack("<i", z + 1))
        run.append("t.mrc.mdoc", b"[ZValue = %d]\nTiltAngle = %d\n\n" % (z, z * 3), dice)
    run.close("t.mrc")
    run.close("t.mrc.mdoc")
    return run


def ser(dice: random.Random) -> Run:
    """The planned number, the valid number after every element, the .emi at the end."""
    run = Run("ser-emi")
    parts = dice.randint(1, 3)
    for part in range(1, parts + 1):
        name, total = f"e_{part}.ser", dice.randint(2, 6)
        saved = dice.randint(1, total)
        head = struct.pack("<2sHHIIiiIi", b"II", 0x197, 0x210, 0x4122, 0x4152, total, 0, 0, 0)
        offsets = len(head)
        body = 50 + SIDE * SIDE
        index = offsets + 8 * total
        places = [index + i * (body + 8) for i in range(total)]
        head = struct.pack("<2sHHIIiiIi", b"II", 0x197, 0x210, 0x4122, 0x4152, total, 0, offsets, 0)
        run.append(name, head, dice)
        run.append(name, struct.pack(f"<{2 * total}I", *places, *(p + body for p in places)), dice)
        for i in range(saved):
            run.append(name, struct.pack("<ddiddihii", 0, 1e-9, 0, 0, 1e-9, 0, 1, SIDE, SIDE) + _pixels(dice), dice)
            run.append(name, struct.pack("<HHi", 0x4152, 0, 1_500_000_000 + i), dice)
            run.patch(name, 18, struct.pack("<i", i + 1))
        run.close(name)
    xml = b"<ObjectInfo><Uuid>u</Uuid><ExperimentalConditions></ExperimentalConditions></ObjectInfo>"
    run.append("e.emi", b"JK\0\2" + b"\0" * 300 + xml * parts + b"\0" * 90 + b"\x03\x4d\0\x08\0\0\0\0", dice)
    run.close("e.emi")
    return run


def spe(dice: random.Random) -> Run:
    count = dice.randint(1, 6)
    head = bytearray(4100)
    struct.pack_into("<H", head, 42, SIDE)
    struct.pack_into("<H", head, 656, SIDE)
    struct.pack_into("<h", head, 108, 6)
    third = dice.random() < 0.5
    struct.pack_into("<i", head, 1446, count)
    xml = b"<SpeFormat xmlns='x' version='3.0'><DataFormat/></SpeFormat>"
    if third:
        struct.pack_into("<f", head, 1992, 3.0)
        struct.pack_into("<Q", head, 678, 4100 + count * SIDE * SIDE)
    run = Run("spe")
    run.append("p.spe", bytes(head) + _pixels(dice, count) + (xml if third else b""), dice)
    run.close("p.spe")
    return run


def sif(dice: random.Random) -> Run:
    count, side = dice.randint(1, 4), 8
    new = dice.random() < 0.5
    version = 65567 if new else 65559
    text = (
        b"Andor Technology Multi-Channel File\n65538 1\n%d 0 0 1 1500000000 -70 "
        b"\0 \0 \0 \0 \0 0 0.1 0.2 0.2 1 \0 0.2 2e-05 0 1 2 \n" % version
    )
    text += b"DU897 \n 8 8 5\nC:\\a.sif\nPixel number6\nCounts12\n"
    text += b"Pixel number65541 1 8 8 1 %d 1 %d %d\n" % (count, count * 64, 64)
    text += b"65538 1 8 8 1 1 1 0\n" + b"".join(b"%d\n" % (i * 100) for i in range(count)) + b"0\n"
    xml = b"<Signals/>"
    background = b"\n" + text.split(b"\n", 2)[2] + dice.randbytes(side * side * 4 * count)
    end = dice.choice((b"0\n0\n", b"0\n1\n" + background)) + b"0\n0\n"
    end += (xml + struct.pack("<Q", len(xml)) + b"SIFX") if new else b""
    run = Run("sif")
    run.append(
        "a.sif",
        text + dice.randbytes(side * side * 4 * count) + end,
        dice,
    )
    run.close("a.sif")
    return run


def isxd(dice: random.Random) -> Run:
    count = dice.randint(1, 6)
    said = {"dataType": 2, "spacingInfo": {"numPixels": {"x": SIDE, "y": SIDE}}, "timingInfo": {"numTimes": count}}
    text = json.dumps(said).encode()
    run = Run("inscopix-isxd")
    run.append("m.isxd", _pixels(dice, count), dice)
    run.append("m.isxd", text + b"\0" + struct.pack("<Q", len(text)), dice)
    run.close("m.isxd")
    return run


def velox(dice: random.Random) -> Run:
    """HDF5: the end of the file is only known when the file is closed."""
    import tempfile

    import h5py

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "v.emd"
        with h5py.File(path, "w") as file:
            group = file.create_group("Data/Image/0123")
            group.create_dataset("Data", data=[[[dice.randrange(255)]] * SIDE] * SIDE, dtype="int16")
        raw = path.read_bytes()
    run = Run("emd-velox")
    run.append("v.emd", raw[:40] + b"\0" * 8 + raw[48:], dice)
    run.patch("v.emd", 40, raw[40:48])
    run.close("v.emd")
    return run


def _tag(name: bytes, kind: int, body: bytes, wide: bool) -> bytes:
    return struct.pack(">BH", kind, len(name)) + name + (struct.pack(">Q", len(body)) if wide else b"") + body


def dm(dice: random.Random) -> Run:
    wide = dice.random() < 0.5
    word = ">Q" if wide else ">I"

    def group(members: list[bytes]) -> bytes:
        return b"\0\0" + struct.pack(word, len(members)) + b"".join(members)

    def value(form: str, kind: int, number: Any) -> bytes:
        return b"%%%%" + struct.pack(word, 1) + struct.pack(word, kind) + struct.pack("<" + form, number)

    pixels = _pixels(dice)
    array = b"%%%%" + struct.pack(word, 3) + b"".join(struct.pack(word, n) for n in (20, 10, len(pixels))) + pixels
    sides = group([_tag(b"", 21, value("I", 5, SIDE), wide)] * 2)
    data = group([
        _tag(b"Data", 21, array, wide), _tag(b"DataType", 21, value("I", 5, 6), wide),
        _tag(b"Dimensions", 20, sides, wide),
    ])  # fmt: skip
    root = group(
        [_tag(b"ImageList", 20, group([_tag(b"", 20, group([_tag(b"ImageData", 20, data, wide)]), wide)]), wide)]
    )
    head = struct.pack(">I", 4 if wide else 3) + struct.pack(word, len(root)) + struct.pack(">I", 1)
    over = 24 if wide else 20
    raw = head + root
    length = len(raw) + 8 - over
    raw = head[:4] + struct.pack(word, length) + head[4 + struct.calcsize(word) :] + root + b"\0" * 8
    run = Run("dm4" if wide else "dm3")
    run.append(f"g.{run.format}", raw, dice)
    run.close(f"g.{run.format}")
    return run


def scanimage(dice: random.Random) -> Run:
    """Rolled files; every frame is a directory and its pixels, linked when it is written. The last one says so."""
    run = Run("scanimage", sure=False)
    files, frames = dice.randint(1, 3), dice.randint(1, 3)
    for number in range(1, files + 1):
        name = f"r_00001_{number:05}.tif"
        run.append(name, b"II*\0" + struct.pack("<I", 0), dice)
        at, link = 8, 4
        for frame in range(frames):
            over = number == files and frame == frames - 1
            text = b"frameNumbers = %d\nframeTimestamps_sec = 0.1\nendOfAcquisition = %d\n" % (frame, over) + b"\0"
            size = 2 + 11 * 12 + 4
            software = b"SI.VERSION_MAJOR = 2021\n\0"
            place = at + size
            extra = [(305, 2, len(software), place + len(text))]
            index = _tags(_page(place, len(text), place + len(text) + len(software), extra))
            piece = index + text + software + _pixels(dice)
            run.append(name, piece, dice)
            run.patch(name, link, struct.pack("<I", at))
            link, at = at + size - 4, at + len(piece)
        run.close(name)
    return run


def prairie(dice: random.Random) -> Run:
    """The XML first or last; the images in one burst."""
    run = Run("prairieview")
    names = [f"run_Cycle00001_Ch1_{i:06}.ome.tif" for i in range(1, dice.randint(2, 5))]
    frames = "".join(
        f'<Frame index="{i}"><File channel="1" filename="{name}"/></Frame>' for i, name in enumerate(names)
    )
    xml = f'<?xml version="1.0"?><PVScan version="5.6"><Sequence>{frames}</Sequence></PVScan>'.encode()
    text = b"<OME><BinaryOnly MetadataFile='run_Cycle00001_Ch1_000001.ome.tif'/></OME>"
    images = [(name, tiff(dice, text, (305, 2, b"Prairie View 5.6\0"), dice.random() < 0.5)) for name in names]
    first = dice.random() < 0.5
    if first:
        run.append("run.xml", xml, dice)
        run.close("run.xml")
    for name, pieces in images:
        _put(run, name, pieces, dice)
    if not first:
        run.append("run.xml", xml, dice)
        run.close("run.xml")
    return run


def thor(dice: random.Random) -> Run:
    """The XML at the start and again at the end, then with its status."""
    run = Run("thorimage")
    count = dice.randint(1, 4)
    xml = '<ThorImageExperiment><Timelapse timepoints="{}"/><ExperimentStatus value="{}"/></ThorImageExperiment>'
    before, after = (xml.format(count, word).encode() for word in ("Running!", "Complete"))
    run.append("Experiment.xml", before, dice)
    for i in range(1, count + 1):
        _put(run, f"ChanA_001_001_001_{i:03}.tif", tiff(dice, b"", None, dice.random() < 0.5), dice)
    run.patch("Experiment.xml", 0, after)
    run.close("Experiment.xml")
    return run


def miniscope(dice: random.Random) -> Run:
    """Times as they come, a movie whose header is filled in when it is closed, a new one when it is full."""
    run = Run("miniscope-avi")
    full = dice.randint(3, 5)
    run.append("rec/metaData.json", b'{"miniscopes": ["Scope"], "cameras": []}', dice)
    run.append("rec/Scope/metaData.json", b'{"framesPerFile": %d, "deviceName": "Scope"}' % full, dice)
    run.close("rec/metaData.json")
    run.close("rec/Scope/metaData.json")
    run.append("rec/Scope/timeStamps.csv", b"Frame Number,Time Stamp (ms),Buffer Index\n", dice)
    total = dice.randint(1, 2 * full)
    total += total % full == 0
    # A movie that is full may be followed by another one: between the two only quiet time can tell.
    run.sure = total < full
    done = 0
    for movie in range(3):
        frames = min(full, total - done)
        if frames <= 0:
            break
        name = f"rec/Scope/{movie}.avi"
        head = bytearray(0x100)
        struct.pack_into("<4sI4s4sI4s4sI", head, 0, b"RIFF", 0, b"AVI ", b"LIST", 192, b"hdrl", b"avih", 56)
        struct.pack_into("<2I", head, 64, SIDE, SIDE)
        run.append(name, bytes(head), dice)
        for _ in range(frames):
            run.append(name, _pixels(dice), dice)
            run.append("rec/Scope/timeStamps.csv", b"%d,%d,0\n" % (done, done * 30), dice)
            done += 1
        run.patch(name, 4, struct.pack("<I", len(head) + frames * SIDE * SIDE - 8))
        run.patch(name, 48, struct.pack("<I", frames))
        run.close(name)
    run.close("rec/Scope/timeStamps.csv")
    return run


WRITERS: dict[str, Callable[[random.Random], Run]] = {
    one.__name__: one
    for one in (
        sem, tescan, slide, ndpi, streak_tiff, streak_img, imagej, mrc, serialem, ser, spe, sif, isxd, velox, dm,
        scanimage, prairie, thor, miniscope,
    )
}  # fmt: skip
