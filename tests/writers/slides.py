"""Slide scanners and the TIFF files of light microscopes: an image after the other, each linked when it is written."""

from __future__ import annotations

import random
import struct

from tests.writers.run import SIDE, Run, Value, chain, noise, one_page, put, tiff


def slide(dice: random.Random) -> Run:
    run = Run("svs")
    put(run, "s.svs", tiff(dice, b"Aperio Image Library\n1x1|MPP = 0.5|AppMag = 20", None, False), dice)
    return run


def slide_levels(dice: random.Random) -> Run:
    """The levels of the pyramid behind the image: nothing says how many there will be."""
    run = Run("svs", sure=False)
    text = b"Aperio Image Library v1\n24x24 [0,0 24x24] (240x240) J2K|AppMag = 20|MPP = 0.5\0"
    chain(run, "s.svs", [[(270, 2, text)] for _ in range(dice.randint(1, 4))], dice)
    return run


def ndpi(dice: random.Random) -> Run:
    run = Run("ndpi")
    put(run, "n.ndpi", tiff(dice, b"", (65420, 1, b"\1" * 8), False), dice)
    return run


def qptiff(dice: random.Random) -> Run:
    """Akoya: an image a channel with its text, then smaller copies; nothing says how many there will be."""
    run = Run("qptiff", sure=False)
    text = (
        '<?xml version="1.0" encoding="utf-16"?><PerkinElmer-QPI-ImageDescription>'
        "<DescriptionVersion>2</DescriptionVersion>"
        "<AcquisitionSoftware>VectraScan</AcquisitionSoftware><ImageType>{}</ImageType><Name>dye {}</Name>"
        "<ExposureTime>5000</ExposureTime><Objective>20x</Objective></PerkinElmer-QPI-ImageDescription>\0"
    )
    pages: list[list[Value]] = []
    for kind, subfile in (("FullResolution", 0), ("ReducedResolution", 1)):
        said = [text.format(kind, n).encode() for n in range(dice.randint(1, 3))]
        pages += [[(254, 4, struct.pack("<I", subfile)), (270, 2, one)] for one in said]
    chain(run, "q.qptiff", pages, dice)
    return run


def imagej(dice: random.Random) -> Run:
    count = dice.randint(2, 6)
    run = Run("imagej-tiff")
    pieces = tiff(dice, b"ImageJ=1.53\nimages=%d\nslices=%d\n" % (count, count), None, True)
    put(run, "i.tif", [*pieces, (None, noise(dice, count - 1))], dice)
    return run


def plain_tiff(dice: random.Random) -> Run:
    """A program of the laboratory's own that writes a frame at a time: the file could always be over."""
    run = Run("tiff", sure=False)
    software: list[Value] = [(305, 2, b"LabVIEW acquisition\0"), (306, 2, b"2020:02:03 04:05:06\0")]
    chain(run, "t.tif", [software for _ in range(dice.randint(1, 5))], dice)
    return run


def lsm(dice: random.Random) -> Run:
    """ZEN and its forerunners: an image and a thumbnail for each plane; the first says how many there will be."""
    z, t = dice.randint(1, 3), dice.randint(1, 2)
    info = struct.pack("<II8i6dHH", 67127628, 332, SIDE, SIDE, z, 1, t, 1, 24, 24, *[1e-7] * 3, 0, 0, 0, 0, 0)
    pages: list[list[Value]] = []
    for _ in range(z * t):
        pages.append([(254, 4, b"\0\0\0\0")] + ([(34412, 1, info.ljust(332, b"\0"))] if not pages else []))
        pages.append([(254, 4, b"\1\0\0\0")])
    run = Run("lsm", sure=False)
    chain(run, "a.lsm", pages, dice)
    return run


def stk(dice: random.Random) -> Run:
    """MetaMorph: one directory, before all planes or behind them, whose tag counts them."""
    count = dice.randint(1, 5)
    uic2 = struct.pack("<6I", 0, 1, 2_458_000, 1000, 0, 0) * count
    values: list[Value] = [(270, 2, b"Exposure: 100 ms\0"), (305, 2, b"MetaMorph 7.8.1\0")]
    run, planes = Run("stk"), noise(dice, count)
    if dice.random() < 0.5:
        piece, _ = one_page(8, [*values, (33629, 5, uic2)], b"")
        run.append("m.stk", b"II*\0\x08\0\0\0" + _counted(piece, count) + planes, dice)
    else:
        piece, _ = one_page(8 + len(planes), [*values, (33629, 5, uic2)], b"")
        piece = _counted(piece, count).replace(*_place_of_pixels(piece))
        run.append("m.stk", b"II*\0\0\0\0\0" + planes + piece, dice)
        run.patch("m.stk", 4, struct.pack("<I", 8 + len(planes)))
    run.close("m.stk")
    return run


def _counted(piece: bytes, count: int) -> bytes:
    """A tag of fractions is counted in planes, each of three fractions."""
    entry = struct.pack("<HHI", 33629, 5, 3 * count)
    return piece.replace(entry, struct.pack("<HHI", 33629, 5, count))


def _place_of_pixels(piece: bytes) -> tuple[bytes, bytes]:
    """The entry that says where the pixels are, and the one that says they begin behind the header."""
    at = piece.index(struct.pack("<HHI", 273, 4, 1))
    return piece[at : at + 12], struct.pack("<HHII", 273, 4, 1, 8)


def metaseries(dice: random.Random) -> Run:
    """MetaMorph and MetaXpress: one image with XML in its description."""
    text = b"<MetaData><prop id='pixel-size-x' type='int' value='24'/><prop id='pixel-size-y' type='int' value='24'/>"
    run = Run("metamorph-tif")
    put(run, "m.tif", tiff(dice, text + b"</MetaData>", (305, 2, b"MetaSeries\0"), dice.random() < 0.5), dice)
    return run
