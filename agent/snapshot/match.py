"""Brings together what run, files and profile say of the same component or the same image."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from agent.contract.record import Captured, Component
from agent.snapshot import flat
from agent.snapshot.channels import Run
from agent.snapshot.filed import Filed, is_tiff
from agent.snapshot.hardware import Mounted
from agent.snapshot.model import Block, Image, Planes
from agent.snapshot.values import merged, same

if TYPE_CHECKING:
    from ome_types import OME


def matched_components(
    found: list[Mounted], filed: Filed, conflicts: list[str]
) -> tuple[list[Component], dict[str, str]]:
    """All components once, and the new id of each that goes by the file's id.

    A component of the file is the profile's when its name (model, serial number or id) is the profile's model,
    label, device or serial number, or when there is just one of the kind on both sides.
    """
    components: list[Component] = []
    renamed: dict[str, str] = {}
    rest = [item.component for item in found]
    for own in filed.components:
        twin = _twin(own, rest, filed.components)
        if twin is None:
            components.append(own)
            continue
        rest.remove(twin)
        renamed[twin.id] = own.id
        values = merged(own.attributes, twin.attributes, f"{own.kind} {twin.label or own.id}", conflicts)
        components.append(Component(id=own.id, kind=own.kind, device=twin.device, label=twin.label, attributes=values))
    taken = {component.id for component in components}
    return components + [component for component in rest if component.id not in taken], renamed


def _twin(own: Component, rest: list[Component], filed: list[Component]) -> Component | None:
    kind = [one for one in rest if one.kind == own.kind]
    named = [one for one in kind if _names(own, file=True) & _names(one, file=False)]
    if named:
        return named[0]
    alone = len(kind) == 1 and sum(one.kind == own.kind for one in filed) == 1
    return kind[0] if alone and not _contradicts(own.attributes, kind[0].attributes) else None


def _contradicts(own: dict[str, Captured], other: dict[str, Captured]) -> bool:
    """Two serial numbers or models are two parts, not one with a conflict."""
    pairs = ((own.get(key), other.get(key)) for key in ("SerialNumber", "Model"))
    return any(a is not None and b is not None and not same(a.value, b.value) for a, b in pairs)


def _names(component: Component, *, file: bool) -> set[str]:
    values = [component.attributes.get(key) for key in ("Model", "SerialNumber")]
    found = [str(value.value) for value in values if value is not None]
    found += [component.id] if file else [component.device or "", component.label or ""]
    return {name.casefold() for name in found if name.strip()}


def in_run_order(said: OME | None, run: Run) -> OME | None:
    """The files' images in the order of the run's positions, where the names of all of them agree.

    Zarr folders sort in other ways than positions were visited; the last part of an image's path is its name.
    """
    if said is None or len(said.images) != len(run.images):
        return said
    places = {image.name: place for place, image in enumerate(run.images)}
    leaves = [(image.name or "").rpartition("/")[2] for image in said.images]
    if set(leaves) != set(places) or len(set(leaves)) != len(leaves):
        return said
    order = sorted(range(len(leaves)), key=lambda number: places[leaves[number]])
    return said.model_copy(update={"images": [said.images[number] for number in order]})


def matched_images(run: Run, filed: Filed, *, hooked: bool) -> tuple[list[Image], list[str]]:
    """The images: sizes and addresses from the files, planes, names and channels from the run where it has them."""
    if not filed.images or not run.images:
        return (filed.images or run.images), []
    if flat.is_row(run, filed.images):
        restored, note = flat.restored(run, filed.images[0])
        return restored, [note]
    pairs, notes = _pairs(run.images, filed.images)
    images = []
    for image in filed.images:
        mine = pairs.get(id(image))
        if mine is None:
            # Its channels are the file's own, which the snapshot lists no more.
            images.append(replace(image, channels=()) if hooked else image)
            continue
        planes, dropped = _inside(mine.planes, image)
        if dropped:
            notes.append(f"{mine.name}: {dropped} frames of the run have no place in the files")
        images.append(
            replace(
                image,
                name=mine.name,
                z_step_um=image.z_step_um or mine.z_step_um,
                t_step_s=image.t_step_s or mine.t_step_s,
                stage=mine.stage,
                channels=mine.channels[: image.size[3] // max(image.samples, 1)],
                objective=mine.objective or image.objective,
                planes=image.planes if image.keeps_planes else planes,
            )
        )
    return images, notes


def _pairs(mine: list[Image], theirs: list[Image]) -> tuple[dict[int, Image], list[str]]:
    if len(mine) == len(theirs):
        return {id(b): a for a, b in zip(mine, theirs, strict=True)}, []
    names = {image.name: image for image in mine}
    pairs = {id(image): names[image.name] for image in theirs if image.name in names}
    return pairs, [f"the run has {len(mine)} positions, the files have {len(theirs)} images"]


def _inside(planes: Planes, image: Image) -> tuple[Planes, int]:
    """The planes that lie inside the image's size, and how many do not."""
    z, c, t = image.size[2], image.size[3] // max(image.samples, 1), image.size[4]
    if not len(planes) or (max(planes.the_z) < z and max(planes.the_c) < c and max(planes.the_t) < t):
        return planes, 0
    rows = [
        row for row in range(len(planes)) if planes.the_z[row] < z and planes.the_c[row] < c and planes.the_t[row] < t
    ]
    return planes.rows(rows), len(planes) - len(rows)


def addressed(images: list[Image], names: Sequence[str]) -> list[Image]:
    """Images of a hooked run whose many plane addresses were not read: its writer makes one file an image."""
    tiffs = sorted((name for name in names if is_tiff(name)), key=_natural)
    if any(image.blocks for image in images) or len(images) != len(tiffs):
        return images
    return [
        replace(image, blocks=(Block(name, None, 0, 0, 0, 0, _plane_count(image)),))
        for image, name in zip(images, tiffs, strict=True)
    ]


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]


def _plane_count(image: Image) -> int:
    """As many as the run took, which are fewer than the image has place for when it was canceled."""
    return len(image.planes) or image.size[2] * (image.size[3] // max(image.samples, 1)) * image.size[4]
