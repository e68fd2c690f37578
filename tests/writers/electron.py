"""Electron microscopes and streak cameras."""

from __future__ import annotations

import random
import struct
from pathlib import Path
from typing import Any

from tests.writers.run import SIDE, Run, noise, put, tiff

FEI = b"[User]\r\nDate=06/13/2016\r\n[Beam]\r\nBeam=EBeam\r\nScan=EScan\r\n[EScan]\r\nPixelWidth=1e-9\r\n"


def sem(dice: random.Random) -> Run:
    run = Run("sem-tiff")
    put(run, "sem.tif", tiff(dice, b"", (34682, 2, FEI), dice.random() < 0.5), dice)
    return run


def tescan(dice: random.Random) -> Run:
    """The image, then its text: only quiet time bridges the gap."""
    run = Run("sem-tiff", sure=False)
    put(run, "t.tif", tiff(dice, b"", (50431, 1, b"x" * 40), dice.random() < 0.5), dice)
    run.flow("t.hdr", b"[MAIN]\r\nDevice=TESCAN\r\n[SEM]\r\nHV=1\r\n", dice)
    run.close("t.hdr")
    return run


def streak_tiff(dice: random.Random) -> Run:
    run = Run("hamamatsu-streak")
    put(run, "h.tif", tiff(dice, b'[Application],Date="10/02/2022"', None, dice.random() < 0.5), dice)
    return run


def streak_img(dice: random.Random) -> Run:
    run = Run("hamamatsu-streak")
    text = b'[Application],Date="10/02/2022",Software="HPD-TA"'
    head = struct.pack("<2s6H", b"IM", len(text), SIDE, SIDE, 0, 0, 0).ljust(64, b"\0")
    run.append("h.img", head + text + noise(dice), dice)
    run.close("h.img")
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
    run.append("m.mrc", _mrc(0 if last else count) + noise(dice, count), dice)
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
        run.append("t.mrc", noise(dice), dice)
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
            run.append(name, struct.pack("<ddiddihii", 0, 1e-9, 0, 0, 1e-9, 0, 1, SIDE, SIDE) + noise(dice), dice)
            run.append(name, struct.pack("<HHi", 0x4152, 0, 1_500_000_000 + i), dice)
            run.patch(name, 18, struct.pack("<i", i + 1))
        run.close(name)
    xml = b"<ObjectInfo><Uuid>u</Uuid><ExperimentalConditions></ExperimentalConditions></ObjectInfo>"
    run.append("e.emi", b"JK\0\2" + b"\0" * 300 + xml * parts + b"\0" * 90 + b"\x03\x4d\0\x08\0\0\0\0", dice)
    run.close("e.emi")
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

    pixels = noise(dice)
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


def tem(dice: random.Random) -> Run:
    """FEI TIA: XML where the scanning microscopes have text; TVIPS: a block of its own."""
    run = Run("tem-tiff")
    xml = b"<Root><Data><Label>High tension</Label><Value>200</Value><Unit>kV</Unit></Data></Root>\0"
    block = dice.choice([(34682, 2, xml), (37706, 1, struct.pack("<I", 2).ljust(10_000, b"\0"))])
    put(run, "t.tif", tiff(dice, b"", block, dice.random() < 0.5), dice)
    return run
