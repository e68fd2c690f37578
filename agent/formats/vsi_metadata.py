"""What the tags of an Olympus .vsi and its pixel files say, as OME."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.formats import binary, ome_build, tiff_layout, vsi_tags
from agent.formats.guarded import attempt
from agent.formats.jsonable import Json, jsonable
from agent.formats.parts import Parts, given, number, positive
from agent.formats.port import Dataset, Metadata
from agent.formats.vsi import Ets, ets, externals

if TYPE_CHECKING:
    from ome_types import OME
    from ome_types.model import Image

_MAG, _NA, _OBJECTIVE, _INDEX = 120060, 120061, 120063, 120079
_STACK, _SCALE, _BOUNDARY = 2030, 2019, 2053
_CHANNEL, _MEANING, _INCREMENT, _VALUE = 2419, 2023, 2013, 268435458
_PRODUCT, _VERSION = 34, 35
_PIXELS = {1: "int8", 2: "uint8", 3: "int16", 4: "uint16", 5: "int32", 6: "uint32", 9: "float", 10: "double"}
_AXES = {1: "z", 2: "t", 4: "c"}
_KEPT = 20_000
_MAX_PREVIEWS = 50
_PREVIEW = (271, 272, 306)


def read(dataset: Dataset, pixels: list[Path]) -> Metadata:
    """Raises TroubleError and what odd content raises."""
    with binary.opened(dataset.main) as file:
        root = vsi_tags.read(file)
    images = externals(root)
    ome, errors = attempt(dataset.main, lambda: _ome(dataset, images, pixels))
    name, version = root.first(_PRODUCT), root.first(_VERSION)
    software = {str(name): str(version or "")} if name else {}
    count = [0]
    rest: dict[str, Any] = {"tags": _tree(root, count), "preview": _preview(dataset.main)}
    notes = []
    if count[0] > _KEPT:
        notes.append(f"only the first {_KEPT} tags are repeated here")
    if len(pixels) != len(images):
        notes.append("the pixel files are not all there: the sizes of the images are not known")
    return Metadata(ome, software, {"vsi": rest}, errors, tuple(notes))


def _tree(node: vsi_tags.Node, count: list[int]) -> list[Json]:
    found: list[Json] = []
    for one in node.children:
        count[0] += 1
        if count[0] > _KEPT:
            return found
        inner = _tree(one, count) if one.children else jsonable(one.value)
        found.append({"tag": one.tag, **({"part": one.second} if one.second is not None else {}), "value": inner})
    return found


def _preview(path: Path) -> dict[str, Json]:
    """What the TIFF part says."""
    found = tiff_layout.layout(path)
    names = dict(zip(_PREVIEW, ("Make", "Model", "DateTime"), strict=True))
    said: dict[str, Json] = {
        name: text for code, name in names.items() if (text := tiff_layout.text(path, found, code, 4096))
    }
    return said | {"images": found.ifds}


def _ome(dataset: Dataset, images: list[vsi_tags.Node], pixels: list[Path]) -> OME:
    parts = Parts()
    settings = [_objective(parts, image) for image in images]
    made: list[Image] = []
    if len(pixels) == len(images):
        for image, path, objective in zip(images, pixels, settings, strict=True):
            with binary.opened(path) as file:
                one = _image(len(made), dataset.main.stem, image, ets(file), parts)
            one.objective_settings = objective
            made.append(one)
    preview = _preview(dataset.main)
    parts.detector(model=preview.get("Model"), manufacturer=preview.get("Make"))
    previews, _ = attempt(dataset.main, lambda: _previews(dataset.main, len(made)))
    return parts.ome([*made, *(previews or [])])


def _previews(path: Path, first: int) -> list[Image]:
    """The small images in the document itself: overview, label, thumbnails."""
    import tifffile

    found: list[Image] = []
    with tifffile.TiffFile(path) as tiff:
        for number, page in enumerate(tiff.pages[:_MAX_PREVIEWS]):
            full = page.aspage()
            kind = ome_build.pixel_type(str(full.dtype))
            if kind is not None:
                sizes = {"x": full.imagewidth, "y": full.imagelength}
                name = f"{path.stem}, preview {number + 1}"
                found.append(ome_build.image(first + len(found), name, sizes, kind, samples=int(full.samplesperpixel)))
    return found


def _objective(parts: Parts, image: vsi_tags.Node) -> Any:
    """Its name, aperture and magnification stand together in one branch of the tags."""
    for node in _branches(image):
        said = {one.tag: one.value for one in node.children if one.value is not None}
        name = said.get(_OBJECTIVE)
        if isinstance(name, str) and name and positive(said.get(_NA)) and positive(said.get(_MAG)):
            return parts.objective(
                model=name,
                lens_na=positive(said.get(_NA)),
                nominal_magnification=positive(said.get(_MAG)),
                refractive_index=positive(said.get(_INDEX)),
            )
    return None


def _branches(node: vsi_tags.Node) -> list[vsi_tags.Node]:
    found = [node] if node.children else []
    for one in node.children:
        found += _branches(one)
    return found


def _image(index: int, document: str, image: vsi_tags.Node, found: Ets, parts: Parts) -> Image:
    kind = _PIXELS.get(found.pixels)
    frame = next(one for one in image.children if one.tag == vsi_tags.FRAME)
    box = frame.first(_BOUNDARY)
    if kind is None or not isinstance(box, list):
        raise ValueError("the tags do not say the size of the image")
    sizes = {"x": box[2] - box[0], "y": box[3] - box[1]} | _dimensions(image, found)
    steps: dict[str, tuple[float, str]] = {}
    scale = next((one.value for one in image.find(_SCALE) if isinstance(one.value, list)), None)
    if isinstance(scale, list):
        steps = {axis: (value, "µm") for axis, value in zip("xy", scale, strict=False) if positive(value)}
    increment = next((number(one.first(_VALUE)) for one in image.find(_INCREMENT)), None)
    if increment and sizes.get("z", 1) > 1:
        steps["z"] = (abs(increment), "µm")
    names = [one.value for one in image.find(_CHANNEL) if isinstance(one.value, str)]
    names = list(dict.fromkeys(names))
    channels = [given(name=name) for name in names] if len(names) == sizes.get("c", 1) else []
    label = next((str(one.value) for one in image.children if one.tag == _STACK and isinstance(one.value, str)), None)
    label = label or next((str(one.value) for one in frame.find(_STACK) if isinstance(one.value, str)), None)
    return ome_build.image(
        index,
        ", ".join(filter(None, (document, label))),
        sizes,
        kind,
        steps=steps,
        channels=channels,
        samples=max(found.samples, 1),
    )


def _dimensions(image: vsi_tags.Node, found: Ets) -> dict[str, int]:
    """Sizes along z, c and t: the tags say which dimension of the pixel file means what."""
    sizes: dict[str, int] = {}
    middle = found.counts[2:-1]
    meanings = {}
    for node in image.find(vsi_tags.DIMENSION):
        meaning = node.first(_MEANING)
        if node.second is not None and meaning in _AXES and isinstance(meaning, int):
            meanings[node.second] = _AXES[meaning]
    for place, count in enumerate(middle):
        axis = meanings.get(place)
        if axis is not None:
            sizes[axis] = max(count, 1)
        elif count > 1:
            raise ValueError("the tags do not say what a dimension of the pixel file means")
    return sizes
