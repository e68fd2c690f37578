"""The files of a Miniscope recording: JSON, times as CSV, AVI with an index."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from agent.formats import binary, ome_build
from agent.formats.jsonable import Json
from agent.formats.local_dates import with_zone
from agent.formats.members import plain
from agent.formats.ome_xml import MAX_PLANES
from agent.formats.parts import Parts, date, given, number, plane
from agent.formats.port import Metadata, Wholeness
from agent.formats.tiff_layout import TroubleError

JSON, TIMES = "metaData.json", "timeStamps.csv"
_MAX_TEXT = 64 << 20
_MAX_MOVIES = 100_000


@dataclass(frozen=True, slots=True)
class Avi:
    """Frames and size of a movie, its codec by four letters."""

    frames: int
    width: int
    height: int
    codec: str


def _json(path: Path) -> dict[str, Any]:
    """An object; empty while it cannot be read."""
    raw = binary.head(path, 1 << 20)
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def top_of(path: Path) -> Path | None:
    """The folder of the recording that a file belongs to; None for every other file."""
    if path.name not in (JSON, TIMES, "notes.csv", "headOrientation.csv") and path.suffix.lower() != ".avi":
        return None
    for folder in (path.parent, path.parent.parent):
        said = _json(folder / JSON)
        if ("miniscopes" in said or "cameras" in said) and (
            folder == path.parent or path.parent.name in cameras(folder)
        ):
            return folder
    return None


def belongs(path: Path) -> bool:
    """True for a file of the recording itself, not of a camera."""
    return path.name == JSON or path.suffix.lower() in (".csv", ".avi")


def cameras(top: Path) -> list[str]:
    """Folder names of the devices; the program writes a blank as an underscore."""
    said = _json(top / JSON)
    lists = [said.get(key) for key in ("miniscopes", "cameras")]
    names = [one for some in lists if isinstance(some, list) for one in some if isinstance(one, str)]
    folders = [name.replace(" ", "_") for name in names]
    return [name for name in dict.fromkeys(folders) if plain(name)]


def movies(folder: Path) -> list[Path]:
    """The movies of a device in order; none where it has no folder."""
    if not folder.is_dir():
        return []
    found = [one for one in folder.iterdir() if one.suffix.lower() == ".avi" and one.stem.isdecimal() and one.is_file()]
    return sorted(found, key=lambda one: int(one.stem))[:_MAX_MOVIES]


def times(folder: Path) -> list[int]:
    """Milliseconds of every frame since the recording began."""
    found: list[int] = []
    with (folder / TIMES).open("rb") as file:
        raw = file.read(_MAX_TEXT)
    # A line that is still being written has no end.
    for line in raw.split(b"\n")[1:-1]:
        cells = line.split(b",")
        if len(cells) >= 2 and (value := number(cells[1].decode("latin-1").strip())) is not None:
            found.append(int(value))
    return found


def is_over(folder: Path) -> bool:
    """True when the last movie was closed before it was full: only the end of a recording does that."""
    full = number(_json(folder / JSON).get("framesPerFile"))
    return bool(full) and avi(movies(folder)[-1]).frames < (full or 0)


def avi(path: Path) -> Avi:
    """Raises TroubleError: growing while the movie is not closed."""
    with binary.opened(path) as file:
        riff, size, kind = struct.unpack("<4sI4s", file.read(0, 12, "the movie's header"))
        if riff != b"RIFF" or kind != b"AVI ":
            raise TroubleError(Wholeness.DAMAGED, f"{path.name} does not begin as a movie does")
        if size == 0 or size + 8 > file.size:
            raise TroubleError(
                Wholeness.GROWING, f"{path.name} is not closed: {size + 8} bytes announced, {file.size} there"
            )
        raw = file.read(24, 8 + 40, "the movie's header")
        if raw[:4] != b"avih":
            raise TroubleError(Wholeness.DAMAGED, f"{path.name} has no movie header")
        (frames,) = struct.unpack_from("<I", raw, 8 + 16)
        width, height = struct.unpack_from("<2I", raw, 8 + 32)
        stream = file.read(0x58, min(64, file.size - 0x58), "the movie's header")
        at = stream.find(b"vids")
        codec = stream[at + 4 : at + 8].decode("latin-1").strip("\0 ") if at >= 0 else ""
    if not frames:
        raise TroubleError(Wholeness.GROWING, f"{path.name} has no frames yet")
    return Avi(frames, width, height, codec)


def read(top: Path) -> Metadata:
    """The metadata: one image a device, the Miniscopes first."""
    parts = Parts()
    said = _json(top / JSON)
    rest: dict[str, Json] = {JSON: said}
    errors: list[str] = []
    images: list[Any] = []
    began = _when(said.get("recordingStartTime"))
    for name in cameras(top):
        device = _json(top / name / JSON)
        rest[f"{name}/{JSON}"] = device
        try:
            made = [avi(movie) for movie in movies(top / name)]
            at = times(top / name)
        except (TroubleError, FileNotFoundError) as error:
            errors.append(f"{name}: {error}")
            continue
        if made:
            images.append(_image(len(images), name, made, at, device, began, parts))
            rest[f"{name}/codec"] = made[0].codec
    note = "the movies are compressed: the pixel type is that of their frames, 8 bits"
    operator = str(said.get("researcherName") or "") or None
    ome = parts.ome(images, operator) if images else None
    return Metadata(ome, {}, rest, tuple(errors), (note,))


def _when(said: Any) -> datetime | None:
    """Milliseconds since 1970, in the zone that the local date beside them proves."""
    stamp = number(said.get("msecSinceEpoch")) if isinstance(said, dict) else None
    if not stamp or not 0 < stamp < 4e12:
        return None
    utc = datetime.fromtimestamp(stamp / 1000, tz=UTC)
    text = "-".join(str(said.get(key)) for key in ("year", "month", "day", "hour", "minute", "second"))
    return with_zone(date(text, "%Y-%m-%d-%H-%M-%S"), utc) or utc


def _image(
    index: int, name: str, made: list[Avi], at: list[int], device: dict[str, Any], began: datetime | None, parts: Parts
) -> Any:
    camera = parts.detector(model=device.get("deviceType"), serial_number=None)
    # A gray movie is kept in three equal colours by every codec but GREY.
    samples = 1 if made[0].codec in ("GREY", "Y800", "Y8") else 3
    planes = (
        [plane(0, 0, t, delta_s=ms / 1000) for t, ms in enumerate(at[:MAX_PLANES])] if len(at) <= MAX_PLANES else []
    )
    sizes = {"x": made[0].width, "y": made[0].height, "t": sum(one.frames for one in made)}
    channel = given(name=device.get("deviceName"), detector_settings=camera)
    return ome_build.image(
        index, name, sizes, "uint8", channels=[channel], samples=samples, planes=planes, date=began
    )  # fmt: skip
