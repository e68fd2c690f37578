"""What the tags of an Olympus .vsi and its pixel files say, as OME."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.formats import binary, ome_build, tiff_layout, vsi_tags
from agent.formats.guarded import attempt
from agent.formats.jsonable import Json, jsonable
from agent.formats.ome_xml import MAX_PLANES
from agent.formats.parts import Parts, given, number, plane, positive
from agent.formats.port import Dataset, Metadata
from agent.formats.vsi import Ets, ets, externals

if TYPE_CHECKING:
    from ome_types import OME
    from ome_types.model import Image

_MAG, _NA, _OBJECTIVE, _INDEX = 120060, 120061, 120063, 120079
_STACK, _SCALE, _BOUNDARY = 2030, 2019, 2053
_CHANNEL, _MEANING, _INCREMENT, _VALUE = 2419, 2023, 2013, 268435458
_PRODUCT, _VERSION, _CREATED, _AUTHOR = 34, 35, 14, 15
_LAYER, _WAVELENGTH, _DEVICES, _EXPOSURE, _DEVICE, _MAKER = 2008, 2417, 2043, 100002, 120116, 120133
_YEARS = (6e8, 3e9)
"""Seconds since 1970 of the years 1989 to 2065."""
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
    ome, errors = attempt(dataset.main, lambda: _ome(dataset, root, images, pixels))
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


def _ome(dataset: Dataset, root: vsi_tags.Node, images: list[vsi_tags.Node], pixels: list[Path]) -> OME:
    parts = Parts()
    seconds = number(root.first(_CREATED)) or 0.0
    created = datetime.fromtimestamp(seconds, UTC) if _YEARS[0] < seconds < _YEARS[1] else None
    settings = [_objective(parts, image) for image in images]
    made: list[Image] = []
    if len(pixels) == len(images):
        for image, path, objective in zip(images, pixels, settings, strict=True):
            with binary.opened(path) as file:
                one = _image(len(made), dataset.main.stem, image, ets(file), parts)
            one.objective_settings, one.acquisition_date = objective, created
            made.append(one)
    preview = _preview(dataset.main)
    parts.detector(model=preview.get("Model"), manufacturer=preview.get("Make"))
    previews, _ = attempt(dataset.main, lambda: _previews(dataset.main, len(made)))
    author = root.first(_AUTHOR)
    return parts.ome([*made, *(previews or [])], author if isinstance(author, str) and author else None)


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
    channels, exposures = _channels(image, sizes.get("c", 1), parts)
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
        planes=_planes(sizes, exposures),
    )


def _channels(image: vsi_tags.Node, count: int, parts: Parts) -> tuple[list[dict[str, Any]], list[float | None]]:
    """OME channels and their exposures in seconds; empty where the tags speak of another number of channels.

    Each layer of the channel axis has a branch of its own; an image of one channel has them for the whole frame.
    """
    layers = [one for one in image.find(_LAYER) if isinstance(one.first(_CHANNEL), str)]
    if len(layers) != count and count == 1:
        layers = [image]
    if len(layers) != count:
        names = list(dict.fromkeys(one.value for one in image.find(_CHANNEL) if isinstance(one.value, str)))
        return ([given(name=name) for name in names] if len(names) == count else []), []
    channels, exposures = [], []
    for layer in layers:
        wave = next((number(one.first(_VALUE)) for one in layer.find(_WAVELENGTH)), None)
        name = layer.first(_CHANNEL)
        camera = _camera(layer) or _camera(image)
        channels.append(
            given(
                name=name if isinstance(name, str) else None,
                emission_wavelength=positive(wave),
                detector_settings=parts.detector(**camera) if camera else None,
            )
        )
        micros = positive(layer.first(_EXPOSURE))
        exposures.append(None if micros is None else micros / 1e6)
    return channels, exposures


def _camera(layer: vsi_tags.Node) -> dict[str, Any]:
    """Name and maker of the device that says how long it exposed."""
    for devices in layer.find(_DEVICES):
        for device in devices.children:
            model, maker = device.first(_DEVICE), device.first(_MAKER)
            if device.first(_EXPOSURE) is not None and isinstance(model, str) and model:
                return {"model": model} | ({"manufacturer": maker} if isinstance(maker, str) and maker else {})
    return {}


def _planes(sizes: dict[str, int], exposures: list[float | None]) -> list[dict[str, Any]]:
    """A plane each with its exposure, where one is said and they are not too many."""
    z, c, t = (sizes.get(axis, 1) for axis in "zct")
    if z * c * t > MAX_PLANES or len(exposures) != c or not any(exposures):
        return []
    return [plane(k, i, n, exposure_s=exposures[i]) for n in range(t) for k in range(z) for i in range(c)]


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
