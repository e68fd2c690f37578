"""Micro-Manager: stacks, folders of single images, and NDTiff."""

from __future__ import annotations

import json
import random
import struct

from tests.writers.run import SIDE, Op, Run, Value, noise, one_page, put, tiff

_AHEAD = 20_000
"""Bytes that a stack gets ahead of its content: gigabytes in the real ones."""


class _Stack:
    """A file of a stack: its header and the space for the index of its planes first, its facts at the end."""

    def __init__(self, run: Run, name: str, summary: bytes, planes: int) -> None:
        self.run, self.name = run, name
        self.index = 40 + len(summary)
        self.at = self.index + 8 + 20 * (planes + 3)
        self.count = 0
        self.link = 4
        head = struct.pack("<4sI2I4I2I", b"II*\0", self.at, 54773648, self.index, 0, 0, 0, 0, 2355492, len(summary))
        index = struct.pack("<2I", 3453623, planes + 3)
        run.resize(name, _AHEAD)
        run.patch(name, 0, head + summary + index + bytes(20 * (planes + 3)))
        self.text_tag = self.at + 2

    def add(self, where: tuple[int, int, int, int], text: bytes, dice: random.Random) -> None:
        """A plane, whose directory points at the next one before that is there."""
        # The place of the OME-XML is kept free in the first directory.
        values: list[Value] = [(270, 2, b""), (51123, 2, text)] if not self.count else [(51123, 2, text)]
        length = len(one_page(self.at, values, noise(dice))[0])
        piece, self.link = one_page(self.at, values, noise(dice), self.at + length)
        cut = dice.randrange(1, len(piece))
        self.run.patch(self.name, self.at, piece[:cut])
        self.run.patch(self.name, self.at + cut, piece[cut:])
        if not self.count:
            self.text_tag = self.at + piece.index(struct.pack("<HH", 270, 2))
        self.run.patch(self.name, self.index + 8 + 20 * self.count, struct.pack("<5I", *where, self.at))
        self.at += len(piece)
        self.count += 1

    def finish(self) -> None:
        self.run.patch(self.name, self.link, bytes(4))
        self.run.patch(self.name, self.index + 4, struct.pack("<I", self.count))

    def close(self, xml: bytes) -> None:
        self.run.patch(self.name, self.at, xml)
        self.run.patch(self.name, self.text_tag, struct.pack("<HHII", 270, 2, len(xml), self.at))
        self.at += len(xml)
        for place, magic, mark in ((16, 483765892, 347834724), (24, 99384722, 84720485)):
            block = struct.pack("<2I", mark, 2) + b"{}"
            self.run.patch(self.name, self.at, block)
            if place == 16:
                self.run.patch(self.name, place, struct.pack("<2I", magic, self.at))
            self.at += len(block)
        # The last header and the cut follow each other at once.
        self.run.ops.append(Op(self.name, struct.pack("<2I", 99384722, self.at - 10), 24, size=self.at + 8))
        self.run.close(self.name)


def _summary(version: str, positions: int, frames: int) -> bytes:
    said = {"MicroManagerVersion": version, "Positions": positions, "Frames": frames, "Slices": 1, "Channels": 1}
    return json.dumps(said | {"PixelType": "GRAY8", "Width": SIDE, "Height": SIDE, "UUID": "u"}).encode()


def _ome(names: list[str], own: int, planes: int) -> bytes:
    images = "".join(
        f'<Image ID="Image:{n}"><Pixels ID="Pixels:{n}" DimensionOrder="XYCZT" Type="uint8" SizeX="{SIDE}" '
        f'SizeY="{SIDE}" SizeZ="1" SizeC="1" SizeT="{planes}"><Channel ID="Channel:{n}:0" SamplesPerPixel="1"/>'
        + "".join(
            f'<TiffData IFD="{t}" FirstT="{t}" PlaneCount="1"><UUID FileName="{name}">urn:uuid:{n}</UUID></TiffData>'
            for t in range(planes)
        )
        + "</Pixels></Image>"
        for n, name in enumerate(names)
    )
    head = '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2013-06" UUID="urn:uuid:'
    if own:
        pointer = f'<BinaryOnly MetadataFile="{names[0]}" UUID="urn:uuid:0"/>'
        return f'{head}{own}">{pointer}</OME>\0'.encode()
    return f'{head}0">{images}</OME>\0'.encode()


