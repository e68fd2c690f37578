"""What an OME-Zarr folder says: its multiscales, its omero channels and ome-writers' frame metadata."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.formats import ome_build, ome_model, ome_xml
from agent.formats.port import Metadata
from agent.formats.zarr_layout import Array, Node, Tree

if TYPE_CHECKING:
    from ome_types import OME
    from ome_types.model import Image

_SECONDS = {"second": 1.0, "millisecond": 1e-3, "microsecond": 1e-6, "minute": 60.0, "hour": 3600.0}
_PLANE = ("delta_t", "exposure_time", "position_x", "position_y", "position_z")
_BIOFORMATS = "OME/METADATA.ome.xml"


def multiscales(node: Node) -> list[list[dict[str, Any]]]:
    """For each multiscale its datasets with a path, first the full size; empty where a group has none."""
    found = []
    for scale in _listed(_ome_part(node).get("multiscales")):
        datasets = [d for d in _listed(scale.get("datasets")) if isinstance(d.get("path"), str)]
        if datasets:
            found.append(datasets)
    return found


def _ome_part(node: Node) -> dict[str, Any]:
    inner = node.attributes.get("ome")
    return inner if isinstance(inner, dict) else node.attributes


def _listed(value: object) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def read(top: Path, found: Tree) -> Metadata:
    """The metadata of all images below `top`."""
    errors = [f"{name}: not complete JSON" for name in found.unreadable]
    software: dict[str, str] = {}
    notes: list[str] = []
    rest = {path or "/": _rest(node) for path, node in found.nodes.items() if _rest(node)}
    ome = None
    try:
        ome = _bioformats(top, found, notes) or _build(top, found, software)
    except ome_xml.UnreadableError as error:
        errors.append(f"{_BIOFORMATS}: {error}")
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        errors.append(f"{top.name}: {str(error).splitlines()[0]}")
    return Metadata(ome, software, rest, tuple(errors), tuple(notes))


def _rest(node: Node) -> dict[str, Any]:
    """Attributes with no place in OME; frame metadata became planes and stays in the file."""
    return {k: v for k, v in node.attributes.items() if k not in ("ome", "ome_writers", "multiscales")}


def _bioformats(top: Path, found: Tree, notes: list[str]) -> OME | None:
    """bioformats2raw keeps the whole OME-XML beside the pixels."""
    if _BIOFORMATS not in found.files:
        return None
    with (top / _BIOFORMATS).open("rb") as file:
        root, _ = ome_xml.document(iter(lambda: file.read(1 << 16), b""))
    ome, left_out = ome_model.to_ome(root)
    notes += left_out
    return ome


def _build(top: Path, found: Tree, software: dict[str, str]) -> OME | None:
    from ome_types import OME

    images: list[Image] = []
    for path in sorted(found.nodes, key=_natural):
        node = found.nodes[path]
        scales = multiscales(node)
        if not scales or "labels" in path.split("/"):
            continue
        full = f"{path}/{scales[0][0]['path']}".lstrip("/")
        target = found.nodes.get(full)
        if target is not None and target.array is not None:
            images.append(_image(len(images), f"{top.name}/{path}".rstrip("/"), node, target.array))
        writers = node.attributes.get("ome_writers")
        if isinstance(writers, dict) and "version" in writers:
            software["ome-writers"] = str(writers["version"])
    return OME(images=images) if images else None


def _natural(path: str) -> list[tuple[int, int, str]]:
    return [(0, int(p), "") if p.isdecimal() else (1, 0, p) for p in path.split("/") if p]


def _image(number: int, name: str, node: Node, array: Array) -> Image:
    scale = _listed(_ome_part(node).get("multiscales"))[0]
    axes, steps = _axes(scale, array)
    sizes = dict(zip(axes, array.shape, strict=False))
    units = {axis.get("name"): axis.get("unit") for axis in _listed(scale.get("axes"))}
    lengths = {
        axis: (steps[axis], unit)
        for axis in "xyz"
        if axis in steps and (unit := ome_build.length_unit(units.get(axis)))
    }
    second = _SECONDS.get(str(units.get("t")))
    label = scale.get("name")
    return ome_build.image(
        number,
        label if isinstance(label, str) and label else name,
        sizes,
        ome_build.pixel_type(array.dtype) or array.dtype,
        steps=lengths,
        increment_s=steps["t"] * second if second and "t" in steps and sizes.get("t", 1) > 1 else None,
        channels=_channels(node),
        planes=_planes(node, axes),
        date=_date(node),
    )


def _axes(scale: dict[str, Any], array: Array) -> tuple[list[str], dict[str, float]]:
    """Names of the axes, slowest first, and the step of each one (a step of nothing is unknown)."""
    axes = [str(axis.get("name")) for axis in _listed(scale.get("axes"))] or list("tczyx")[-len(array.shape) :]
    steps: dict[str, float] = {}
    levels = _listed(scale.get("datasets"))
    for place in (levels[0] if levels else {}, scale):
        for transform in _listed(place.get("coordinateTransformations")):
            values = transform.get("scale")
            if transform.get("type") == "scale" and isinstance(values, list):
                for axis, value in zip(axes, values, strict=False):
                    if isinstance(value, (int, float)) and value > 0:
                        steps[axis] = steps.get(axis, 1.0) * value
    return axes, steps


def _channels(node: Node) -> list[dict[str, Any]]:
    omero = _ome_part(node).get("omero")
    said = _listed(omero.get("channels")) if isinstance(omero, dict) else []
    labels = [channel.get("label") for channel in said]
    return [{"name": label} if isinstance(label, str) and label else {} for label in labels]


def _planes(node: Node, axes: list[str]) -> list[dict[str, Any]]:
    """ome-writers' frame metadata as planes; nothing when there are too many to repeat."""
    writers = node.attributes.get("ome_writers")
    frames = _listed(writers.get("frame_metadata")) if isinstance(writers, dict) else []
    if len(frames) > ome_xml.MAX_PLANES:
        return []
    planes = []
    for frame in frames:
        index = frame.get("storage_index")
        where = dict(zip(axes, index, strict=False)) if isinstance(index, list) else {}
        fields = {key: frame[key] for key in _PLANE if isinstance(frame.get(key), (int, float))}
        planes.append({f"the_{axis}": where.get(axis, 0) for axis in "zct"} | fields)
    return planes


def _date(node: Node) -> str | None:
    """When pymmcore-plus began, from its own summary."""
    plus = node.attributes.get("pymmcore_plus")
    summary = plus.get("summary_metadata") if isinstance(plus, dict) else None
    date = summary.get("datetime") if isinstance(summary, dict) else None
    return date if isinstance(date, str) else None
