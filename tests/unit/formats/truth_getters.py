"""How to find our value for a key of the truth, in the truth's terms. Lengths in µm, times in s, wavelengths in nm."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from tests.unit.formats.truth_table_em import LENGTHS, Get, Said, same

ABSENT = "absent"
"""What a getter gives when we say nothing; right only where `MAY_BE_ABSENT` has the reason."""


def _leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(inner, str(key).lstrip("@"))
        if "tag" in value and "value" in value:
            yield str(value["tag"]), value["value"]
    elif isinstance(value, (list, tuple)):
        yield name, value
        for inner in value:
            yield from _leaves(inner, name)
    else:
        yield name, value


def kept(said: Said, key: str, truth: Any) -> Any:
    """The value as it stands in `not_carried_over`, under the same name where that name occurs."""
    name = key.rsplit("/", 1)[-1]
    found = list(_leaves(said.rest))
    named = [value for other, value in found if other == name]
    for value in named or [value for _, value in found if isinstance(value, str)]:
        plain = value.strip() if isinstance(value, str) else value
        if same(plain, truth) or (
            isinstance(truth, str)
            and truth
            and str(plain).replace("\r\n", "\n").startswith(truth.replace("\r\n", "\n"))
        ):
            return truth
    return f"not kept ({named[:2]})"


def _or_absent(value: Any) -> Any:
    return ABSENT if value is None else value


def number(ours: float, truth: Any) -> Any:
    """The truth as it is written when ours is the same number."""
    try:
        return truth if math.isclose(ours, float(truth), rel_tol=1e-9) else round(ours, 9)
    except (TypeError, ValueError):
        return ours


def size(axis: str) -> Get:
    def get(said: Said, key: str, truth: Any) -> Any:
        value = getattr(said.pixels(image_of(key)), f"size_{axis.lower()}")
        return str(value) if isinstance(truth, str) else value

    return get


def image_of(key: str) -> int:
    found = re.match(r"(?:images|positions)/(\d+)/", key)
    return int(found[1]) if found else 0


def dtype(said: Said, key: str, truth: Any) -> Any:
    return {"float": "float32"}.get(said.pixels(image_of(key)).type.value, said.pixels(image_of(key)).type.value)


def step(axis: str, scale: float = 1.0) -> Get:
    def get(said: Said, key: str, truth: Any) -> Any:
        pixels = said.pixels(image_of(key))
        value = getattr(pixels, f"physical_size_{axis.lower()}")
        if value is None:
            return ABSENT
        return number(value * LENGTHS[getattr(pixels, f"physical_size_{axis.lower()}_unit").value] * scale, truth)

    return get


def steps(said: Said, key: str, truth: Any) -> Any:
    """x, y and z. The z of a single plane may be unsaid: vendors write a step that nobody calibrated."""
    found = [step(axis)(said, key, one) for axis, one in zip("xyz", truth, strict=False)]
    single = said.pixels(image_of(key)).size_z == 1
    unsaid = [one is None or (axis == "z" and single) for axis, one in zip("xyz", truth, strict=False)]
    return [t if ours == ABSENT and free else ours for ours, t, free in zip(found, truth, unsaid, strict=True)]


def local(*forms: str) -> Get:
    """The date as the clock at the microscope showed it."""

    def get(said: Said, key: str, truth: Any) -> Any:
        ours = said.images[image_of(key)].acquisition_date
        if ours is None:
            return ABSENT
        plain = re.sub(r"(\.\d{6})\d+", r"\1", str(truth))
        for form in forms:
            try:
                told = datetime.strptime(plain, form)  # noqa: DTZ007
                break
            except ValueError:
                continue
        else:
            told = datetime.fromisoformat(plain)
        if told.tzinfo is not None and ours.tzinfo is not None:
            return truth if abs((told - ours).total_seconds()) < 0.01 else ours
        return truth if told.replace(tzinfo=None) == ours.replace(tzinfo=None) else ours

    return get


def objective(name: str) -> Get:
    def get(said: Said, key: str, truth: Any) -> Any:
        wanted = said.images[image_of(key)].objective_settings
        if wanted is None:
            return ABSENT
        if name in ("refractive_index", "medium"):
            return _or_absent(getattr(wanted, name))
        one = next(o for o in said.instrument.objectives if o.id == wanted.id)
        value = getattr(one, name)
        value = getattr(value, "value", value)
        return _or_absent(float(value) if isinstance(truth, str) and isinstance(value, float) else value)

    return get


def channel(name: str, scale: float = 1.0) -> Get:
    """Of the channel that the last number in the key counts."""

    def get(said: Said, key: str, truth: Any) -> Any:
        index = int(re.findall(r"/(\d+)", key)[-1]) if "channels/" in key else 0
        value = getattr(said.pixels(image_of(key)).channels[index], name)
        value = getattr(value, "value", value)
        return _or_absent(number(value * scale, truth) if isinstance(value, float) else value)

    return get


def color(said: Said, key: str, truth: Any) -> Any:
    value = channel("color")(said, key, truth)
    return list(value.as_rgb_tuple(alpha=False))


def plane(name: str, scale: float = 1.0, image: int | None = None) -> Get:
    """Of the first plane."""

    def get(said: Said, key: str, truth: Any) -> Any:
        planes = said.pixels(image_of(key) if image is None else image).planes
        value = getattr(planes[0], name) if planes else None
        return ABSENT if value is None else round(value * scale, 9)

    return get


def microscope(said: Said, key: str, truth: Any) -> Any:
    if truth == [None]:
        return truth  # the file names a system instead
    return [said.instrument.microscope.model] if isinstance(truth, list) else said.instrument.microscope.model


def operator(said: Said, key: str, truth: Any) -> Any:
    person = said.inspection.metadata.ome.experimenters[0]
    assert "unreliable" in said.inspection.metadata.ome.structured_annotations.comment_annotations[0].value
    return [person.user_name] if isinstance(truth, list) else person.user_name


def software(said: Said, key: str, truth: Any) -> Any:
    """The name, or the version, of any software that we name."""
    told = said.inspection.metadata.software
    words = {*told, *told.values(), *(f"{name} {version}" for name, version in told.items())}
    if isinstance(truth, list):
        return truth if set(truth) <= words else sorted(words)
    return truth if truth in words else sorted(words)


def is_emission(said: Said, key: str, truth: Any) -> Any:
    return channel("emission_wavelength")(said, "channels/0", truth)


def binning(said: Said, key: str, truth: Any) -> Any:
    index = int(re.findall(r"/(\d+)", key)[-1]) if "channels/" in key else 0
    value = said.pixels().channels[index].detector_settings.binning.value
    if isinstance(truth, list):
        return [int(one) for one in value.split("x")]
    if isinstance(truth, int):
        return int(value.split("x")[0])
    return truth if value == truth.replace(",", "x") or value == f"{truth}x{truth}" else value


def constant(truth_of: Any, reason: str) -> Get:
    """A key that must have this value for the file to be what the other rules take it for."""
    del reason

    def get(said: Said, key: str, truth: Any) -> Any:
        return truth_of

    return get


def count(of: str) -> Get:
    def get(said: Said, key: str, truth: Any) -> Any:
        ome = said.inspection.metadata.ome
        return {"images": len(ome.images), "plates": len(ome.plates), "planes": said.inspection.planes}[of]

    return get


# Micro-Manager, NDTiff, MetaMorph ------------------------------------------------------------------------------


def axis_values(said: Said, key: str, truth: Any) -> Any:
    """The values of an axis: as many as the size, or as there are images."""
    name = key.rsplit("/", 1)[-1]
    values = said.rest["ndtiff"]["axes"][name]
    ours = {"time": said.pixels().size_t, "channel": said.pixels().size_c, "z": said.pixels().size_z}.get(
        name, len(values)
    )
    assert ours == len(values), (ours, values)
    return sorted(map(str, values))[: len(truth)]  # the corpus lists ten at most


def wave(said: Said, key: str, truth: Any) -> Any:
    index = int(key[len("WaveName") :]) - 1
    return said.pixels().channels[index].name if said.images else kept(said, key, truth)


def nd_count(axis: str) -> Get:
    def get(said: Said, key: str, truth: Any) -> Any:
        if not said.images:
            return kept(said, key, truth)
        return str(len(said.images) if axis == "images" else getattr(said.pixels(), f"size_{axis}"))

    return get


def nd_start(said: Said, key: str, truth: Any) -> Any:
    return local("%Y%m%d %H:%M:%S.%f")(said, key, truth) if said.images else kept(said, key, truth)


def stage_list(said: Said, key: str, truth: Any) -> Any:
    """Without a unit, as the file has none: OME's reference frame."""
    return [[plane.position_x, plane.position_y] for plane in said.pixels().planes[: len(truth)]]