def _stacks(kind: str, version: str, dice: random.Random) -> Run:
    run = Run(kind)
    positions, frames = dice.randint(1, 2), dice.randint(1, 3)
    summary = _summary(version, positions, frames)
    names = [f"run_MMStack_Pos{p}.ome.tif" for p in range(positions)]
    texts = [name.replace(".ome.tif", "_metadata.txt") for name in names]
    stacks = []
    for t in range(frames):
        for p, name in enumerate(names):
            if t == 0:
                stacks.append(_Stack(run, name, summary, frames))
                run.say(texts[p], b'{\n"Summary": ' + summary)
            stacks[p].add((0, 0, t, p), b'{"Exposure-ms": 10}\0', dice)
            run.say(texts[p], b',\n"FrameKey-%d-0-0": {"Exposure-ms": 10}' % t)
    for stack, text in zip(stacks, texts, strict=True):
        stack.finish()
        run.say(text, b"\n}\n")
        run.close(text)
    for number, stack in enumerate(stacks):
        stack.close(_ome(names, number, frames))
    return run


def mm_stack14(dice: random.Random) -> Run:
    """Planes and texts as they come; OME-XML, display settings and comments when all is over."""
    return _stacks("micromanager-1.4", "1.4.22", dice)


def mm_stack20(dice: random.Random) -> Run:
    return _stacks("micromanager-2.0", "2.0.1", dice)


def mm_images14(dice: random.Random) -> Run:
    """An image, then its entry in the text of its position, which ends when the run does."""
    run = Run("micromanager-1.4")
    positions, frames = dice.randint(1, 2), dice.randint(1, 3)
    # Where all is there that was planned the last brace is no sign: some versions never write it.
    run.sure = dice.random() < 0.5
    texts = [f"Pos{p}/metadata.txt" for p in range(positions)]
    for text in texts:
        run.say(text, b'{\n"Summary": ' + _summary("1.4.22", positions, frames + run.sure))
    for t in range(frames):
        for p, text in enumerate(texts):
            name = f"img_{t:09d}_DAPI_000.tif"
            put(run, f"Pos{p}/{name}", tiff(dice, b"", None, dice.random() < 0.5), dice)
            entry = {"FileName": name, "ElapsedTime-ms": 100 * t, "Exposure-ms": 20, "PositionIndex": p}
            run.flow(text, f',\n"FrameKey-{t}-0-0": {json.dumps(entry)}'.encode(), dice)
    for text in texts:
        run.say(text, b"\n}\n")
        run.close(text)
    return run


def mm_images20(dice: random.Random) -> Run:
    """With coordinates, and in some versions without the last brace."""
    run, frames = Run("micromanager-2.0", sure=dice.random() < 0.5), dice.randint(1, 3)
    text = "Default/metadata.txt"
    run.say(text, b'{\n"Summary": ' + _summary("2.0.0-alpha", 1, frames + run.sure))
    for t in range(frames):
        name = f"img_channel000_position000_time{t:09d}_z000.tif"
        put(run, f"Default/{name}", tiff(dice, b"", None, dice.random() < 0.5), dice)
        coordinates = {"time": t, "position": 0, "z": 0, "channel": 0}
        run.flow(text, f',\n"Coords-Default/{name}": {json.dumps(coordinates)}'.encode(), dice)
        run.flow(text, f',\n"Metadata-Default/{name}": {{"Exposure-ms": 10}}'.encode(), dice)
    if run.sure or dice.random() < 0.5:
        run.say(text, b"\n}\n")
    run.close(text)
    return run


def ndtiff(dice: random.Random) -> Run:
    """A plane, then its entry in the index; the last plane's link and the size of the file when all is over."""
    run, name, index = Run("ndtiff"), "run_NDTiffStack.tif", "NDTiff.index"
    summary = b'{"PixelType": "GRAY8"}'
    at, ahead = 28 + len(summary), dice.random() < 0.5
    if ahead:
        run.resize(name, _AHEAD)
    head = struct.pack("<4sI5I", b"II*\0", at, 483729, 3, 0, 2355492, len(summary))
    run.patch(name, 0, head + summary)
    link = 4
    for t in range(dice.randint(1, 4)):
        text = b'{"Exposure": 10}'
        # What follows the pixels: the text of the plane.
        pixels = noise(dice)
        length = len(one_page(at, [(51123, 2, text)], pixels)[0])
        piece, link = one_page(at, [(51123, 2, text)], pixels, at + length)
        cut = dice.randrange(1, length)
        run.patch(name, at, piece[:cut])
        run.patch(name, at + cut, piece[cut:])
        axes, place = json.dumps({"time": t}).encode(), at + length - len(pixels)
        entry = struct.pack("<I", len(axes)) + axes + struct.pack("<I", len(name)) + name.encode()
        entry += struct.pack("<8I", place, SIDE, SIDE, 0, 0, place - len(text), len(text), 0)
        run.flow(index, entry, dice)
        at += length
    run.ops.append(Op(name, bytes(4), link, size=at))
    run.close(name)
    run.close(index)
    return run
