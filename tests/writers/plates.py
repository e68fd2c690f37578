"""Plate readers, screeners and exports: a text and many images, the text first or last."""

from __future__ import annotations

import random
from itertools import product

from tests.writers.run import SIDE, Run, put, tiff

Image = tuple[str, list[tuple[int | None, bytes]]]


def image(name: str, dice: random.Random) -> Image:
    """A TIFF file, its directory before or behind its pixels."""
    return name, tiff(dice, b"", None, dice.random() < 0.5)


def _with_text(run: Run, name: str, text: bytes, images: list[Image], dice: random.Random, last: float = 0.5) -> Run:
    """The text before the images, or behind them as often as `last` says."""
    late = dice.random() < last
    # A text is written by the page: its last lines come at once.
    whole: Image = (name, [(None, text[:-200]), (len(text[:-200]), text[-200:])])
    for one, pieces in [*images, whole] if late else [whole, *images]:
        put(run, one, pieces, dice)
    return run


def operetta(dice: random.Random) -> Run:
    """Harmony: `Index.idx.xml` names every image with its state."""
    run = Run("operetta-phenix")
    names = [f"r01c01f01p{p:02}-ch{c}sk1fk1fl1.tiff" for p in range(1, dice.randint(2, 3)) for c in (1, 2)]
    images = "".join(
        f'<Image Version="1"><id>0101K1F1P{n}</id><State>Ok</State><URL>{name}</URL><Row>1</Row><Col>1</Col>'
        f"<FieldID>1</FieldID><PlaneID>{n // 2 + 1}</PlaneID><TimepointID>0</TimepointID><ChannelID>{n % 2 + 1}"
        f'</ChannelID><ChannelName>dye</ChannelName><ImageResolutionX Unit="m">2.9E-07</ImageResolutionX>'
        f"<ImageSizeX>{SIDE}</ImageSizeX><ImageSizeY>{SIDE}</ImageSizeY>"
        f'<AbsPositionZ Unit="m">0.13</AbsPositionZ><AbsTime>2020-02-03T10:11:12.5+01:00</AbsTime></Image>'
        for n, name in enumerate(names)
    )
    text = (
        '<?xml version="1.0" encoding="utf-8"?><EvaluationInputData xmlns="http://www.perkinelmer.com/PEHH/HarmonyV5">'
        f"<User>u</User><InstrumentType>Phenix</InstrumentType><Images>{images}</Images></EvaluationInputData>"
    )
    return _with_text(
        run, "Images/Index.idx.xml", text.encode(), [image(f"Images/{name}", dice) for name in names], dice
    )


def cellvoyager1000(dice: random.Random) -> Run:
    """Texts at the beginning and one image after the other: nothing says which is the last."""
    run = Run("cellvoyager-cv1000", sure=False)
    for name in ("MeasurementSetting.xml", "MeasurementResult.xml"):
        run.append(name, f'<{name[:-4]} Version="1.0"><Well>1</Well></{name[:-4]}>'.encode(), dice)
        run.close(name)
    for z in range(1, dice.randint(2, 5)):
        put(run, *image(f"Image/W1F001T0001Z{z:02}C1.tif", dice), dice)
    return run


def oif(dice: random.Random) -> Run:
    """FluoView: a text, and a folder with an image and a text for each plane."""
    run = Run("oif")
    sizes = {"X": SIDE, "Y": SIDE, "C": dice.randint(1, 2), "Z": dice.randint(1, 3)}
    text = "".join(
        f'[Axis {n} Parameters Common]\r\nAxisCode="{axis}"\r\nMaxSize={size}\r\nStartPosition=0\r\nEndPosition={size}'
        f'\r\nUnitName="um"\r\nPixUnit="um"\r\n'
        for n, (axis, size) in enumerate(sizes.items())
    )
    text += '[Acquisition Parameters Common]\r\nImageCaputreDate="2010-02-03 04:05:06"\r\n[Version Info]\r\n'
    raw = (text + 'SystemName="FLUOVIEW FV1000"\r\nSystemVersion="4.1"\r\n').encode("utf-16")
    plane = '[Axis 3 Parameters]\r\nAbsPositionUnitName="nm"\r\nAbsPositionValue=100.0\r\n'.encode("utf-16")
    images: list[Image] = []
    for c, z in product(range(1, sizes["C"] + 1), range(1, sizes["Z"] + 1)):
        stem = f"a.oif.files/s_C{c:03}Z{z:03}"
        images += [(f"{stem}.pty", [(None, plane)]), image(f"{stem}.tif", dice)]
    return _with_text(run, "a.oif", raw, images, dice)


