"""MetaMorph and VisiView acquisitions: an .nd text that names a stack or image by wave, position and time point."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.formats import binary, many, metamorph_stk, metamorph_tags, ome_build
from agent.formats.guarded import attempt, guarded
from agent.formats.parts import Parts, date, positive
from agent.formats.places import name_in, placed
from agent.formats.port import Dataset, Metadata, Place, Verdict

if TYPE_CHECKING:
    from ome_types import OME

_ENDINGS = (".stk", ".tif", ".tiff")
_MAX_NAME = 255
_MAX_EXPECTED = 200_000
_MAX_TEXT = 4 << 20
_MAX_LISTED = 5000


@dataclass(slots=True)
class Text:
    """The lines of an .nd file; `ended` when it has its last one."""

    values: dict[str, list[str]] = field(default_factory=dict)
    ended: bool = False

    def one(self, key: str, default: str = "") -> str:
        return (self.values.get(key) or [default])[0]

    def yes(self, key: str) -> bool:
        return self.one(key).upper() == "TRUE"

    def count(self, key: str) -> int:
        text = self.one(key)
        return int(text) if text.isdecimal() and len(text) < 6 and int(text) > 0 else 1


def text(path: Path) -> Text:
    """Key, comma, values: strings in quotation marks."""
    found = Text()
    for line in binary.head(path, _MAX_TEXT).decode("utf-8", "replace").splitlines():
        words = [word.strip() for word in re.findall(r'"[^"]*"|[^,]+', line)]
        words = [word.strip('"') for word in words if word]
        if words and words[0] == "EndFile":
            found.ended = True
        elif len(words) > 1:
            found.values.setdefault(words[0], words[1:])
    return found


@dataclass(frozen=True, slots=True)
class Member:
    """Where a file belongs; 1 where the run has no such axis."""

    name: str
    wave: int
    stage: int
    time: int


def expected(base: str, said: Text) -> list[Member]:
    """Every file that the text announces, without its ending. ValueError for more, or other, than there can be."""
    waves = range(1, said.count("NWavelengths") + 1) if said.yes("DoWave") else [0]
    stages = range(1, said.count("NStagePositions") + 1) if said.yes("DoStage") else [0]
    times = range(1, said.count("NTimePoints") + 1) if said.yes("DoTimelapse") else [0]
    if len(waves) * len(stages) * len(times) > _MAX_EXPECTED:
        raise ValueError(f"{base}.nd announces {len(waves) * len(stages) * len(times)} files")
    found = []
    for wave in waves:
        label = said.one(f"WaveName{wave}") if said.yes("WaveInFileName") else ""
        if len(label) > _MAX_NAME:
            raise ValueError(f"{base}.nd gives wave {wave} a name that is longer than a file's name may be")
        taken = {int(one) for one in said.values.get(f"WavePointsCollected{wave}", ()) if one.isdecimal()}
        for stage in stages:
            for time in times:
                if taken and time and time not in taken:
                    continue
                name = base + (f"_w{wave}{label}" if wave else "")
                name += (f"_s{stage}" if stage else "") + (f"_t{time}" if time else "")
                found.append(Member(name, max(wave, 1), max(stage, 1), max(time, 1)))
    return found


class MetaMorphNd:
    """An acquisition with its index."""

    name = "metamorph-nd"

    def matches(self, path: Path) -> bool:
        if path.suffix.lower() == ".nd":
            start = binary.head(path, 64)
            return b"NDInfoFile" in start or (b'"NDInfoFile"'.startswith(start) and path.is_file())
        if path.suffix.lower() in _ENDINGS:
            return _index_of(path) is not None
        return False

    def dataset(self, path: Path) -> Dataset:
        index = path if path.suffix.lower() == ".nd" else (_index_of(path) or path)
        folder = index.parent
        there = {one.name.lower(): one for one in folder.iterdir() if one.suffix.lower() in _ENDINGS and one.is_file()}
        files, missing = {index}, []
        said = text(index)
        for member in _expected_or_none(index, said):
            found = next((there[name] for end in _ENDINGS if (name := (member.name + end).lower()) in there), None)
            if found is not None:
                files.add(found)
            else:
                missing.append(member.name + (".stk" if said.yes(f"WaveDoZ{member.wave}") else ".tif"))
        return Dataset(self.name, index, folder, tuple(sorted(files)), tuple(missing))

    def is_whole(self, dataset: Dataset) -> Verdict:
        said = text(dataset.main)
        if not said.ended:
            return binary.growing(f"{dataset.main.name} has no EndFile line yet")
        try:
            expected(dataset.main.stem, said)
        except ValueError as error:
            return binary.damaged(str(error))
        late = many.missing_verdict(dataset.missing, len(dataset.files))
        found = late or many.worst(many.tiffs(dataset.files), metamorph_stk.stack_verdict)
        return found or binary.whole(f"the index ends with EndFile and all {len(dataset.files) - 1} files are there")

    def planes_on_disk(self, dataset: Dataset) -> int | None:
        """Planes of all stacks and images."""
        return sum(metamorph_stk.stack_planes(path)[1] for path in many.tiffs(dataset.files))

    def metadata(self, dataset: Dataset) -> Metadata:
        return guarded(dataset.main, lambda: _read(dataset))


def _expected_or_none(index: Path, said: Text) -> list[Member]:
    try:
        return expected(index.stem, said)
    except ValueError:
        return []


def _index_of(path: Path) -> Path | None:
    """The .nd beside a stack or image whose name the stack's name begins with."""
    found = re.match(r"(.+?)((?:_w\d+.*?)?(?:_s\d+)?(?:_t\d+)?)$", path.stem)
    if not found or not found[2]:
        return None
    stems = [path.stem[: match.start()] for match in re.finditer(r"_(?:w|s|t)\d+", path.stem)]
    for stem in dict.fromkeys(stems):
        for ending in (".nd", ".ND"):
            index = path.with_name(stem + ending)
            if stem and index.is_file():
                return index
    return None


