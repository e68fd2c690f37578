"""MetaMorph stacks (.stk) and single MetaMorph or MetaSeries TIFF files.

A stack is a TIFF file with one image file directory, whose UIC2 tag counts the planes that follow each other.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from agent.formats import binary, metamorph_tags, ome_build, ome_xml, tiff_layout
from agent.formats.guarded import attempt, guarded
from agent.formats.metamorph_tags import UIC2, Said
from agent.formats.parts import Parts, plane
from agent.formats.places import in_one_file
from agent.formats.port import Dataset, Metadata, Verdict, Wholeness
from agent.formats.single import alone

if TYPE_CHECKING:
    from ome_types import OME


class MetaMorphStack:
    """A stack."""

    name = "stk"

    def matches(self, path: Path) -> bool:
        try:
            if path.suffix.lower() != ".stk":
                return False
            start = binary.head(path, 4)
            return not start or start in tiff_layout.MAGIC
        except OSError:
            return False

    def dataset(self, path: Path) -> Dataset:
        return alone(self.name, path)

    def is_whole(self, dataset: Dataset) -> Verdict:
        return stack_verdict(dataset.main)

    def planes_on_disk(self, dataset: Dataset) -> int | None:
        """Planes whose pixels lie in the file."""
        return stack_planes(dataset.main)[1]

    def metadata(self, dataset: Dataset) -> Metadata:
        return guarded(dataset.main, lambda: in_one_file(_read(dataset.main), dataset))


class MetaMorphTiff(MetaMorphStack):
    """A single image."""

    name = "metamorph-tif"

    def matches(self, path: Path) -> bool:
        try:
            if path.suffix.lower() not in (".tif", ".tiff"):
                return False
            return metamorph_tags.has_uic(path) or metamorph_tags.is_metaseries(path)
        except OSError:
            return False


def stack_planes(path: Path) -> tuple[int, int]:
    """(planes announced, planes whose pixels lie in the file)."""
    found = tiff_layout.layout(path)
    tag = found.first.get(UIC2)
    announced = found.ifds if tag is None or found.ifds > 1 else tag.values
    if announced == found.ifds or not found.plane_bytes:
        return announced, found.planes
    start = found.plane_end - found.plane_bytes
    return announced, min(announced, max(0, (found.size - start) // found.plane_bytes))


def stack_verdict(path: Path) -> Verdict:
    """Of the chain and of the planes that follow each other behind the first one."""
    found = tiff_layout.layout(path).verdict
    announced, there = stack_planes(path)
    if found.state in (Wholeness.WHOLE, Wholeness.UNKNOWN) and announced > 1:
        if there < announced:
            return binary.growing(f"{path.name}: {there} of {announced} planes of the stack are there")
        return binary.whole(f"all {announced} planes of the stack are there")
    return found


def said_of(path: Path) -> Said:
    """What a file says, whichever way. Raises what odd content raises."""
    return metamorph_tags.metaseries(path) if metamorph_tags.is_metaseries(path) else metamorph_tags.uic(path)


def _read(path: Path) -> Metadata:
    said = said_of(path)
    notes: list[str] = []
    ome, errors = attempt(path, lambda: _ome(path, said, notes))
    return Metadata(ome, said.software, said.rest, errors, tuple(notes))


def _ome(path: Path, said: Said, notes: list[str]) -> OME:
    parts = Parts()
    deep = len(set(said.z)) > 1 or any(said.distances)
    sizes = {
        "x": said.width,
        "y": said.height,
        "c": 1,
        "z": said.planes if deep else 1,
        "t": 1 if deep else said.planes,
    }
    steps = dict(said.step)
    distances = {abs(one) for one in said.distances if one}
    if deep and len(distances) == 1 and "x" in steps:
        steps["z"] = (distances.pop(), steps["x"][1])
    planes = []
    if said.planes <= ome_xml.MAX_PLANES:
        for index in range(said.planes):
            fields = plane(
                index if deep else 0, 0, 0 if deep else index, delta_s=_delta(said, index), exposure_s=said.exposure_s
            )
            planes.append(fields | _stage(said, index))
    else:
        notes.append(f"{said.planes} planes are too many to be repeated here, they stay in the file")
    image = ome_build.image(
        0,
        path.stem,
        sizes,
        said.kind,
        steps=steps,
        channels=[metamorph_tags.channel(parts, said)],
        samples=said.samples,
        planes=planes,
        date=said.times[0] if said.times else None,
    )
    image.objective_settings = metamorph_tags.objective(parts, said)
    return parts.ome([image])


def _delta(said: Said, index: int) -> float | None:
    return (said.times[index] - said.times[0]).total_seconds() if index < len(said.times) else None


def _stage(said: Said, index: int) -> dict[str, float]:
    """MetaMorph does not say the unit of the stage: OME's reference frame has none either."""
    fields: dict[str, float] = {}
    if index < len(said.stage):
        x, y = said.stage[index]
        fields |= {k: v for k, v in (("position_x", x), ("position_y", y)) if v is not None}
    if index < len(said.z) and said.z[index] is not None:
        fields["position_z"] = said.z[index] or 0.0
    return fields