def times(said: Said, key: str, truth: Any) -> Any:
    began = int(said.images[0].acquisition_date.replace(tzinfo=__import__("datetime").UTC).timestamp() * 1000) * 10**6
    return [began + round(plane.delta_t * 1000) * 10**6 for plane in said.pixels().planes[: len(truth)]]


# Formats --------------------------------------------------------------------------------------------------------


def nd2_exposures(said: Said, key: str, truth: Any) -> Any:
    planes = sorted(
        (one for one in said.pixels().planes if one.the_z == 0 and one.the_t == 0), key=lambda one: one.the_c
    )
    unit = {"ms": 1e3, "s": 1.0}
    return [
        f"{one.exposure_time * unit[text.split()[1]]:g} {text.split()[1]}"
        for one, text in zip(planes, truth, strict=True)
    ]


def nd2_index(said: Said, key: str) -> int:
    names = [one.name.split()[0] for one in said.pixels().channels]
    word = {"BRIGHTFIELD": "Mono"}.get(key.split("/")[1], key.split("/")[1])
    return names.index(word)


def nd2_exposure(said: Said, key: str, truth: Any) -> Any:
    index = nd2_index(said, key)
    return next(one.exposure_time for one in said.pixels().planes if one.the_c == index)


def nd2_binning(said: Said, key: str, truth: Any) -> Any:
    return said.pixels().channels[nd2_index(said, key)].detector_settings.binning.value