def leica_xml(channels: int, depth: int, memory: str = "") -> str:
    """What LAS X says of an image, in a LIF file and beside exported planes."""
    tag = '<ChannelDescription DataType="0" ChannelTag="0" Resolution="8" BytesInc="0"/>'
    axes = "".join(
        f'<DimensionDescription DimID="{n}" NumberOfElements="{size}" Origin="0" Length="1e-4" Unit="m" '
        f'BytesInc="{step}"/>'
        for n, size, step in ((1, SIDE, 1), (2, SIDE, SIDE), (3, depth, SIDE * SIDE))
    )
    return (
        f'<Element Name="scan"><Data><Image><ImageDescription><Channels>{tag * channels}</Channels>'
        f"<Dimensions>{axes}</Dimensions></ImageDescription><TimeStampList>1d2ba8b3a1c0000</TimeStampList></Image>"
        f"</Data>{memory}</Element>"
    )


def leica_export(dice: random.Random) -> Run:
    """LAS X: the text, then an image a plane."""
    run = Run("leica-tif-export")
    channels, depth = dice.randint(1, 2), dice.randint(1, 3)
    images = [image(f"scan_z{z}_ch{c:02}.tif", dice) for z in range(depth) for c in range(channels)]
    return _with_text(
        run, "MetaData/scan.xml", f"<Data>{leica_xml(channels, depth)}</Data>".encode(), images, dice, last=0
    )


def leica_matrix(dice: random.Random) -> Run:
    """The Matrix Screener: field after field, each with a text; nothing says which is the last."""
    run = Run("leica-matrix-ome-tiff", sure=False)
    for x in range(dice.randint(1, 3)):
        field = f"slide--S00/chamber--U00--V00/field--X{x:02}--Y00"
        stem = f"image--L00--S00--U00--V00--J20--E00--O00--X{x:02}--Y00--T00"
        names = [f"{stem}--Z00--C{c:02}.ome.tif" for c in range(2)]
        text = (
            '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2008-09"><Image ID="Image:0">'
            f'<Pixels ID="Pixels:0" PixelType="uint8" SizeX="{SIDE}" SizeY="{SIDE}" SizeZ="1" SizeC="2" SizeT="1">'
            + "".join(
                f'<TiffData FirstC="{c}"><UUID FileName="{n}">urn:uuid:{c}</UUID></TiffData>'
                for c, n in enumerate(names)
            )
            + "</Pixels></Image></OME>"
        ).encode()
        _with_text(
            run, f"{field}/metadata/{stem}.ome.xml", text, [image(f"{field}/{name}", dice) for name in names], dice
        )
    return run


def scanr(dice: random.Random) -> Run:
    """The text names the images beside it."""
    run = Run("scanr")
    names = [f"--W00001--P00001--Z0000{z}--T00000--Dapi.tif" for z in range(dice.randint(1, 4))]
    blocks = "".join(
        f'<TiffData FirstZ="{z}" IFD="0" PlaneCount="1"><UUID FileName="{n}">urn:uuid:{z}</UUID></TiffData>'
        for z, n in enumerate(names)
    )
    text = (
        '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" Creator="scanR 3.0">'
        '<Image ID="Image:0"><Pixels ID="Pixels:0" Type="uint8" DimensionOrder="XYZCT" '
        f'SizeX="{SIDE}" SizeY="{SIDE}" SizeZ="{len(names)}" SizeC="1" SizeT="1"><Channel ID="Channel:0"/>{blocks}'
        "</Pixels></Image></OME>"
    ).encode()
    return _with_text(run, "data/metadata.ome.xml", text, [image(f"data/{name}", dice) for name in names], dice, last=0)


