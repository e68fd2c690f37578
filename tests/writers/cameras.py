"""Cameras, and the microscopes that look into animals."""

from __future__ import annotations

import json
import random
import struct

from tests.writers.run import SIDE, Run, noise, page, put, tags, tiff


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
    run.append("p.spe", bytes(head) + noise(dice, count) + (xml if third else b""), dice)
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
    run.append("m.isxd", noise(dice, count), dice)
    run.append("m.isxd", text + b"\0" + struct.pack("<Q", len(text)), dice)
    run.close("m.isxd")
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
            index = tags(page(place, len(text), place + len(text) + len(software), extra))
            piece = index + text + software + noise(dice)
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
        put(run, name, pieces, dice)
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
        put(run, f"ChanA_001_001_001_{i:03}.tif", tiff(dice, b"", None, dice.random() < 0.5), dice)
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
            run.append(name, noise(dice), dice)
            run.append("rec/Scope/timeStamps.csv", b"%d,%d,0\n" % (done, done * 30), dice)
            done += 1
        run.patch(name, 4, struct.pack("<I", len(head) + frames * SIDE * SIDE - 8))
        run.patch(name, 48, struct.pack("<I", frames))
        run.close(name)
    run.close("rec/Scope/timeStamps.csv")
    return run