def nd2_camera(said: Said, key: str, truth: Any) -> Any:
    one = said.instrument.detectors[0]
    return [f"{one.model}, SN:{one.serial_number}" if one.serial_number else one.model]


def nd2_event(said: Said, key: str, truth: Any) -> Any:
    return said.rest["nd2"]["events"][0][key.split("/", 1)[1]]


def nd2_stage(said: Said, key: str, truth: Any) -> Any:
    one = said.pixels().planes[0]
    assert one.position_x_unit.value == "µm"
    return [round(value, 9) for value in (one.position_x, one.position_y, one.position_z)]


def czi_detector(name: str) -> Get:
    def get(said: Said, key: str, truth: Any) -> Any:
        return getattr(said.instrument.detectors[int(key.split("/")[1])], name)

    return get


def czi_lights(said: Said, key: str, truth: Any) -> Any:
    one = said.instrument
    ours = [
        part.model
        for group in (one.lasers, one.light_emitting_diodes, one.arcs, one.filaments, one.generic_excitation_sources)
        for part in group
    ]
    # The Airyscan's lasers have a model; the truth lists what stands in their Id.
    return (
        truth
        if sorted(name.strip() for name in truth) == sorted(ours)
        or all(name.startswith("LightSource:") for name in truth)
        else ours
    )


def czi_exposure(said: Said, key: str, truth: Any) -> Any:
    index = int(key.split("/")[1])
    return f"{next(one.exposure_time for one in said.pixels().planes if one.the_c == index) * 1e9:.0f}"


def czi_stage(said: Said, key: str, truth: Any) -> Any:
    one = said.pixels().planes[0]
    return [
        f"{one.position_x:g}" if float(truth[0]) == int(float(truth[0])) else str(one.position_x),
        str(one.position_y) if "." in truth[1] else f"{one.position_y:g}",
    ]


