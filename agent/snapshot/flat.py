"""Files that list the frames of a run in one row: how ome-writers stores what is no full grid of positions and axes.

Sub-sequences of positions, channels that skip times or stacks: the file is one image of as many times as there are
frames. Where planes can be addressed, in TIFF, the run's own images are laid over the row; elsewhere each plane of the
row says to which channel and position it belongs.
"""

from __future__ import annotations

from array import array
from dataclasses import replace

from agent.snapshot.channels import Run
from agent.snapshot.model import Block, Image, Planes

Place = tuple[int, int]
"""(image of the run, row of its planes)"""


def is_row(run: Run, images: list[Image]) -> bool:
    """Is there one image, whose times are the frames of a run that has more axes?"""
    if len(images) != 1:
        return False
    size, samples = images[0].size, max(images[0].samples, 1)
    frames = sum(len(image.planes) for image in run.images)
    shapes = [(one.size[2], one.size[3] // max(one.samples, 1), one.size[4]) for one in run.images]
    return (size[2], size[3] // samples, size[4]) == (1, 1, frames) and shapes != [(1, 1, frames)]


def restored(run: Run, row: Image) -> tuple[list[Image], str]:
    """The images of the document, and a note that says why they are other than the file's."""
    order = _arrival(run)
    addresses = _addresses(row)
    if len(addresses) == len(order):
        images = [_image(one, number, row, order, addresses) for number, one in enumerate(run.images)]
        return images, "the files list all frames in one row: the document gives each its position, channel and axes"
    return [_one_row(run, row, order)], "the files list all frames in one row: each plane says its channel and position"


def _arrival(run: Run) -> list[Place]:
    """Image and row of every frame, in the order of their arrival."""
    pairs = [(frame, (number, row)) for number, frames in enumerate(run.numbers) for row, frame in enumerate(frames)]
    return [place for _, place in sorted(pairs)]


def _addresses(row: Image) -> list[Block]:
    """The file and directory of each plane of the row; empty where they are not known."""
    found: dict[int, Block] = {}
    for block in row.blocks:
        for more in range(block.count or 1):
            time = (block.first_t or 0) + more
            found[time] = replace(block, ifd=(block.ifd or 0) + more, first_t=time, count=1)
    return [found[time] for time in sorted(found)]


def _image(one: Image, number: int, row: Image, order: list[Place], addresses: list[Block]) -> Image:
    channels = one.size[3] // max(one.samples, 1)
    blocks = []
    for address, (image, plane) in zip(addresses, order, strict=True):
        if image == number:
            place = {axis: getattr(one.planes, f"the_{axis}")[plane] for axis in "zct"}
            blocks.append(replace(address, first_z=place["z"], first_c=place["c"], first_t=place["t"]))
    return replace(
        one,
        size=(row.size[0], row.size[1], one.size[2], channels * max(row.samples, 1), one.size[4]),
        pixel_type=row.pixel_type,
        samples=row.samples,
        order=row.order,
        significant_bits=row.significant_bits,
        blocks=tuple(blocks),
    )


def _one_row(run: Run, row: Image, order: list[Place]) -> Image:
    states: dict[tuple[int, str, int], int] = {}
    said = list(run.plane_states)
    column = array("q")
    for image, plane in order:
        planes = run.images[image].planes
        known = planes.state[plane] if planes.state else -1
        key = (planes.the_c[plane], run.images[image].name, known)
        if key not in states:
            states[key] = len(said)
            about = {"Channel": run.channels[key[0]].name, "Position": key[1]}
            said.append(about | (run.plane_states[known] if known >= 0 else {}))
        column.append(states[key])
    run.plane_states[:] = said

    def floats(name: str) -> array[float]:
        return array("d", [getattr(run.images[image].planes, name)[plane] for image, plane in order])

    count = len(order)
    planes = Planes(
        array("q", bytes(8 * count)), array("q", bytes(8 * count)), array("q", range(count)),
        floats("delta_s"), floats("exposure_s"), floats("x_um"), floats("y_um"), floats("z_um"), state=column,
    )  # fmt: skip
    # The one channel of the row is all of the run's: their settings stand in the record, not on it.
    channels = (0,) if len(run.channels) == 1 else ()
    objective = run.images[0].objective or row.objective
    return replace(row, planes=planes, keeps_planes=False, channels=channels, objective=objective)