def metamorph_nd(dice: random.Random) -> Run:
    """The index when the run begins, then a stack for each wave and position."""
    run = Run("metamorph-nd")
    waves, stages = dice.randint(1, 2), dice.randint(1, 2)
    lines = ['"NDInfoFile", Version 1.0', '"StartTime1", 20230922 12:33:22.559', '"DoTimelapse", FALSE']
    lines += ['"DoStage", TRUE', f'"NStagePositions", {stages}', '"DoWave", TRUE', f'"NWavelengths", {waves}']
    lines += [f'"WaveName{w}", "Conf{w}"' for w in range(1, waves + 1)]
    lines += ['"WaveInFileName", TRUE', '"EndFile"']
    names = [f"n_w{w}Conf{w}_s{s}.tif" for s in range(1, stages + 1) for w in range(1, waves + 1)]
    return _with_text(run, "n.nd", "\r\n".join(lines).encode(), [image(one, dice) for one in names], dice, last=0)


def cv8000(dice: random.Random) -> Run:
    """CV7000 and later: the records with the images or behind them; the end time when the measurement is over."""
    run, count = Run("cellvoyager"), dice.randint(1, 4)
    names = [f"plate_D08_T0001F001L01A01Z{z:02}C01.tif" for z in range(1, count + 1)]
    space = 'xmlns:bts="http://www.yokogawa.co.jp/BTS/BTSSchema/1.0"'
    head = '<?xml version="1.0" encoding="utf-8"?>\r\n'
    detail = f'{head}<bts:MeasurementDetail {space} bts:BeginTime="2023-09-18T13:58:40" bts:EndTime="{{}}"/>'
    records = "".join(
        f'<bts:MeasurementRecord bts:Time="2023-09-18T13:58:4{z}" bts:Column="8" bts:Row="4" bts:TimePoint="1" '
        f'bts:FieldIndex="1" bts:ZIndex="{z + 1}" bts:Type="IMG" bts:X="0" bts:Y="0" bts:Z="1" bts:Ch="1">{name}'
        "</bts:MeasurementRecord>"
        for z, name in enumerate(names)
    )
    early = dice.random() < 0.5
    if early:
        run.say("MeasurementDetail.mrf", detail.format("").encode())
    data = f"{head}<bts:MeasurementData {space}>{records}</bts:MeasurementData>".encode()
    _with_text(run, "MeasurementData.mlf", data, [image(name, dice) for name in names], dice)
    ended = detail.format("2023-09-18T14:10:00").encode()
    if early:
        run.patch("MeasurementDetail.mrf", 0, ended)
    else:
        run.say("MeasurementDetail.mrf", ended)
    run.close("MeasurementDetail.mrf")
    return run


def metaxpress(dice: random.Random) -> Run:
    """MetaXpress: the text when the plate begins, the images in a folder for each time point."""
    times, sites = dice.randint(1, 2), dice.randint(1, 3)
    lines = ['"HTSInfoFile", Version 1.0', '"Description", ""', f'"TimePoints", {times}', '"XWells", 2', '"YWells", 1']
    lines += ['"WellsSelection1", TRUE, FALSE', '"Sites", TRUE', f'"XSites", {sites}', '"YSites", 1']
    lines += [f'"SiteSelection1", {", ".join(["TRUE"] * sites)}', '"Waves", FALSE', '"EndFile"']
    names = [f"TimePoint_{t}/p_A01_s{s}.tif" for t in range(1, times + 1) for s in range(1, sites + 1)]
    text = "\r\n".join(lines).encode()
    return _with_text(Run("imagexpress"), "p.HTD", text, [image(one, dice) for one in names], dice, last=0)