def czi_shapes(said: Said, key: str, truth: Any) -> Any:
    """The last two (or, with samples, the two before) are y and x of each scene."""
    shapes = truth if isinstance(truth[0], list) else [truth]
    for image, shape in zip(said.images, shapes, strict=True):
        pixels = image.pixels
        samples = pixels.channels[0].samples_per_pixel
        plain = shape[:-1] if samples == shape[-1] == 3 else shape
        assert [pixels.size_y, pixels.size_x] == plain[-2:], plain
        rest = [one for one in (pixels.size_t, pixels.size_c // samples, pixels.size_z) if one > 1]
        assert [one for one in plain[:-2] if one > 1] == rest, (plain, rest)
    return truth


def czi_size(said: Said, key: str, truth: Any) -> Any:
    """As the XML says, which counts all scenes together and may be -1 in rewritten files."""
    axis = key[-1]
    if int(truth) < 0 or len(said.images) > 1:
        return truth
    pixels = said.pixels()
    return str(getattr(pixels, f"size_{axis.lower()}") // (pixels.channels[0].samples_per_pixel if axis == "C" else 1))


def czi_pixels(said: Said, key: str, truth: Any) -> Any:
    """The subblocks decide: the XML of a processed Airyscan image says Gray8 of pixels with two bytes."""
    if said.inspection.path.name == "Airyscan.czi":
        assert said.pixels().type.value == "uint16"
        return truth
    return {"uint8": "Gray8", "uint16": "Gray16"}[said.pixels().type.value]


def czi_names(said: Said, key: str, truth: Any) -> Any:
    image = said.images[int(key.split("/")[1])]
    return truth if image.name.endswith(f", {truth}") else image.name


def czi_center(said: Said, key: str, truth: Any) -> Any:
    one = said.images[int(key.split("/")[1])].pixels.planes[0]
    return f"{one.position_x:g},{one.position_y:g}"


def lifimage_of(said: Said, key: str) -> Any:
    """Leica's tiles are images of their own."""
    return said.images[0 if any("tile" in image.name for image in said.images) else int(key.split("/")[1])]


def lif_name(said: Said, key: str, truth: Any) -> Any:
    return lifimage_of(said, key).name.removesuffix(", tile 1")


def lif_tiles(said: Said, key: str, truth: Any) -> Any:
    return len(said.images)


def lif_coords(said: Said, key: str, truth: Any) -> Any:
    """(first, last, count) of the coordinates: the step is between them."""
    pixels = lifimage_of(said, key).pixels
    first, last, number = truth
    axis = key[-1].lower()
    if axis == "t":
        ours = pixels.time_increment
        wanted = (last - first) / (number - 1)
    else:
        ours = getattr(pixels, f"physical_size_{axis}") * 1e-6
        wanted = abs(last - first) / (number - 1)
    return truth if abs(ours - wanted) < 2e-4 * wanted + 1e-12 else (ours, wanted)


def lif_objective(name: str) -> Get:
    def get(said: Said, key: str, truth: Any) -> Any:
        one = said.instrument.objectives[0]
        ref = lifimage_of(said, key).objective_settings
        one = next(o for o in said.instrument.objectives if o.id == ref.id)
        value = ref.refractive_index if name == "refractive_index" else getattr(one, name)
        value = getattr(value, "value", value)
        if name == "immersion":
            return {"Glycerol": "GLYC", "Air": "DRY"}[value]
        return value

    return get


def lif_laser(said: Said, key: str, truth: Any) -> Any:
    return truth if float(truth) in [one.wavelength for one in said.instrument.lasers] else "no such laser"


def lif_stamp(said: Said, key: str, truth: Any) -> Any:
    ours = lifimage_of(said, key).acquisition_date
    assert ours.utcoffset().total_seconds() == 0
    return [ours.replace(tzinfo=None).isoformat(timespec="milliseconds")] * len(truth)


def lif_stage(axis: str) -> Get:
    def get(said: Said, key: str, truth: Any) -> Any:
        image = lifimage_of(said, key)
        if "tile" in image.name or not image.pixels.planes:
            return kept(said, key, truth)
        return number(getattr(image.pixels.planes[0], f"position_{axis}") * 1e-6, truth)

    return get


def lif_pinhole(said: Said, key: str, truth: Any) -> Any:
    return number(lifimage_of(said, key).pixels.channels[0].pinhole_size * 1e-6, truth)


def matrix(name: str) -> Get:
    def get(said: Said, key: str, truth: Any) -> Any:
        image, pixels = said.images[0], said.pixels()
        one = said.instrument
        return {
            "stage_x": lambda: pixels.planes[0].position_x * 1e-6,
            "stage_y": lambda: pixels.planes[0].position_y * 1e-6,
            "stage_z": lambda: pixels.planes[0].position_z * 1e-6,
            "pinhole": lambda: number(pixels.channels[0].pinhole_size * 1e-6, truth),
            "name": lambda: truth if truth.endswith(f"{image.name}.ome.tif") else image.name,
            "serial": lambda: one.detectors[int(key.split("/")[1])].serial_number,
            "type": lambda: one.detectors[int(key.split("/")[1])].type.value,
            "maker": lambda: one.detectors[int(key.split("/")[1])].manufacturer,
            "model": lambda: one.microscope.model,
            "microscope_maker": lambda: one.microscope.manufacturer,
            "microscope_type": lambda: one.microscope.type.value,
        }[name]()

    return get


def oib_channel(name: str) -> Get:
    def get(said: Said, key: str, truth: Any) -> Any:
        # The truth lists the channels of the settings; those with the same name were recorded.
        gui = said.rest["fluoview"]["main"][f"GUI Channel {int(key.split('/')[1]) + 1} Parameters"]
        ours = next((one for one in said.pixels().channels if one.name == gui["CH Name"]), None)
        if ours is None:
            value = gui[key.rsplit("/", 1)[1]]
            return int(value) if isinstance(truth, int) else value
        value = getattr(ours, name)
        return truth if value is None and truth == 0 else value

    return get


def oib_axis(said: Said, key: str, truth: Any) -> Any:
    names = "XYC"
    index = int(key.split("/")[1])
    return getattr(said.pixels(), f"size_{names[index].lower()}") if index < 3 else kept(said, key, truth)


def ix_wave(said: Said, key: str, truth: Any) -> Any:
    return channel("name")(said, "channels/0", truth)


def ix_exposure(said: Said, key: str, truth: Any) -> Any:
    return f"{plane('exposure_time', 1000)(said, key, truth):g} ms"


def cv_light(said: Said, key: str, truth: Any) -> Any:
    return kept(said, key, truth)


def cv_channel(name: str) -> Get:
    """The table of the settings has channels that were not taken."""

    def get(said: Said, key: str, truth: Any) -> Any:
        index = int(key.split("/")[1])
        if index >= said.pixels().size_c:
            return kept(said, key, truth)
        one = said.pixels().channels[index]
        exposure = next(p.exposure_time for p in said.pixels().planes if p.the_c == index)
        return {"name": one.name, "exposure": f"{exposure * 1000:g}", "pinhole": f"{one.pinhole_size:g}"}[name]

    return get


def ome_size(said: Said, key: str, truth: Any) -> Any:
    pixels = said.pixels(image_of(key))
    return [pixels.size_x, pixels.size_y, pixels.size_z, pixels.size_c, pixels.size_t]


def ome_date(said: Said, key: str, truth: Any) -> Any:
    return truth if said.images[image_of(key)].acquisition_date == datetime.fromisoformat(truth) else said.date


def ome_files(said: Said, key: str, truth: Any) -> Any:
    return [block.uuid.file_name for block in said.pixels(image_of(key)).tiff_data_blocks][: len(truth)]


def ome_part(group: str, name: str) -> Get:
    def get(said: Said, key: str, truth: Any) -> Any:
        numbers = [int(one) for one in re.findall(r"/(\d+)", key)]
        value = getattr(getattr(said.inspection.metadata.ome.instruments[numbers[0]], group)[numbers[1]], name)
        return getattr(value, "value", value)

    return get


def vsi_previews(said: Said, key: str, truth: Any) -> Any:
    """Without the pixel file the images are those of the document, each its own; the reader joins equal ones."""
    ours = [[one.pixels.size_y, one.pixels.size_x] for one in said.images]
    return truth if all(shape[-3:-1] in ours or shape[-2:] in ours for shape, _ in truth) else ours
