"""Software of light microscopes that keeps all in one file: what makes it whole is written last."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.writers.ole import blank_first, compound, tables_first
from tests.writers.plates import leica_xml
from tests.writers.run import SIDE, Run, noise


def _segment(name: bytes, data: bytes) -> bytes:
    size = -(-len(data) // 32) * 32
    return struct.pack("<16sqq", name, size, size) + data.ljust(size, b"\0")


def _czi_header(directory: int, metadata: int, pending: int) -> bytes:
    data = struct.pack("<4i16s16siqqiq", 1, 0, 0, 0, b"P" * 16, b"P" * 16, 0, directory, metadata, pending, 0)
    return _segment(b"ZISRAWFILE", data.ljust(512, b"\0"))


def zen(dice: random.Random) -> Run:
    """Subblocks, metadata and directory; the header points at them at the end, when nothing is pending any more."""
    run, name, count = Run("czi"), "z.czi", dice.randint(1, 4)
    early = dice.random() < 0.5
    begun = _czi_header(0, 0, dice.randint(0, 1))
    run.append(name, begun, dice)
    at, entries = len(begun), []
    for t in range(count):
        dims = b"".join(
            struct.pack("<4siifi", axis, start, size, 0.0, size)
            for axis, start, size in ((b"X", 0, SIDE), (b"Y", 0, SIDE), (b"C", 0, 1), (b"T", t, 1))
        )
        entries.append(struct.pack("<2siqiiB5xi", b"DV", 0, at, 0, 0, 0, 4) + dims)
        block = struct.pack("<iiq", 0, 0, SIDE * SIDE) + entries[-1]
        piece = _segment(b"ZISRAWSUBBLOCK", block.ljust(256, b"\0") + noise(dice))
        run.append(name, piece, dice)
        at += len(piece)
    xml = (
        "<ImageDocument><Metadata><Information><Image><PixelType>Gray8</PixelType>"
        f"<SizeX>{SIDE}</SizeX><SizeY>{SIDE}</SizeY><SizeC>1</SizeC><SizeT>{count}</SizeT></Image></Information>"
        "</Metadata></ImageDocument>"
    ).encode()
    metadata = _segment(b"ZISRAWMETADATA", struct.pack("<ii", len(xml), 0).ljust(256, b"\0") + xml)
    directory = _segment(b"ZISRAWDIRECTORY", struct.pack("<i", count).ljust(128, b"\0") + b"".join(entries))
    if early:
        # The places are known before they are filled.
        run.patch(name, 0, _czi_header(at + len(metadata), at, 1))
    run.append(name, metadata + directory, dice)
    run.patch(name, 0, _czi_header(at + len(metadata), at, 0))
    run.close(name)
    return run


def las_x(dice: random.Random) -> Run:
    """The text of all images, then a block of memory for each."""
    run, count, depth = Run("lif"), dice.randint(1, 3), dice.randint(1, 2)
    size = SIDE * SIDE * depth
    images = "".join(
        leica_xml(1, depth, f'<Memory Size="{size}" MemoryBlockID="MemBlock_{n}"/>').replace("scan", f"scan{n}")
        for n in range(count)
    )
    text = (
        '<LMSDataContainerHeader Version="2"><Element Name="all"><Memory Size="0" MemoryBlockID="MemBlock_9"/>'
        f"<Children>{images}</Children></Element></LMSDataContainerHeader>"
    )
    run.append("l.lif", struct.pack("<iiBi", 0x70, 5 + 2 * len(text), 0x2A, len(text)), dice)
    run.append("l.lif", text.encode("utf-16-le"), dice)
    for n in range(count):
        block = f"MemBlock_{n}"
        head = struct.pack("<iiBqBi", 0x70, 14 + 2 * len(block), 0x2A, size, 0x2A, len(block))
        run.append("l.lif", head + block.encode("utf-16-le") + noise(dice, depth), dice)
    run.close("l.lif")
    return run


def nis_elements(dice: random.Random) -> Run:
    """Chunks as they come, their map last."""
    run, name = Run("nd2"), "n.nd2"
    chunks = [(b"ND2 FILE SIGNATURE CHUNK NAME01!", b"Ver3.0".ljust(64, b"\0"))]
    chunks += [(b"ImageDataSeq|%d!" % n, bytes(8) + noise(dice)) for n in range(dice.randint(1, 4))]
    chunks += [(b"ImageAttributesLV!", "uiComp\0".encode("utf-16-le") + struct.pack("<I", 1))]
    at, listed = 0, b""
    for title, data in chunks:
        run.append(name, struct.pack("<4sIQ", b"\xda\xce\xbe\x0a", len(title), len(data)) + title + data, dice)
        listed += title + struct.pack("<QQ", at, len(data))
        at += 16 + len(title) + len(data)
    title, listed = b"ND2 FILEMAP SIGNATURE NAME 0001!", listed + b"ND2 CHUNK MAP SIGNATURE 0000001!"
    listed += struct.pack("<Q", at)
    run.append(name, struct.pack("<4sIQ", b"\xda\xce\xbe\x0a", len(title), len(listed)) + title + listed, dice)
    run.close(name)
    return run


def softworx(dice: random.Random) -> Run:
    """DeltaVision: the planned number, then the sections."""
    times, extended = dice.randint(1, 5), 1024
    head = bytearray(1024)
    struct.pack_into("<4i", head, 0, SIDE, SIDE, times, 0)
    struct.pack_into("<3f", head, 40, 0.1, 0.1, 0.2)
    struct.pack_into("<i", head, 92, extended)
    struct.pack_into("<H", head, 96, 0xC0A0)
    struct.pack_into("<2h", head, 128, 8, 32)
    struct.pack_into("<Hh", head, 180, times, 0)
    struct.pack_into("<2h", head, 196, 1, 525)
    run = Run("deltavision-dv")
    run.append("d.dv", bytes(head) + bytes(extended) + noise(dice, times), dice)
    run.close("d.dv")
    return run


def fluoview(dice: random.Random) -> Run:
    """OIB: the files of an OIF as streams of a compound file."""
    count = dice.randint(1, 3)
    main = (
        f'[Axis 0 Parameters Common]\r\nAxisCode="X"\r\nMaxSize={SIDE}\r\n[Axis 1 Parameters Common]\r\n'
        f'AxisCode="Y"\r\nMaxSize={SIDE}\r\n[Axis 2 Parameters Common]\r\nAxisCode="Z"\r\nMaxSize={count}\r\n'
        '[Version Info]\r\nSystemName="FLUOVIEW FV1000"\r\nSystemVersion="4.1"\r\n'
    )
    said = "[OibSaveInfo]\r\nMainFileName=a.oif\r\nStorage00001=a.oif.files\r\nStream00000=a.oif\r\n"
    streams = {"Stream00000": main.encode("utf-16")}
    for n in range(1, count + 1):
        said += f"Stream{n:05}=Storage00001/s_C001Z{n:03}.tif\r\n"
        # The last ones are small: they share sectors.
        streams[f"Storage00001/Stream{n:05}"] = noise(dice, dice.choice((1, 10)))
    return _ole("oib", "a.oib", streams | {"OibInfo.txt": said.encode("utf-16")}, dice)


def cxd(dice: random.Random) -> Run:
    """HCImage: facts as small streams, a bitmap for each field."""
    count = dice.randint(1, 3)
    streams = {"File Info/First Field Date & Time": struct.pack("<d", 13_000_000_000.0),
               "Field Data/Field Count": struct.pack("<i", count)}  # fmt: skip
    for field in range(1, count + 1):
        top = f"Field Data/Field {field}"
        facts = {"Time_From_Start": 0.25 * field, "Image_Depth": 16.0, "Image_Height": 48.0, "Image_Width": 48.0}
        streams |= {f"{top}/Details/{key}": struct.pack("<d", value) for key, value in facts.items()}
        streams[f"{top}/i_Image1/Bitmap 1"] = dice.randbytes(48 * 48 * 2)
    return _ole("hcimage-cxd", "a.cxd", streams, dice)


def _ole(kind: str, name: str, streams: dict[str, bytes], dice: random.Random) -> Run:
    """Windows writes whole sectors."""
    run, raw = Run(kind), compound(streams)
    begun, head = (tables_first(raw), b"") if dice.random() < 0.5 else blank_first(raw)
    while begun:
        cut = 512 * dice.randint(1, 3)
        run.say(name, begun[:cut])
        begun = begun[cut:]
    if head:
        run.patch(name, 0, head)
    run.close(name)
    return run


def _hdf5(suffix: str, *steps: Callable[[Any], None]) -> list[bytes]:
    """The bytes of an HDF5 file after each step, closed in between."""
    import tempfile

    import h5py

    states = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"h{suffix}"
        for step in steps:
            with h5py.File(path, "a") as file:
                step(file)
            states.append(path.read_bytes())
    return states


def _closed_at_the_end(run: Run, name: str, raw: bytes, dice: random.Random) -> Run:
    """The end of the file is only known when the file is closed."""
    run.append(name, raw[:40] + b"\0" * 8 + raw[48:], dice)
    run.patch(name, 40, raw[40:48])
    run.close(name)
    return run


def imaris(dice: random.Random) -> Run:
    import numpy as np

    def letters(text: str) -> Any:
        return np.array([one.encode() for one in text], "S1")

    def fill(file: Any) -> None:
        said = {"X": str(SIDE), "Y": str(SIDE), "Z": "2", "Unit": "um", "RecordingDate": "2020-02-03 04:05:06.789"}
        said |= {f"ExtMin{n}": "1" for n in range(3)} | {f"ExtMax{n}": "5" for n in range(3)}
        for key, value in said.items():
            file.require_group("DataSetInfo/Image").attrs[key] = letters(value)
        file.create_group("DataSetInfo/Channel 0").attrs["Name"] = letters("GFP")
        file.create_group("DataSetInfo/Imaris").attrs["Version"] = letters("9.5")
        pixels = np.frombuffer(noise(dice, 2), np.uint8).reshape(2, SIDE, SIDE)
        file["DataSet/ResolutionLevel 0/TimePoint 0/Channel 0/Data"] = pixels

    return _closed_at_the_end(Run("ims"), "a.ims", _hdf5(".ims", fill)[0], dice)


def femtonics(dice: random.Random) -> Run:
    """A unit after the other in one file, which is closed in between: nothing says which is the last."""
    import numpy as np

    def unit(number: int) -> Callable[[Any], None]:
        def fill(file: Any) -> None:
            pixels = np.frombuffer(noise(dice, 2), np.uint8).reshape(2, SIDE, SIDE)
            file.create_dataset(f"MSession_0/MUnit_{number}/Channel_0", data=pixels)

        return fill

    run = Run("femtonics-mesc", sure=False)
    before = b""
    for now in _hdf5(".mesc", *(unit(number) for number in range(dice.randint(1, 3)))):
        run.append("m.mesc", now[len(before) :], dice)
        # What lies behind the superblock first.
        for start in (96, 0):
            end = min(len(before), 96) if start == 0 else len(before)
            if now[start:end] != before[start:end]:
                run.patch("m.mesc", start, now[start:end])
        before = now
    run.close("m.mesc")
    return run