def _read(dataset: Dataset) -> Metadata:
    said = text(dataset.main)
    first = next(iter(many.tiffs(dataset.files)), None)
    rest: dict[str, Any] = {"nd": {key: value[0] if len(value) == 1 else value for key, value in said.values.items()}}
    notes = []
    ome: OME | None = None
    errors: tuple[str, ...] = ()
    software: dict[str, str] = {}
    if first is None:
        notes.append("no image is there: their size and pixel type are not known")
    else:
        image, errors = attempt(first, lambda: metamorph_stk.said_of(first))
        if image is not None:
            rest["first_image"], software = image.rest, image.software
            ome, more = attempt(dataset.main, lambda: _ome(dataset, said, image))
            errors += more
    found = Metadata(ome, software, {"metamorph": rest}, errors, tuple(notes))
    return placed(found, dataset, _places(dataset, said))


def _places(dataset: Dataset, said: Text) -> Iterator[Place]:
    """Of runs of single images; the planes of a stack follow each other behind one directory."""
    if any(path.suffix.lower() == ".stk" for path in dataset.files):
        return
    there = {path.name.lower(): path for path in dataset.files}
    for one in _expected_or_none(dataset.main, said):
        path = next((there[name] for end in (".tif", ".tiff") if (name := (one.name + end).lower()) in there), None)
        if path is not None:
            yield Place(f"Image:{one.stage - 1}", name_in(dataset, path), 0, one.wave - 1, one.time - 1)


def _ome(dataset: Dataset, said: Text, first: metamorph_tags.Said) -> OME:
    parts = Parts()
    channels = []
    for wave in (n + 1 for n in ome_build.channel_range(said.count("NWavelengths") if said.yes("DoWave") else 1)):
        fields = metamorph_tags.channel(parts, first, said.one(f"WaveName{wave}"))
        if wave > 1:
            fields.pop("emission_wavelength", None)
        channels.append(fields)
    sizes = {
        "x": first.width,
        "y": first.height,
        "c": len(channels),
        "z": said.count("NZSteps") if said.yes("DoZSeries") else 1,
        "t": said.count("NTimePoints") if said.yes("DoTimelapse") else 1,
    }
    steps = dict(first.step)
    step = positive(said.one("ZStepSize"))
    if step and sizes["z"] > 1:
        # The dialogue of the software gives the step in micrometres, whatever else is calibrated.
        steps["z"] = (step, "µm")
    began = date(said.one("StartTime1"), "%Y%m%d %H:%M:%S.%f", "%Y%m%d %H:%M:%S")
    images = []
    positions = said.count("NStagePositions") if said.yes("DoStage") else 1
    if positions * len(channels) > _MAX_LISTED:
        raise ValueError(f"{positions} positions of {len(channels)} channels are too many to be listed")
    for stage in range(1, positions + 1):
        label = said.one(f"Stage{stage}", f"position {stage}") if said.yes("DoStage") else ""
        name = ", ".join(filter(None, (dataset.main.stem, label)))
        images.append(
            ome_build.image(
                stage - 1, name, sizes, first.kind, steps=steps, channels=channels, samples=first.samples, date=began
            )
        )
    for image in images:
        image.objective_settings = metamorph_tags.objective(parts, first)
    return parts.ome(images)
